import json
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from kedro.io import DatasetError

from kedro_dcgan.datasets import (
    ImageFolderDataset,
    PreparedImagesDataset,
    TrainedGeneratorDataset,
)
from kedro_dcgan.errors import DataError, ModelError, SourceError
from kedro_dcgan.gan.networks import Generator
from kedro_dcgan.gan.specs import dcgan_generator
from kedro_dcgan.gan.trained import TrainedGenerator, snapshot_weights
from kedro_dcgan.images.shards import Shard, ShardStream


def shards_of(*images):
    return ShardStream(16, 1, "digest", iter([Shard("train", image) for image in images]))


def random_images(count):
    return np.random.default_rng(count).integers(0, 256, (count, 1, 16, 16), dtype=np.uint8)


def names(folder):
    return [path.name for path in folder.iterdir()]


@contextmanager
def fault(kind, text):
    """Kedro wraps what a dataset raises; the command line unwraps it."""
    with pytest.raises(DatasetError) as caught:
        yield caught
    assert isinstance(caught.value.__cause__, kind)
    assert text in str(caught.value.__cause__)


@pytest.fixture
def trained():
    generator = Generator(dcgan_generator(16, 1, 6, 4))
    return TrainedGenerator(generator.spec, snapshot_weights(generator), "digest", 640, {"seed": 0})


def test_prepared_images_come_back_as_they_were(tmp_path):
    dataset = PreparedImagesDataset(tmp_path / "images")
    first, second = random_images(5), random_images(3)
    dataset.save(shards_of(first, second))
    loaded = dataset.load()
    assert (loaded.take("train", np.arange(8)) == np.concatenate([first, second])).all()
    assert isinstance(loaded.splits["train"][0], np.memmap)
    assert (loaded.image_size, loaded.channels, loaded.digest) == (16, 1, "digest")


def test_prepared_images_have_the_same_bytes_each_time(tmp_path):
    for name in ("one", "two"):
        PreparedImagesDataset(tmp_path / name).save(shards_of(random_images(5)))
    one, two = (sorted((tmp_path / name).iterdir()) for name in ("one", "two"))
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in two]


def test_a_flipped_bit_in_a_shard_is_found(tmp_path):
    dataset = PreparedImagesDataset(tmp_path / "images")
    dataset.save(shards_of(random_images(5)))
    shard = tmp_path / "images" / "train-00000.npy"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with fault(DataError, "train-00000.npy` must be as it was written (it is damaged)"):
        dataset.load()


def test_an_index_cannot_point_out_of_its_folder(tmp_path):
    dataset = PreparedImagesDataset(tmp_path / "images")
    dataset.save(shards_of(random_images(5)))
    (tmp_path / "images" / "train-00000.npy").rename(tmp_path / "outside.npy")
    index = tmp_path / "images" / "index.json"
    index.write_text(index.read_text().replace("train-00000.npy", "../outside.npy"))
    with fault(DataError, "missing"):
        dataset.load()


def test_a_stream_that_breaks_leaves_the_old_shards(tmp_path):
    def broken():
        yield Shard("train", random_images(2))
        raise SourceError("the disk went away")

    dataset = PreparedImagesDataset(tmp_path / "images")
    dataset.save(shards_of(random_images(5)))
    with pytest.raises(Exception, match="the disk went away"):
        dataset.save(ShardStream(16, 1, "other", broken()))
    assert dataset.load().count("train") == 5
    assert names(tmp_path) == ["images"]


def test_trained_generator_comes_back_and_draws_the_same_images(tmp_path, trained):
    dataset = TrainedGeneratorDataset(tmp_path / "generator")
    dataset.save(trained)
    loaded = dataset.load()
    latents = torch.randn(3, 6)
    assert torch.equal(loaded.build()(latents), trained.build()(latents))
    assert (loaded.spec, loaded.facts, loaded.images_seen) == (trained.spec, trained.facts, 640)


@pytest.mark.parametrize("damage", ["missing", "weights", "config", "format", "spec"])
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
        content["format" if damage == "format" else "spec"] = 99 if damage == "format" else {"image_size": 16}
        config.write_text(json.dumps(content))
    with fault(ModelError, "") as caught:
        dataset.load()
    assert "\n" not in str(caught.value.__cause__)


def test_weights_that_do_not_fit_the_spec_are_refused(trained):
    other = TrainedGenerator(dcgan_generator(16, 1, 6, 8), trained.weights, "digest", 0)
    with pytest.raises(ModelError, match="must fit its spec"):
        other.build()


def test_image_folder_keeps_colour_and_order(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (12, 3, 8, 8), dtype=np.uint8)
    dataset = ImageFolderDataset(tmp_path / "samples")
    dataset.save(images)
    assert (dataset.load() == images).all()
