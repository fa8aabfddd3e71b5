"""Classes can be requested by name: over HTTP, on the command line, and from exported generators."""

import base64
import csv
import io
import json
import threading
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from image_server import MARK, ask, running_server, show_images
from mlflow.exceptions import MlflowException
from PIL import Image

from kedro_dcgan.cli import generators, models
from kedro_dcgan.errors import ModelError, ParameterError, RequestError
from kedro_dcgan.model import export
from kedro_dcgan.model.export import TOLERANCE, exported_program, require_same_images, to_onnx, to_pt2
from kedro_dcgan.model.image_requests import ImageRequest, read_requests
from kedro_dcgan.model.networks import GeneratorConfig, initialise
from kedro_dcgan.model.recipes import build_generator
from kedro_dcgan.model.sampling import class_names, class_number, generate_all, sample_inputs
from kedro_dcgan.model.saved import TrainedGenerator, read_generator, snapshot_weights, write_generator
from kedro_dcgan.model.synthetic_marks import read_mark
from kedro_dcgan.tracking.model import GeneratorModel

CONFIG = GeneratorConfig("dcgan", 16, 1, 8, 4, classes=("3", "cat", "sea lion"), class_shares=(0.2, 0.5, 0.3))
PLAIN = replace(CONFIG, classes=(), class_shares=())


def network(config=CONFIG):
    generator = build_generator(config)
    initialise(generator, torch.Generator().manual_seed(0))
    # Larger weights, so that classes and latents matter.
    with torch.no_grad():
        generator.layers[1].weight.mul_(50)
    return generator.eval()


@pytest.fixture(scope="module")
def port():
    with running_server(network()) as (_, port):
        yield port


def test_images_of_a_label_are_served(port, tmp_path):
    rows = [
        {"seed": 5, "count": 3, "label": "sea lion"},
        {"seed": 5, "count": 2},
        {"seed": 1, "label": 3},
        {"latents": [0.5] * 8, "label": "cat"},
    ]
    status, answer = ask(port, {"dataframe_records": rows})
    assert status == 200
    given = torch.cat([torch.full((1, 8), 0.5), torch.tensor([[0.0, 1.0, 0.0]])], dim=1)
    inputs = [sample_inputs(3, CONFIG, 5, 2), sample_inputs(2, CONFIG, 5), sample_inputs(1, CONFIG, 1, 0), given]
    pngs = [row["png"] for row in answer["predictions"]]
    assert show_images(pngs, generate_all(network(), torch.cat(inputs)))
    # The mark of each image has what it was made from, also a class that was drawn.
    drawn = class_names(inputs[1], CONFIG)
    made_from = [*((5, number, "sea lion") for number in range(3)), (5, 0, drawn[0]), (5, 1, drawn[1]), (1, 0, "3")]
    expected = [MARK.of_image(*facts) for facts in [*made_from, (None, None, "cat")]]
    assert [served_mark(png, tmp_path) for png in pngs] == expected


def served_mark(png, folder):
    (folder / "served.png").write_bytes(base64.b64decode(png))
    return read_mark(folder / "served.png")


def test_pandas_turns_labels_into_floats(port):
    split = {"columns": ["seed", "label"], "data": [[5, 3.0], [6, None]]}
    assert ask(port, {"dataframe_split": split}) == ask(
        port, {"dataframe_records": [{"seed": 5, "label": "3"}, {"seed": 6}]}
    )


@pytest.mark.parametrize(
    ("row", "config", "facts"),
    [
        ({"seed": 1, "label": "dog"}, CONFIG, ["row 0", "dog", "3, cat, sea lion"]),
        ({"seed": 1, "label": 3.5}, CONFIG, ["3.5"]),
        ({"seed": 1, "label": ["cat"]}, CONFIG, ["cat"]),
        ({"seed": 1, "label": True}, CONFIG, ["True"]),
        ({"seed": 1, "label": float("inf")}, CONFIG, ["inf"]),
        ({"latents": [0.0] * 8}, CONFIG, ["`label`", "latents"]),
        ({"latents": [0.0] * 8, "label": None}, CONFIG, ["`label`", "latents"]),
        ({"seed": 1, "label": "cat"}, PLAIN, ["`label`", "without"]),
        ({"seed": 1, "label": "x" * 10_000}, CONFIG, ["xxx"]),
    ],
)
def test_bad_labels_are_refused_in_one_line(row, config, facts):
    with pytest.raises(RequestError) as raised:
        read_requests([row], config)
    assert all(fact in str(raised.value) for fact in facts)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


