"""The evaluation end to end, on the embedded digits and an untrained generator."""

import json
import re
import sys
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
import torch
from recipes import tiny_training
from torch import nn

from kedro_dcgan.config import EvaluationParameters
from kedro_dcgan.data.shards import Classes, PreparedImages, StoredShard
from kedro_dcgan.data.sources.builtin import embedded_digits
from kedro_dcgan.errors import DataError, ModelError
from kedro_dcgan.evaluation import inception
from kedro_dcgan.evaluation.features import EfficientNetLite0Features
from kedro_dcgan.evaluation.reference import ReferenceCache
from kedro_dcgan.evaluation.verdict import COPIES_NOTICE
from kedro_dcgan.model.networks import Generator
from kedro_dcgan.model.recipes import build_generator, network_configs
from kedro_dcgan.model.sampling import to_model_range
from kedro_dcgan.model.saved import TrainedGenerator, snapshot_weights
from kedro_dcgan.pipelines.evaluation.measurement import SplitReferences
from kedro_dcgan.pipelines.evaluation.nodes import evaluate_generator, report_evaluation, select_metrics
from kedro_dcgan.pipelines.export.nodes import export_generator

COUNTS = {"train": 200, "test": 60}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("the evaluation must not use the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)


@pytest.fixture(scope="module")
def digits():
    """Images and their manifest, with the digits as labels."""
    named = list(embedded_digits())[: sum(COUNTS.values())]
    pixels = np.stack([image for _, image in named])[:, None].repeat(2, axis=2).repeat(2, axis=3)
    rows = np.split(np.arange(len(named)), [COUNTS["train"]])
    labels = [name.partition("/")[0] for name, _ in named]
    numbers = np.array(labels, dtype=np.int64)
    classes = Classes(tuple("0123456789"), {split: numbers[part] for split, part in zip(COUNTS, rows, strict=True)})
    shards, splits = [StoredShard("0", "", pixels)], dict(zip(COUNTS, rows, strict=True))
    images = PreparedImages(16, 1, "digest", shards, splits, classes=classes)
    columns = {"label": labels, "verdict": "accepted", "mode": "L", "width": 8, "height": 8}
    return images, pd.DataFrame({"row": np.arange(len(named)), **columns})


def trained(digest="digest", shares=MappingProxyType({})):
    config, _ = network_configs(16, 1, tiny_training(), shares)
    torch.manual_seed(0)
    return TrainedGenerator(config, snapshot_weights(build_generator(config)), digest, 1000, {})


def parameters(**changes):
    values = {
        "samples": 100,
        "seed": 0,
        "input_size": 32,
        "real_images": None,
        "device": "cpu",
        "precision": "float32",
        "inception_weights": None,
        "inception_companions": False,
    }
    return EvaluationParameters.model_validate(values | changes)


@pytest.fixture(scope="module")
def evaluated(digits, tmp_path_factory):
    folder = ReferenceCache(tmp_path_factory.mktemp("references"))
    return folder, evaluate_generator(trained(), *digits, folder, parameters())


def test_every_metric_has_an_interval_and_a_protocol_in_valid_json(evaluated):
    _, (result, *_) = evaluated
    json.loads(json.dumps(result, allow_nan=False))
    assert result["primary_metric"] == "fd_efflite0_32_100_test"
    assert result["metrics"]["fd_efflite0_32_100_test_floor"] < result["metrics"]["fd_efflite0_32_100_test"]
    protocols = {protocol["name"]: protocol for protocol in result["protocols"]}
    for number in result["numbers"]:
        assert result["metrics"][number["name"]] == number["value"]
        assert number["protocol"] in protocols
        assert number["metric"] == "classes_covered" or number["low"] <= number["value"] <= number["high"]
    assert protocols["efflite0_32_100_train"]["real"] == 200
    # There are fewer test images than samples.
    assert "fd_efflite0_32_100_train_floor" not in result["metrics"]
    assert result["metrics"]["authenticity_efflite0_32_100_train_floor"] > 0


def test_an_untrained_generator_has_low_fidelity(evaluated):
    _, (result, *_) = evaluated
    assert result["verdict"].startswith("undertrained, low fidelity")
    assert result["metrics"]["density_efflite0_32_100_test"] < 0.25
    assert result["metrics"]["coverage_efflite0_32_100_test"] < 0.1
    assert result["classes"]["covered"] < 10
    assert result["classes"]["classifier_accuracy_test"] > 0.5


class Copier(Generator):
    """Returns images, chosen by the latents, and changed by a few grey levels."""

    def __init__(self, config, images):
        super().__init__(config)
        self.images = nn.Parameter(to_model_range(images))

    def forward(self, latents):
        noise = torch.randn(self.images.shape[1:], generator=torch.Generator().manual_seed(0))
        return self.images[(latents[:, 0].abs() * 1e4).long() % len(self.images)] + 0.05 * noise


# All samples are copies, a third of them, or none: held-out images.
@pytest.mark.parametrize(("train", "test", "copies"), [(60, 0, True), (30, 60, True), (0, 60, False)])
def test_a_generator_that_copies_training_images_is_found_out(
    digits, evaluated, monkeypatch, caplog, train, test, copies
):
    folder, _ = evaluated
    images, _ = digits
    pixels = torch.from_numpy(
        np.concatenate([images.take("train", np.arange(train)), images.take("test", np.arange(test))])
    )
    monkeypatch.setattr(TrainedGenerator, "build", lambda trained: Copier(trained.config, pixels))
    result, *_ = evaluate_generator(trained(), *digits, folder, parameters(samples=200))
    assert result["copies"] == copies
    found = {one["name"]: one for one in result["numbers"] if one["metric"] == "near_copies"}
    in_pixels, in_features = found["near_copies_pixels16_200_train"], found["near_copies_efflite0_32_200_train"]
    assert in_features["floor"] < in_pixels["floor"] < 0.2
    expected = (train + test * in_pixels["floor"]) / (train + test)
    assert in_pixels["value"] == pytest.approx(expected, abs=0.1)
    assert ("near-copies of training images" in result["verdict"]) == copies
    exported = export_generator(trained(), {**result, "generator": trained().fingerprint()})
    assert exported.facts["copies"] == copies
    assert (COPIES_NOTICE in caplog.text) == copies


def test_conditional_generators_are_asked_for_their_classes(digits, evaluated):
    folder, (without, *_) = evaluated
    shares = {str(number): 0.1 for number in range(10)}
    result, *pictures = evaluate_generator(trained(shares=shares), *digits, folder, parameters(samples=400))
    found = {number["metric"]: number for number in result["numbers"]}
    for metric in ("class_agreement", "class_accuracy_score"):
        number = found[metric]
        # An untrained generator agrees by chance, and a classifier learns nothing from it.
        assert 0 <= number["low"] <= number["value"] <= number["high"] < 0.5
        assert number["floor"] > 0.7
        assert metric not in {one["metric"] for one in without["numbers"]}
    assert 0 <= found["class_diversity"]["value"] < 0.5
    assert [row["class"] for row in result["by_class"]] == list("0123456789")
    assert sum(row["samples"] for row in result["by_class"]) == 400
    agreed = sum(row["samples"] * row["agreement"] for row in result["by_class"])
    assert agreed / 400 == pytest.approx(found["class_agreement"]["value"])
    # Six test images of a class are too few.
    assert {row["fd"] for row in result["by_class"]} == {row["precision"] for row in result["by_class"]} == {None}
    assert without["by_class"] == []
    page, _ = report_evaluation(result, *pictures)
    assert "Requested classes" in page


def test_dvc_gets_the_metrics_of_the_test_split_and_the_shares_of_the_classes(evaluated):
    _, (result, *_) = evaluated
    metrics, shares = select_metrics(result)
    splits = {name: name.rpartition("_")[2] for name in metrics if name != "images_seen"}
    assert {name for name, split in splits.items() if split != "test"} == {
        name for name in metrics if name.startswith(("authenticity", "near_copies"))
    }
    assert all(metrics[name] == result["metrics"][name] for name in splits)
    assert list(shares["class"]) == list("0123456789")
    assert sum(shares["generated"]) == pytest.approx(1)


def test_images_without_labels_have_no_shares(evaluated):
    _, (result, *_) = evaluated
    _, shares = select_metrics({**result, "classes": {}})
    assert list(shares) == ["class", "generated", "real"]
    assert shares.empty


def test_page_and_table_show_metrics_and_pictures(evaluated):
    _, (result, *pictures) = evaluated
    assert all(picture.width > 200 for picture in pictures)
    page, table = report_evaluation(result, *pictures)
    for number in result["numbers"]:
        assert number["name"] in page
        assert f"`{number['name']}`" in table
    assert page.count("data:image/png;base64,") == 3
    assert "http" not in page
    assert result["verdict"] in page
    assert result["advice"].replace("`", "") in page
    assert "FID is absent" in page
    assert "60 real images are not more than the 1,280 dimensions" in table


def test_features_of_real_images_are_extracted_once(evaluated, digits, monkeypatch):
    folder, (before, *_) = evaluated
    monkeypatch.setattr(SplitReferences, "_collect", lambda *_: pytest.fail("features are extracted again"))
    again, *_ = evaluate_generator(trained(), *digits, folder, parameters())
    assert again == before


def test_splits_of_equal_size_have_separate_references(digits, tmp_path):
    images, _ = digits
    halves = PreparedImages(16, 1, "digest", images.shards, {"train": np.arange(30), "test": np.arange(30, 60)})
    of_splits = SplitReferences(ReferenceCache(tmp_path), halves, parameters(), EfficientNetLite0Features(32))
    train, test = (of_splits.of(split).gaussian.mean for split in ("train", "test"))
    assert not torch.equal(train, test)


def test_metrics_do_not_depend_on_the_batch_size_of_the_generator(evaluated, digits, monkeypatch):
    folder, (before, *_) = evaluated
    monkeypatch.setattr("kedro_dcgan.pipelines.evaluation.nodes._BATCH", 7)
    again, *_ = evaluate_generator(trained(), *digits, folder, parameters())
    assert again["metrics"] == pytest.approx(before["metrics"], rel=1e-5, abs=1e-6)


def test_fid_needs_the_weights_of_inception(evaluated, digits, monkeypatch):
    folder, (without, *_) = evaluated
    assert not [name for name in without["metrics"] if "fid" in name]

    class Tiny:
        id, dimension, resize, batch_size, keeps_features = "inception", 4, "tf1", 50, False
        precision, weights_sha256 = "float32", "6726825d"

        def __init__(self, *_):
            pass

        def __call__(self, images):
            return images.float().flatten(1)[:, 100:104]

    monkeypatch.setattr("kedro_dcgan.pipelines.evaluation.nodes.InceptionFeatures", Tiny)
    found, *_ = evaluate_generator(trained(), *digits, folder, parameters(inception_weights="weights.pth"))
    assert {"fid100_test", "fid100_train", "fid100_test_floor"} <= set(found["metrics"])
    assert not [name for name in found["metrics"] if "inception" in name]


def test_inception_companions_can_be_added_to_a_cached_reference(digits, monkeypatch, tmp_path):
    class Tiny:
        id, dimension, resize, batch_size = "inception", 4, "tf1", 50
        precision, weights_sha256 = "float32", "6726825d"

        def __init__(self, *arguments):
            self.keeps_features = arguments[-1]

        def __call__(self, images):
            return images.float().flatten(1)[:, 100:104]

    monkeypatch.setattr("kedro_dcgan.pipelines.evaluation.nodes.InceptionFeatures", Tiny)
    folder, weights = ReferenceCache(tmp_path), {"inception_weights": "weights.pth"}
    without, *_ = evaluate_generator(trained(), *digits, folder, parameters(**weights))
    found, *_ = evaluate_generator(trained(), *digits, folder, parameters(**weights, inception_companions=True))
    assert "kid100_test" not in without["metrics"]
    assert {"kid100_test", "kid100_test_floor", "recall_inception_100_test"} <= set(found["metrics"])
    # The verdict still depends on EfficientNet alone.
    assert found["verdict"] == without["verdict"]


def test_auto_finds_weights_in_the_cache_of_torch_hub(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    assert inception.find_weights("auto") is None
    assert inception.find_weights(None) is None
    file = tmp_path / "checkpoints" / inception.WEIGHTS_NAME
    file.parent.mkdir()
    file.touch()
    assert inception.find_weights("auto") == file


def test_without_torch_fidelity_there_is_no_fid_and_fetch_weights_names_the_package(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / inception.WEIGHTS_NAME).touch()
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    monkeypatch.setattr(inception, "find_spec", lambda _: None)
    assert inception.find_weights("auto") is None
    with pytest.raises(ModelError, match="pip install torch-fidelity"):
        inception.fetch_weights()


def test_subsets_are_reported_for_enough_images(evaluated, digits, monkeypatch, tmp_path):
    _, (before, *_) = evaluated
    assert not [name for name in before["metrics"] if "subsets" in name]
    monkeypatch.setattr("kedro_dcgan.evaluation.distances.SUBSET_SIZE", 30)
    found, *pictures = evaluate_generator(trained(), *digits, ReferenceCache(tmp_path), parameters())
    mean, deviation = (found["metrics"][f"kd_subsets_{name}_efflite0_32_100_test"] for name in ("mean", "deviation"))
    assert mean == pytest.approx(before["metrics"]["kd_efflite0_32_100_test"], abs=deviation)
    assert "Kernel distance of subsets" in report_evaluation(found, *pictures)[0]


def test_reference_page_defines_every_metric_and_every_name(digits, monkeypatch, tmp_path):
    monkeypatch.setattr("kedro_dcgan.evaluation.distances.SUBSET_SIZE", 30)
    shares = {str(number): 0.1 for number in range(10)}
    found, *_ = evaluate_generator(trained(shares=shares), *digits, ReferenceCache(tmp_path), parameters(samples=400))
    page = (Path(__file__).parents[2] / "docs/reference/metrics.md").read_text()
    definitions = page.partition("## Definitions")[2].partition("## ")[0]
    defined = set(re.findall(r"^\| `(\w+)` \|", definitions, flags=re.MULTILINE))
    written = {number["metric"] for number in found["numbers"]}
    # The first needs the weights of Inception, the second 100 test images of a class.
    assert written == defined - {"inception_score", "class_fd"}
    extractors = {name: r"(efflite0_32|pixels16)" if name == "near_copies" else "efflite0_32" for name in written}
    for number in found["numbers"]:
        name = number["metric"]
        assert re.fullmatch(rf"{name}_{extractors[name]}_400_(test|train)", number["name"])


def test_few_images_have_only_a_distance(digits, tmp_path):
    images, manifest = digits
    few = PreparedImages(16, 1, "few", images.shards, {"train": np.arange(20), "test": np.arange(20, 23)})
    result, *pictures = evaluate_generator(
        trained("few"), few, manifest, ReferenceCache(tmp_path), parameters(samples=4)
    )
    assert [number["metric"] for number in result["numbers"] if number["split"] == "test"] == ["fd"]
    assert "too few images" in result["verdict"]
    assert result["numbers"][0]["low"] is None
    report_evaluation(result, *pictures)


def test_a_generator_trained_on_other_images_is_rejected(digits, tmp_path):
    with pytest.raises(DataError, match="trained on"):
        evaluate_generator(trained("other"), *digits, ReferenceCache(tmp_path), parameters())
