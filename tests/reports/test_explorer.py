"""The explorer as a file: what it contains, what it forbids, and what is refused."""

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest
import torch
from networks import generator_config

from kedro_dcgan.errors import ModelError
from kedro_dcgan.evaluation.verdict import COPIES_NOTICE
from kedro_dcgan.model.directions import find_directions
from kedro_dcgan.model.export import exported_program, to_onnx
from kedro_dcgan.model.recipes import build_generator
from kedro_dcgan.model.sampling import sample_inputs
from kedro_dcgan.model.saved import TrainedGenerator, snapshot_weights
from kedro_dcgan.reports import explorer

MARKUP = "</script><script>alert(1)</script>"
CONFIG = replace(generator_config("dcgan", 16, 1, 10, 2), classes=("0", MARKUP), class_shares=(0.5, 0.5))


@pytest.fixture(scope="module")
def trained():
    return TrainedGenerator(CONFIG, snapshot_weights(build_generator(CONFIG)), "0123", 6400, {"dataset": MARKUP})


@pytest.fixture(scope="module")
def onnx_model(trained):
    return to_onnx(exported_program(trained.build()), trained)


@pytest.fixture(scope="module")
def page(trained, onnx_model):
    return explorer.write_explorer_page(trained, onnx_model)


def part(page, name):
    return re.search(rf'<script type="[a-z/]+" id="{name}">(.*?)</script>', page, re.DOTALL).group(1)


def floats(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


def test_page_has_the_model_and_the_latents_of_the_first_samples_of_seed_0(page, trained, onnx_model):
    assert gzip.decompress(base64.b64decode(part(page, "model"))) == onnx_model
    facts = json.loads(part(page, "facts"))
    # `kedro dcgan sample` draws the same latents whatever the class.
    expected = sample_inputs(64, CONFIG, seed=0)[:, : CONFIG.latent_dim].numpy()
    np.testing.assert_array_equal(floats(facts["samples"]).reshape(64, 10), expected)
    found = find_directions(trained.build(), 8)
    assert [one["name"] for one in facts["directions"]] == [one.name for one in found]
    for one, direction in zip(facts["directions"], found, strict=True):
        np.testing.assert_array_equal(floats(one["vector"]), direction.vector.numpy())


def test_page_of_a_generator_that_copies_says_so(page, trained, onnx_model):
    copier = replace(trained, facts={**trained.facts, "copies": True})
    assert COPIES_NOTICE in explorer.write_explorer_page(copier, onnx_model)
    assert COPIES_NOTICE not in page


def test_names_cannot_contain_markup(page):
    assert MARKUP not in page
    assert json.loads(part(page, "facts"))["classes"] == ["0", MARKUP]


def test_policy_comes_first_and_allows_no_source_of_files(page):
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    assert page.index("<style") > policy.start()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.group(1).split(";"))
    assert rules["default-src"] == rules["connect-src"] == "'none'"
    assert set(" ".join(rules.values()).split()) == {"'none'", "'unsafe-inline'", "'wasm-unsafe-eval'"}
    assert re.findall(r"<(?:link|img|iframe|script src)\b", page) == []


def test_equal_generators_give_equal_pages(page, trained, onnx_model):
    assert explorer.write_explorer_page(trained, onnx_model) == page


def test_vendored_files_are_those_that_their_description_names():
    folder = resources.files(explorer) / "vendor"
    described = (folder / "onnxruntime-web.txt").read_text()
    for name, content in (
        ("ort.wasm.bundle.min.mjs", (folder / "ort.wasm.bundle.min.mjs").read_bytes()),
        (
            "ort-wasm-simd-threaded.wasm",
            gzip.decompress((folder / "ort-wasm-simd-threaded.wasm.gz").read_bytes()),
        ),
    ):
        assert f"{hashlib.sha256(content).hexdigest()}  {name}\n" in described
    assert "MIT License" in described
    version = re.search(r"Version: +(\S+)", described).group(1)
    assert f"ONNX Runtime Web v{version}" in (folder / "ort.wasm.bundle.min.mjs").read_text()


def test_page_that_would_be_too_large_is_refused(trained):
    noise = torch.randint(0, 256, (20_000_000,), dtype=torch.uint8).numpy().tobytes()
    with pytest.raises(ModelError, match=r"30 MB .*20\.0.*width"):
        explorer.write_explorer_page(trained, noise)