def test_an_absent_label_may_be_null_and_numbers_find_names_of_both_forms():
    config = replace(CONFIG, classes=("None", "3.0", "4"))
    assert read_requests([{"seed": 1, "label": None}], config) == [ImageRequest(1, 1)]
    assert [read_requests([{"seed": 1, "label": label}], config)[0].label for label in (3.0, 4.0, 4, "None")] == [
        1,
        2,
        2,
        0,
    ]


def test_the_registered_model_takes_labels():
    model = GeneratorModel()
    model._generator, model._mark, model._workers, model._lock = network(), MARK, 1, threading.Lock()
    # pandas fills a missing label with NaN.
    rows = pd.DataFrame([{"seed": 5, "count": 2, "label": "cat"}, {"seed": 6, "label": 3}, {"seed": 7}])
    inputs = [sample_inputs(2, CONFIG, 5, 1), sample_inputs(1, CONFIG, 6, 0), sample_inputs(1, CONFIG, 7)]
    assert show_images(list(model.predict(None, rows)["png"]), generate_all(network(), torch.cat(inputs)))
    with pytest.raises(MlflowException, match="dog"):
        model.predict(None, pd.DataFrame([{"seed": 5, "label": "dog"}]))


def test_requests_without_classes_are_those_of_before():
    assert read_requests([{"seed": 4, "count": 2}], PLAIN) == [ImageRequest(2, 4)]
    assert torch.equal(ImageRequest(2, 4).draw(PLAIN), sample_inputs(2, PLAIN, 4))


def test_unknown_class_lists_the_first_known_ones():
    many = replace(CONFIG, classes=tuple(f"class {number}" for number in range(100)))
    with pytest.raises(ParameterError) as raised:
        class_number("dog", many)
    assert "class 29" in str(raised.value)
    assert "class 30" not in str(raised.value)
    assert "70 others" in str(raised.value)


def test_an_onnx_model_with_other_images_is_refused(monkeypatch):
    trained = TrainedGenerator(CONFIG, snapshot_weights(network()), "digest", 640)
    model, program = export.checked_onnx(trained)
    assert require_same_images(trained.build(), model) <= TOLERANCE
    assert program.module()(torch.zeros(1, 8), torch.tensor([0])).shape == (1, 1, 16, 16)
    monkeypatch.setattr(export, "to_onnx", lambda *_: to_onnx(exported_program(other), trained))
    other = trained.build()
    for weight in other.parameters():
        weight.data *= 2
    with pytest.raises(ModelError, match="equal those of PyTorch"):
        export.checked_onnx(trained)


def test_exported_conditional_generators_take_latents_and_labels():
    generator = network()
    program = exported_program(generator)
    trained = TrainedGenerator(CONFIG, snapshot_weights(generator), "digest", 640)
    model = to_onnx(program, trained)
    # No path of this machine is in the files.
    assert b"networks.py" not in model
    assert b"networks.py" not in to_pt2(program)
    assert require_same_images(generator, model) <= TOLERANCE
    properties = {entry.key: entry.value for entry in onnx.load_from_string(model).metadata_props}
    assert json.loads(properties["classes"]) == list(CONFIG.classes)
    # Several at a time, in both formats.
    latents, labels = torch.randn(5, 8, generator=torch.Generator().manual_seed(3)), torch.tensor([2, 0, 1, 1, 2])
    expected = generator(torch.cat([latents, torch.eye(3)[labels]], dim=1)).detach()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (images,) = session.run(["images"], {"latents": latents.numpy(), "labels": labels.numpy()})
    assert np.abs(images - expected.numpy()).max() <= TOLERANCE
    loaded = torch.export.load(io.BytesIO(to_pt2(program))).module()
    torch.testing.assert_close(loaded(latents, labels), expected, atol=TOLERANCE, rtol=0)
    # No such class.
    with pytest.raises(Exception, match="index"):
        session.run(["images"], {"latents": latents.numpy(), "labels": labels.numpy() + 1})


