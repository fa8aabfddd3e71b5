"""The model card: its YAML, its text, names that are no plain text, and its place beside the weights."""

import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
import yaml
from markdown_it import MarkdownIt
from networks import generator_config

from kedro_dcgan import __version__
from kedro_dcgan.datasets import TrainedGeneratorDataset
from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.protocol import MeasurementProtocol, MetricValue, evaluation_record
from kedro_dcgan.evaluation.verdict import COPIES_NOTICE
from kedro_dcgan.model.export import checked_onnx
from kedro_dcgan.model.recipes import build_generator
from kedro_dcgan.model.sampling import generate_all, sample_inputs
from kedro_dcgan.model.saved import TrainedGenerator, snapshot_weights
from kedro_dcgan.reports.model_card import MOST_DESCRIPTION, describe_generator, has_card, write_model_card

TEST = MeasurementProtocol("efflite0_64", "57ab", 1280, "bicubic", "float32", 100, 373, "test", 4, "0123")
TRAIN = replace(TEST, split="train", real=1200)
VALUES = [
    MetricValue("fd", TEST, Estimate(50.0, 49.0, 51.0), Estimate(7.25)),
    MetricValue("classes_covered", TEST, Estimate(2.0)),
    MetricValue("near_copies", TRAIN, Estimate(0.01, 0.0, 0.02)),
]
# Keys and types of the documented metadata of a card (model-index: those of the results of Papers with Code).
KEYS = {"library_name": str, "pipeline_tag": str, "tags": list, "metrics": list, "model-index": list}
NASTY = [
    "a|b\n# c\r\n---\n",
    "`x` ``<script>alert(1)</script>",
    "\udc80\ud800\0\x1b[31m",
    "*_[a](http://b)_* &amp; ![i](j)",
    "é 象 😀",
]


def generator(classes=(), latents="normal", **facts):
    config = replace(
        generator_config("dcgan", 16, 1, 3, 1),
        classes=classes,
        class_shares=(1 / len(classes),) * len(classes) if classes else (),
        latents=latents,
    )
    record = evaluation_record(VALUES)
    measured = {key: record[key] for key in ("primary_metric", "numbers", "protocols")}
    facts = {"dataset": "faces", "training_id": "fedcba987654", "quality": "high fidelity", "copies": False} | facts
    return TrainedGenerator(config, snapshot_weights(build_generator(config)), "0123", 64_000, {**measured, **facts})


def parts(trained):
    """The metadata and the Markdown of a card."""
    empty, front, text = write_model_card(trained).split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(front), text


def html(trained):
    return MarkdownIt("commonmark").enable("table").render(parts(trained)[1])


def rows(trained):
    """The rows of all tables, as text, without their heads."""
    bodies = "".join(re.findall(r"<tbody>(.*?)</tbody>", html(trained), re.DOTALL))
    return [
        [unescape(re.sub(r"<[^>]+>", "", cell)) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)]
        for row in re.findall(r"<tr>(.*?)</tr>", bodies, re.DOTALL)
    ]


def test_metadata_have_the_documented_keys_and_the_metrics_of_the_test_split():
    front, _ = parts(generator())
    assert {key: type(value) for key, value in front.items()} == KEYS
    assert front["pipeline_tag"] == "unconditional-image-generation"
    (model,) = front["model-index"]
    (result,) = model["results"]
    assert model["name"]
    assert result["task"]["type"] == front["pipeline_tag"]
    assert result["dataset"] | {"args": 0} == {"name": "faces", "type": "faces", "split": "test", "args": 0}
    fd, covered = result["metrics"]
    assert fd == {"type": "fd", "name": VALUES[0].name, "value": 50.0, "args": {"low": 49.0, "high": 51.0}}
    assert covered["value"] == 2.0
    assert "args" not in covered
    assert front["metrics"] == ["fd", "classes_covered"]


