import json
import os
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DatasetError
from PIL import Image

from kedro_dcgan.datasets import (
    AtomicDataset,
    ImageFolderDataset,
    ImageSourceDataset,
    PreparedImagesDataset,
    TrainedGeneratorDataset,
)
from kedro_dcgan.datasets.atomic import atomic_file, atomic_folder
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


def test_atomic_file_keeps_the_old_file_after_an_error(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(FileExistsError), atomic_file(path) as temporary:
        temporary.write_text("half")
        path.mkdir()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_atomic_folder_replaces_the_old_one_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder"
    for content in ("old", "new"):
        with atomic_folder(path) as temporary:
            (temporary / content).write_text(content)
    assert names(path) == ["new"]
    with pytest.raises(ZeroDivisionError), atomic_folder(path) as temporary:
        _ = 1 / 0
    assert names(path) == ["new"]
    assert names(tmp_path) == ["folder"]


def test_atomic_dataset_leaves_a_hard_linked_cache_object_alone(tmp_path):
    # DVC may link its cache into the workspace: writing in place would change the cache.
    path, cached = tmp_path / "table.parquet", tmp_path / "cached"
    dataset = AtomicDataset(path, "pandas.ParquetDataset")
    dataset.save(pd.DataFrame({"a": [1]}))
    os.link(path, cached)
    before = cached.read_bytes()
    dataset.save(pd.DataFrame({"a": [2]}))
    assert cached.read_bytes() == before
    assert dataset.load()["a"].tolist() == [2]


def test_image_source_lists_regular_files_only(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("b/2.png", "a.jpg", ".hidden"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "link.png").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe.png")
    source = ImageSourceDataset(tmp_path).load().open(str(tmp_path))
    assert source.paths() == ["a.jpg", "b/2.png"]
    assert source.read("b/2.png") == b"x"


def test_image_source_writes_the_embedded_digits_once(tmp_path):
    sources = ImageSourceDataset(tmp_path).load()
    assert len(sources.open("data/01_raw/digits").paths()) == 1797
    first = tmp_path / "data/01_raw/digits/0/0000.png"
    written = first.stat().st_mtime_ns
    assert Image.open(first).size == (8, 8)
    sources.open("data/01_raw/digits")
    assert first.stat().st_mtime_ns == written


@pytest.mark.parametrize(("make", "problem"), [("nothing", "nothing there"), ("file", "a file"), ("folder", "empty")])
def test_image_source_names_what_is_wrong(tmp_path, make, problem):
    path = tmp_path / "images"
    if make == "file":
        path.touch()
    if make == "folder":
        path.mkdir()
    with pytest.raises(SourceError, match=rf"`ingestion.source` must be .*images, {problem}\)"):
        ImageSourceDataset(tmp_path).load().open("images")


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