def test_classes_survive_storage(tmp_path):
    generator = network()
    write_generator(tmp_path, TrainedGenerator(CONFIG, snapshot_weights(generator), "digest", 640))
    assert read_generator(tmp_path).config == CONFIG
    # A file of an earlier version has no classes.
    write_generator(tmp_path, TrainedGenerator(PLAIN, snapshot_weights(network(PLAIN)), "digest", 640))
    file = tmp_path / "generator.json"
    content = json.loads(file.read_text())
    for name in ("classes", "class_shares"):
        del content["network"][name]
    del content["checksum"]
    file.write_text(json.dumps(content))
    assert read_generator(tmp_path).config == PLAIN


@pytest.mark.parametrize(
    "changes",
    [
        {"class_shares": [0.5, 0.5]}, {"class_shares": []}, {"class_shares": [0.5, 0.6, -0.1]},
        {"class_shares": [0.5, 0.4, 0.3]}, {"classes": ["cat", "cat", "dog"]}, {"classes": []},
    ],
)  # fmt: skip
def test_impossible_classes_are_refused(tmp_path, changes):
    write_generator(tmp_path, TrainedGenerator(CONFIG, snapshot_weights(network()), "digest", 640))
    file = tmp_path / "generator.json"
    content = json.loads(file.read_text())
    content["network"].update(changes)
    del content["checksum"]
    file.write_text(json.dumps(content))
    with pytest.raises(ModelError):
        read_generator(tmp_path)


@pytest.fixture
def sample(tmp_path, monkeypatch):
    """A function that runs `kedro dcgan sample` with a generator; it returns the result and the images."""

    def run(config, *options):
        trained = TrainedGenerator(config, snapshot_weights(network(config)), "digest", 640)
        monkeypatch.setattr(generators, "current_generator", lambda env: (trained, "here"))
        folder = tmp_path / "images"
        result = CliRunner().invoke(models.sample, [*options, "--output", str(folder)])
        files = sorted(folder.glob("*.png"))
        return result, np.stack([np.asarray(Image.open(file)) for file in files]) if files else None

    return run


@pytest.mark.parametrize(
    ("label", "labels"),
    [("cat", [1]), ("3", [0]), ("all", [0, 1, 2]), (None, [None])],
    ids=["name", "number", "all", "none"],
)
def test_command_samples_a_class(sample, tmp_path, label, labels):
    result, images = sample(CONFIG, "--count=3", "--seed=9", *([f"--label={label}"] if label else []))
    assert result.exit_code == 0, result.output
    inputs = torch.cat([sample_inputs(3, CONFIG, 9, number) for number in labels])
    assert np.array_equal(images, generate_all(network(), inputs)[:, 0].numpy())
    listed = [row["label"] for row in csv.DictReader((tmp_path / "images/labels.csv").open(encoding="utf-8"))]
    assert listed == class_names(inputs, CONFIG)
    if label == "all":
        assert listed == [name for name in CONFIG.classes for _ in range(3)]


def test_command_names_the_class_in_its_last_line(sample):
    assert "class cat" in sample(CONFIG, "--count=1", "--label=cat")[0].output.splitlines()[-1]


@pytest.mark.parametrize(("config", "label"), [(CONFIG, "dog"), (PLAIN, "cat"), (PLAIN, "all")])
def test_command_refuses_unknown_classes_before_it_writes(sample, tmp_path, config, label):
    result, images = sample(config, f"--label={label}")
    assert isinstance(result.exception, ParameterError)
    assert "`label`" in str(result.exception)
    assert images is None
    assert not (tmp_path / "images").exists()