def test_a_card_has_the_facts_of_the_generator():
    trained = generator(data_licence="CC0-1.0", data_url="https://example.org/faces?v=1", seed=3, budget="5m")
    shown = {name: value for name, value, *_ in rows(trained) if name}
    assert trained.fingerprint() in shown["weights"]
    assert shown["verdict"] == "high fidelity"
    assert (shown["digest"], shown["training"], shown["seed"]) == ("0123", "fedcba987654", "3")
    assert (shown["source"], shown["licence"]) == ("faces", "CC0-1.0")
    assert 'href="https://example.org/faces?v=1"' in html(trained)
    assert "64.0 kimg" in shown["length"]
    assert "5m" in shown["recipe"]
    assert __version__ in shown["card written by"]
    measured = {
        name: [value, interval, floor] for name, value, interval, floor, *_ in (r for r in rows(trained) if len(r) == 6)
    }
    assert measured[VALUES[0].name] == ["50", "49 to 51", "7.250"]
    assert measured[VALUES[1].name] == ["2", "", ""]
    # Each protocol in words.
    text = html(trained)
    for protocol in (TEST, TRAIN):
        (line,) = [line for line in text.splitlines() if f"<code>{protocol.name}</code>:" in line]
        assert f"{protocol.real:,} real images of the {protocol.split} split" in line
        assert "(seed 4)" in line


def test_a_card_says_when_an_earlier_generator_was_kept():
    (length,) = [row[1] for row in rows(generator(trained_images=128_000)) if row[0] == "length"]
    assert length.index("128.0 kimg") < length.index("64.0 kimg")
    (length,) = [row[1] for row in rows(generator(trained_images=64_000)) if row[0] == "length"]
    assert length.count("kimg") == 1


def test_identifiers_stay_in_their_cells():
    trained = replace(generator(training_id="`a`|b\n"), dataset_digest="c|`d`")
    assert ["training", "ab"] in rows(trained)
    assert ["digest", "cd"] in rows(trained)


def test_unknown_facts_are_unknown_or_left_out():
    assert [row for row in rows(generator()) if "unknown" in row] == [["licence", "unknown"], ["address", "unknown"]]
    # The preset is unknown, so it is not claimed to be the recipe.
    assert "recipe" not in [row[0] for row in rows(generator())]


def test_only_names_from_files_are_cut():
    long = "word " * 100 + "end"
    shown = [row[1] for row in rows(generator(quality=long, advice=long, verdict=long, dataset=long)) if len(row) == 2]
    assert shown.count(long) == 3
    assert len(next(value for value in shown if value.startswith("word") and value != long)) == 201


def links(trained):
    """The links of a card, without that of the introduction."""
    return re.findall(r'href="([^"]+)"', html(trained))[1:]


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "https://a b", "https://x.org/>\n# b", "file:///etc", "https://[x", "https://x\udc80"],
)
def test_only_web_addresses_are_links(url):
    assert links(generator(data_url=url, data_licence=url)) == []


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://x.org/a(b)_c?d=é|f", "https://x.org/a(b)_c?d=%C3%A9%7Cf"),
        ("https://x.org/%20a>`b`", "https://x.org/%20a%3E%60b%60"),
        ("https://x.org/" + "x" * 1900, "https://x.org/" + "x" * 1900),
    ],
    ids=["signs", "encoded", "long"],
)
def test_addresses_and_licences_are_links_with_encoded_signs(url, link):
    assert links(generator(data_url=url, data_licence=url)) == [link, link]


@pytest.mark.parametrize("name", ["https://evil.example", "www.evil.com", "WWW.evil.com"])
def test_names_do_not_become_links(name):
    text = write_model_card(generator(classes=(name, "b"), dataset=name, quality=name)).split("---\n", 2)[2]
    assert not re.search(r"https?://evil|www\.", text, re.IGNORECASE)
    assert ["source", name] in rows(generator(dataset=name))


@pytest.mark.parametrize("copies", [True, False, None])
def test_the_verdict_on_copies_is_always_given(copies):
    trained = generator(copies=copies)
    if copies is None:
        trained = replace(trained, facts={key: value for key, value in trained.facts.items() if key != "copies"})
    (verdict,) = [value for name, value, *_ in rows(trained) if name == "copies"]
    assert (verdict == COPIES_NOTICE) == bool(copies)
    # Also in front of everything else.
    assert write_model_card(trained).count(COPIES_NOTICE) == 2 * bool(copies)
    assert verdict.startswith({True: "This", False: "None", None: "Not tested"}[copies])


