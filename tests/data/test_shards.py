import numpy as np
import pytest

from kedro_dcgan.data.scan import images_per_block, images_per_shard
from kedro_dcgan.data.shards import PreparedImages, StoredShard, dataset_digest
from kedro_dcgan.errors import DataError
from kedro_dcgan.reports.pictures import make_grid


def numbered(start, stop):
    return np.arange(start, stop, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), dtype=np.uint8)


IMAGES = PreparedImages(
    2,
    1,
    "abc",
    [StoredShard(f"{n}.npy", "", part) for n, part in enumerate((numbered(0, 4), numbered(4, 5), numbered(5, 9)))],
    {"train": np.arange(9), "validation": np.array([7, 2])},
)


def test_take_finds_images_across_shards_in_any_order():
    indices = np.array([8, 0, 4, 4, 3, 5])
    assert IMAGES.take("train", indices)[:, 0, 0, 0].tolist() == indices.tolist()


def test_count_counts_the_rows_of_a_split():
    assert IMAGES.count("train") == 9
    assert IMAGES.count("test") == 0


def test_require_names_the_split_and_the_counts():
    with pytest.raises(DataError, match=r"train split.* 10 images.*\(got 9\)"):
        IMAGES.require("train", 10, "a batch", "Add images.")


def test_require_digest_rejects_other_images():
    with pytest.raises(DataError, match="xyz"):
        IMAGES.require_digest("xyz")


def test_digest_depends_on_content_splits_boxes_and_transform():
    rows = [("aa", "train", ""), ("bb", "test", "")]
    assert dataset_digest(rows, "32") == dataset_digest(rows[::-1], "32")
    others = [
        dataset_digest(rows[:1], "32"),
        dataset_digest(rows, "64"),
        dataset_digest([("aa", "test", ""), rows[1]], "32"),
        dataset_digest([("aa", "train", "0,0,9,9"), rows[1]], "32"),
    ]
    assert len({dataset_digest(rows, "32"), *others}) == 5


def test_shards_are_whole_blocks_and_fill_the_megabytes():
    for size, channels, megabytes in ((64, 3, 256), (16, 1, 1), (512, 3, 1), (128, 3, 300)):
        block = images_per_block(size, channels)
        shard = images_per_shard(size, channels, megabytes)
        assert shard % block == 0
        assert shard * size * size * channels <= max(megabytes * 1_000_000, block * size * size * channels)
        assert (shard + block) * size * size * channels > megabytes * 1_000_000


def test_take_follows_the_rows_of_its_split():
    assert IMAGES.take("validation", np.array([0, 1, 0]))[:, 0, 0, 0].tolist() == [7, 2, 7]


def test_make_grid_places_images_row_by_row():
    grid = make_grid(numbered(1, 4), columns=2, gap=1)
    assert grid.tolist() == [[1, 1, 0, 2, 2], [1, 1, 0, 2, 2], [0] * 5, [3, 3, 0, 0, 0], [3, 3, 0, 0, 0]]


def test_make_grid_gives_colour_last_and_scales():
    assert make_grid(np.zeros((4, 3, 8, 8), dtype=np.uint8), gap=0, scale=2).shape == (32, 32, 3)
