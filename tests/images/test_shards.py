import numpy as np
import pytest

from kedro_dcgan.errors import DataError
from kedro_dcgan.images.grid import make_grid
from kedro_dcgan.images.shards import PreparedImages, dataset_digest, images_per_shard


def numbered(start, stop):
    return np.arange(start, stop, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), dtype=np.uint8)


IMAGES = PreparedImages(2, 1, "abc", {"train": [numbered(0, 4), numbered(4, 5), numbered(5, 9)]})


def test_take_finds_images_across_shards_in_any_order():
    indices = np.array([8, 0, 4, 4, 3, 5])
    assert IMAGES.take("train", indices)[:, 0, 0, 0].tolist() == indices.tolist()


def test_count_adds_the_shards_up():
    assert IMAGES.count("train") == 9
    assert IMAGES.count("test") == 0


def test_require_names_split_rule_and_value():
    with pytest.raises(DataError, match=r"train split must hold at least 10 images for a batch \(got 9\)"):
        IMAGES.require("train", 10, "a batch", "Add images.")


def test_require_digest_refuses_other_images():
    with pytest.raises(DataError, match="xyz"):
        IMAGES.require_digest("xyz")


def test_digest_names_content_splits_and_transform_and_nothing_else():
    rows = [("aa", "train"), ("bb", "test")]
    assert dataset_digest(rows, "32") == dataset_digest(rows[::-1], "32")
    others = [
        dataset_digest(rows[:1], "32"),
        dataset_digest(rows, "64"),
        dataset_digest([("aa", "test"), rows[1]], "32"),
    ]
    assert len({dataset_digest(rows, "32"), *others}) == 4


def test_images_per_shard_fills_the_megabytes():
    assert images_per_shard(64, 3, megabytes=256) == 256_000_000 // 12_288
    assert images_per_shard(512, 3, megabytes=1) == 1
    assert images_per_shard(1000, 3, megabytes=1) == 1


def test_make_grid_places_images_row_by_row():
    grid = make_grid(numbered(1, 4), columns=2, gap=1)
    assert grid.tolist() == [[1, 1, 0, 2, 2], [1, 1, 0, 2, 2], [0] * 5, [3, 3, 0, 0, 0], [3, 3, 0, 0, 0]]


def test_make_grid_gives_colour_last_and_scales():
    assert make_grid(np.zeros((4, 3, 8, 8), dtype=np.uint8), gap=0, scale=2).shape == (32, 32, 3)