def test_copies_are_not_ruled_out_without_a_test():
    trained = generator()
    untested = [number for number in trained.facts["numbers"] if number["metric"] != "near_copies"]
    assert ["copies", "Not tested."] in rows(replace(trained, facts={**trained.facts, "numbers": untested}))


@pytest.mark.parametrize("name", NASTY)
def test_names_are_shown_as_they_are_and_change_no_structure(name):
    nasty = generator(
        classes=(name, "b"), dataset=name, quality=name, advice=name, data_licence=name, data_url=name, verdict=name
    )
    plain = generator(
        classes=("a", "b"), dataset="a", quality="a", advice="a", data_licence="a", data_url="a", verdict="a"
    )
    write_model_card(nasty).encode()
    front, _ = parts(nasty)
    assert list(front) == list(parts(plain)[0])
    # The same headings, tables and links; code may be code.
    elements = [re.findall(r"<(?!/?code)/?\w+", html(one)) for one in (nasty, plain)]
    assert elements[0] == elements[1]
    assert "\n" not in front["model-index"][0]["name"]
    if "`" not in name:
        shown = " ".join("".join(sign if sign.isprintable() else " " for sign in name).split())
        assert ["source", shown] in rows(nasty)
    (result,) = front["model-index"][0]["results"]
    assert re.fullmatch(r"[\w.-]+", result["dataset"]["type"], re.ASCII)


def test_the_description_of_a_version_fits_and_starts_with_the_verdict():
    short = describe_generator(generator())
    assert short.startswith("# ")
    assert short in write_model_card(generator())
    many = generator(classes=tuple(f"class {number} {'x' * 180}" for number in range(100)))
    assert len(describe_generator(many)) <= MOST_DESCRIPTION
    assert "README.md" in describe_generator(many)


def code_of(trained, word):
    (block,) = [
        block for block in re.findall(r"```python\n(.*?)```", write_model_card(trained), re.DOTALL) if word in block
    ]
    return block


def test_the_code_for_this_project_runs(tmp_path, monkeypatch):
    trained = generator()
    TrainedGeneratorDataset(tmp_path / "generator").save(trained)
    monkeypatch.chdir(tmp_path / "generator")
    names = {}
    exec(code_of(trained, "read_generator"), names)
    assert (names["images"] == generate_all(trained.build(), sample_inputs(16, trained.config, 0))).all()


@pytest.mark.parametrize(("classes", "latents"), [((), "normal"), (("a", "b"), "uniform")])
def test_the_code_for_onnx_runtime_runs(tmp_path, monkeypatch, classes, latents):
    trained = generator(classes, latents)
    (tmp_path / "generator.onnx").write_bytes(checked_onnx(trained)[0])
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code_of(trained, "onnxruntime"), names)
    assert names["images"].shape == (16, 1, 16, 16)
    assert names["latents"].dtype == np.float32
    assert (np.abs(names["latents"]).max() <= 1) == (latents == "uniform")


def test_only_an_evaluated_generator_has_a_card_beside_its_weights(tmp_path):
    dataset, trained = TrainedGeneratorDataset(tmp_path / "generator"), generator()
    bare = replace(trained, facts={})
    assert (has_card(trained), has_card(bare)) == (True, False)
    dataset.save(trained)
    assert (tmp_path / "generator/README.md").read_text(encoding="utf-8") == write_model_card(trained)
    # It is not read.
    (tmp_path / "generator/README.md").write_text("changed")
    assert dataset.load().facts == trained.facts
    # It does not stay beside other weights.
    dataset.save(bare)
    assert sorted(file.name for file in (tmp_path / "generator").iterdir()) == [
        "generator.json",
        "generator.safetensors",
    ]


def test_equal_generators_give_equal_cards():
    assert write_model_card(generator(seed=1)) != write_model_card(generator(seed=2))
    trained = generator()
    assert write_model_card(trained) == write_model_card(replace(trained, facts=dict(trained.facts)))
