"""The files of prepared images. They may be damaged, swapped or replaced by links: all of them are checked.

shards/index.json     {"format": 3, "source": "…", "preparation": {…}, "shards": [{"file": "00000.npy", …}], …}
shards/00000.npy      uint8 (N, channels, image_size, image_size), memory-mapped
shards/00000.parquet  one record for each input that the shard was made from
images/index.json     {"format": 2, "digest": "…", "shards": […], "splits": {…}, "splits_sha256": {…}, …}
images/train.npy      row numbers of the split, counted over all shards
images/train_labels.npy  the class of each of these images, counted over the index's `classes`, if all images have one

An index bounds everything that is allocated: its numbers must fit the sizes of the files.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from kedro_dcgan.data.origin import UNKNOWN, Origin
from kedro_dcgan.data.shards import (
    Classes,
    ImageShards,
    PreparedImages,
    ShardEntry,
    StoredShard,
    dataset_digest,
    ingest_again,
    transform_of,
)
from kedro_dcgan.data.transforms import Preparation
from kedro_dcgan.errors import DataError, in_short
from kedro_dcgan.storage import atomic_folder, sha256_of
from kedro_dcgan.stored_files import Sha256, StoredModel, read_json, require_file, require_sha256, write_json

INDEX = "index.json"
# `preprocessing.image_size` has the same limit.
_MAX_IMAGE_SIZE = 512
_MAX_INDEX_BYTES, _MAX_HEADER_BYTES = 64_000_000, 4096
# The file of the labels of a split.
_LABELS = "{}_labels.npy"
_SELECT_AGAIN = "Select the images again: kedro run --pipelines=preprocessing."

Side = Annotated[int, Field(ge=1, le=_MAX_IMAGE_SIZE)]
SplitName = Literal["train", "validation", "test"]


class ShardsIndex(StoredModel):
    """The index of all shards of a scan. `origin` is missing if it is unknown, and in those of earlier versions."""

    format: Literal[3] = 3
    source: str
    origin: Origin = UNKNOWN
    preparation: Preparation
    inputs_per_shard: Annotated[int, Field(ge=1)]
    shards: tuple[ShardEntry, ...]

    @model_validator(mode="after")
    def _require_images(self) -> Self:
        size, channels = self.preparation.image_size, self.preparation.channels
        if not 1 <= size <= _MAX_IMAGE_SIZE or channels not in (1, 3):
            raise ValueError(
                f"images of 1 or 3 channels and a size of at most {_MAX_IMAGE_SIZE}, not {channels}x{size}"
            )
        if [entry.file for entry in self.shards] != [f"{number:05d}.npy" for number in range(len(self.shards))]:
            raise ValueError("the files of the shards must be numbered from 00000.npy on")
        return self


class SelectedShard(StoredModel):
    """A shard that images were selected from."""

    file: str
    sha256: Sha256


class ImagesIndex(StoredModel):
    """The index of the dataset. `splits_sha256` is missing in those of earlier versions, `classes` without labels.

    `origin` is missing if it is unknown, and in those of earlier versions.
    """

    format: Literal[2] = 2
    image_size: Side
    channels: Literal[1, 3]
    digest: Annotated[str, Field(min_length=1, max_length=64)]
    shards: tuple[SelectedShard, ...]
    splits: dict[SplitName, Annotated[str, Field(pattern=r"^[a-z]+\.npy$")]]
    splits_sha256: dict[SplitName, Sha256] | None = None
    classes: tuple[str, ...] | None = None
    labels_sha256: dict[SplitName, Sha256] | None = None
    origin: Origin = UNKNOWN


def read_image_shards(folder: Path) -> ImageShards:
    """Map the shards of a folder; hashes are checked when the shards are used for training and evaluation.

    Raises:
        DataError: if the index or a shard is missing, does not fit the other, or is of another format.
    """
    index = read_json(folder / INDEX, ShardsIndex, ingest_again(), _MAX_INDEX_BYTES)
    size = index.preparation.image_size
    shards = []
    for entry in index.shards:
        shape = entry.count, index.preparation.channels, size, size
        images = _map_array(folder / entry.file, np.dtype(np.uint8), shape, ingest_again(index.source))
        shards.append(StoredShard(entry.file, entry.sha256, images))
    return ImageShards(index.source, index.preparation, shards, folder, index.shards, index.origin)


def read_prepared_images(folder: Path, shards_folder: Path) -> PreparedImages:
    """Check every shard and split against its hash, once per process, and map the shards.

    Raises:
        DataError: if a file is missing, damaged or has changed, or an index is damaged or of another format.
    """
    stored = read_image_shards(shards_folder)
    index = read_json(folder / INDEX, ImagesIndex, _SELECT_AGAIN, _MAX_INDEX_BYTES)
    current = [(shard.file, shard.sha256) for shard in stored.shards]
    made_for = (stored.preparation.image_size, stored.preparation.channels)
    is_current = [(shard.file, shard.sha256) for shard in index.shards] == current
    if not is_current or (index.image_size, index.channels) != made_for:
        raise DataError(f"`{folder}` must be selected from the current shards (it is from others). {_SELECT_AGAIN}")
    for entry in stored.entries:
        require_sha256(shards_folder / entry.file, entry.sha256, ingest_again(stored.source))
    rows = _read_rows(folder, index, sum(entry.count for entry in stored.entries))
    if index.splits_sha256 is None:
        _require_digest(folder, index, stored, rows)
    facts = (index.image_size, index.channels, index.digest)
    place = str(folder), str(shards_folder)
    classes = _read_classes(folder, index, rows)
    return PreparedImages(*facts, stored.shards, rows, stored.source, place, classes, index.origin)


def write_prepared_images(images: PreparedImages, path: Path) -> None:
    """Write the row numbers of each split; the pixels stay in the shards."""
    with atomic_folder(path) as folder:
        splits = {split: f"{split}.npy" for split in images.rows}
        for split, rows in images.rows.items():
            np.save(folder / splits[split], rows.astype(np.int64), allow_pickle=False)
        content = {
            "format": 2,
            "image_size": images.image_size,
            "channels": images.channels,
            "digest": images.digest,
            "shards": [{"file": shard.file, "sha256": shard.sha256} for shard in images.shards],
            "splits": splits,
            "splits_sha256": {split: sha256_of(folder / file) for split, file in splits.items()},
            **images.origin.index_entry(),
        }
        if images.classes:
            for split, labels in images.classes.labels.items():
                np.save(folder / _LABELS.format(split), labels.astype(np.int64), allow_pickle=False)
            hashes = {split: sha256_of(folder / _LABELS.format(split)) for split in images.classes.labels}
            content |= {"classes": images.classes.names, "labels_sha256": hashes}
        write_json(folder / INDEX, content)


def _read_rows(folder: Path, index: ImagesIndex, total: int) -> dict[str, np.ndarray]:
    """Return the row numbers of each split, `(N,)` int64: each of `total` rows at most once over all splits."""
    rows: dict[str, np.ndarray] = {}
    for split, name in index.splits.items():
        file = folder / name
        # Do not hash a file of any size.
        if (size := require_file(file, _SELECT_AGAIN).st_size) > 8 * total + _MAX_HEADER_BYTES:
            raise DataError(f"`{file}` must hold at most {total:,} rows (it has {size:,} bytes). {_SELECT_AGAIN}")
        if index.splits_sha256 is not None:
            require_sha256(file, index.splits_sha256.get(split, ""), _SELECT_AGAIN)
        rows[split] = np.array(_map_array(file, np.dtype(np.int64), None, _SELECT_AGAIN))
    every = np.concatenate([*rows.values(), np.empty(0, np.int64)])
    is_in_range = not len(every) or (every.min() >= 0 and every.max() < total)
    if not is_in_range or np.bincount(every, minlength=1).max() > 1:
        raise DataError(f"the splits in `{folder}` must have each image of the shards at most once. {_SELECT_AGAIN}")
    return rows


def _read_classes(folder: Path, index: ImagesIndex, rows: Mapping[str, np.ndarray]) -> Classes | None:
    """Return the classes, with a label for each row of each split, or None if the images have none."""
    if not index.classes:
        return None
    labels, hashes = {}, {str(split): sha256 for split, sha256 in (index.labels_sha256 or {}).items()}
    for split, numbers in rows.items():
        file = folder / _LABELS.format(split)
        if require_file(file, _SELECT_AGAIN).st_size > 8 * len(numbers) + _MAX_HEADER_BYTES:
            raise DataError(f"`{file}` must hold {len(numbers):,} labels (it has more). {_SELECT_AGAIN}")
        require_sha256(file, hashes.get(split, ""), _SELECT_AGAIN)
        labels[split] = np.array(_map_array(file, np.dtype(np.int64), (len(numbers),), _SELECT_AGAIN))
        if len(numbers) and not 0 <= labels[split].min() <= labels[split].max() < len(index.classes):
            raise DataError(f"`{file}` must hold numbers of the {len(index.classes):,} classes. {_SELECT_AGAIN}")
    return Classes(index.classes, labels)


def _require_digest(folder: Path, index: ImagesIndex, stored: ImageShards, rows: Mapping[str, np.ndarray]) -> None:
    """Check splits without stored hashes: the digest of the dataset depends on all of their rows."""
    records = stored.read_records(["row", "sha256", "box"]).dropna(subset=["row"]).set_index("row").fillna("")
    images, is_sorted = [], True
    for split, numbers in rows.items():
        of_split = records.loc[numbers]
        is_sorted = is_sorted and bool(of_split["sha256"].is_monotonic_increasing)
        images += [(sha256, split, box) for sha256, box in zip(of_split["sha256"], of_split["box"], strict=True)]
    if not is_sorted or dataset_digest(images, transform_of(stored.preparation)) != index.digest:
        raise DataError(f"the splits in `{folder}` must be those of its digest (they are others). {_SELECT_AGAIN}")


def _map_array(file: Path, dtype: np.dtype, shape: tuple[int, ...] | None, remedy: str) -> np.ndarray:
    """Map an array of this type and shape (None: a vector) that fills its file."""
    size = require_file(file, remedy).st_size
    try:
        with file.open("rb") as stream:
            np.lib.format.read_magic(stream)
            found, is_fortran, found_dtype = np.lib.format.read_array_header_1_0(stream)
            start = stream.tell()
        expected = found[:1] if shape is None else shape
        if (found, found_dtype, is_fortran) != (expected, dtype, False):
            raise ValueError(f"it holds {found_dtype} {found}, not {dtype} {expected}")
        nbytes = start + math.prod(found) * dtype.itemsize
        if size != nbytes:
            raise ValueError(f"it has {size:,} bytes, not {nbytes:,}")
        # An empty array cannot be mapped.
        return np.memmap(file, dtype, "r", start, found) if 0 not in found else np.empty(found, dtype)
    except Exception as error:
        # numpy evaluates the header: a damaged one gives errors of many types.
        raise DataError(f"`{file}` must be intact (it is damaged: {in_short(error)}). {remedy}") from None
