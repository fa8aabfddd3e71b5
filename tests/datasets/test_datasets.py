import json

import numpy as np
import pytest
import torch
from faults import fault
from networks import generator_config

from kedro_dcgan.datasets import (
    ImageFolderDataset,
    TrainedGeneratorDataset,
)
from kedro_dcgan.errors import ModelError
from kedro_dcgan.model.recipes import build_generator
from kedro_dcgan.model.saved import TrainedGenerator, snapshot_weights


@pytest.fixture
def trained():
    generator = build_generator(generator_config("dcgan", 16, 1, 6, 4))
    return TrainedGenerator(generator.config, snapshot_weights(generator), "digest", 640, {"seed": 0})


def test_a_loaded_generator_generates_the_same_images(tmp_path, trained):
    dataset = TrainedGeneratorDataset(tmp_path / "generator")
    dataset.save(trained)
    loaded = dataset.load()
    latents = torch.randn(3, 6)
    assert torch.equal(loaded.build()(latents), trained.build()(latents))
    assert (loaded.config, loaded.facts, loaded.images_seen) == (trained.config, trained.facts, 640)


@pytest.mark.parametrize("damage", ["missing", "weights", "config", "format", "network"])
def test_a_damaged_generator_is_refused_in_one_line(tmp_path, trained, damage):
    dataset = TrainedGeneratorDataset(tmp_path / "generator")
    dataset.save(trained)
    weights, config = tmp_path / "generator/generator.safetensors", tmp_path / "generator/generator.json"
    if damage == "missing":
        weights.unlink()
    elif damage == "weights":
        weights.write_bytes(weights.read_bytes()[:100])
    elif damage == "config":
        config.write_text(config.read_text()[:50])
    else:
        content = json.loads(config.read_text())
        content["format" if damage == "format" else "network"] = 99 if damage == "format" else {"image_size": 16}
        config.write_text(json.dumps(content))
    with fault(ModelError, "") as caught:
        dataset.load()
    assert "\n" not in str(caught.value.__cause__)


def test_weights_of_another_network_are_refused(trained):
    other = TrainedGenerator(generator_config("dcgan", 16, 1, 6, 8), trained.weights, "digest", 0)
    with pytest.raises(ModelError, match="must fit its network"):
        other.build()


def test_image_folder_keeps_colour_and_order(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (12, 3, 8, 8), dtype=np.uint8)
    dataset = ImageFolderDataset(tmp_path / "samples")
    dataset.save(images)
    assert (dataset.load() == images).all()
