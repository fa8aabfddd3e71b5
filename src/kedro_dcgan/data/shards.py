"""Prepared images: shards of uint8 arrays, and which of their rows are in which split.

Images stay uint8 on disk and on their way to the device, where a batch is scaled to the range of the model.
`shard_writer` writes the shards; `shard_files` reads them, and reads and writes the splits.
"""

import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from kedro_dcgan.config import as_param
from kedro_dcgan.data import ACCEPTED
from kedro_dcgan.data.manifest import SPLITS
from kedro_dcgan.data.origin import UNKNOWN, Origin
from kedro_dcgan.data.transforms import Preparation
from kedro_dcgan.errors import DataError, in_short
from kedro_dcgan.stored_files import Sha256, StoredModel, require_sha256


class ShardEntry(StoredModel):
    """A shard in the index: plain names of files, never paths, with their hashes, and the number of images."""

    file: Annotated[str, Field(pattern=r"^\d{5,}\.npy$")]
    count: Annotated[int, Field(ge=0)]
    sha256: Sha256
    records: Annotated[str, Field(pattern=r"^\d{5,}\.parquet$")]
    records_sha256: Sha256


@dataclass(frozen=True)
class StoredShard:
    """A shard on disk: file name, hash, and its rows, uint8 `(N, C, H, W)`."""

    file: str
    sha256: str
    images: np.ndarray


@dataclass(frozen=True)
class ImageShards:
    """All shards of a scan; `entries` are those of the index."""

    source: str
    preparation: Preparation
    shards: Sequence[StoredShard]
    folder: Path
    entries: Sequence[ShardEntry] = field(repr=False)
    origin: Origin = UNKNOWN

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Return images by row number, uint8 `(len(numbers), C, H, W)`."""
        return _gather(self.shards, numbers)

    def read_records(self, columns: list[str] | None = None) -> pd.DataFrame:
        """Check and return the records of all inputs (the columns of `ImageRecord`); `row` counts over all shards."""
        tables, first_row = [], 0
        for entry in self.entries:
            file, remedy = self.folder / entry.records, ingest_again(self.source)
            require_sha256(file, entry.records_sha256, remedy)
            try:
                table = pq.read_table(file, columns=columns)
                if "row" in table.column_names:
                    rows, place = table["row"], table.column_names.index("row")
                    if not pa.compute.drop_null(rows).equals(pa.chunked_array([range(entry.count)], pa.int64())):
                        raise ValueError(f"they are not those of {entry.count:,} images")
                    table = table.set_column(place, "row", pa.compute.add(rows, first_row))
            except (pa.ArrowException, ValueError) as error:
                raise DataError(f"`{file}` must hold the records of a shard ({in_short(error)}). {remedy}") from None
            tables.append(table)
            first_row += entry.count
        records: pd.DataFrame = pa.concat_tables(tables).to_pandas(types_mapper=pd.ArrowDtype)
        return records


@dataclass(frozen=True)
class Classes:
    """The classes of a dataset: their names, and for each split the number of each image's class, int64 `(N,)`."""

    names: tuple[str, ...]
    labels: Mapping[str, np.ndarray]

    def digest(self) -> str:
        """Return 16 hex digits of the SHA-256 over the names and the labels."""
        hasher = hashlib.sha256("\n".join(self.names).encode("utf-8", "surrogateescape"))
        for split in SPLITS:
            hasher.update(np.asarray(self.labels.get(split, ()), dtype="<i8").tobytes())
        return hasher.hexdigest()[:16]

    def counts(self, split: str) -> np.ndarray:
        """Return the number of images of each class in a split, int64 `(classes,)`."""
        return np.bincount(self.labels[split], minlength=len(self.names))


@dataclass(frozen=True)
class PreparedImages:
    """The dataset: the rows of the shards in each split, in the order of the content hashes.

    `digest` identifies the images: equal digests mean equal images in equal splits and order, whatever files they
    come from. `source` is `ingestion.source`. `place` holds the folders from which another process can read the
    dataset with `read_prepared_images`. `classes` are None unless each image has a label. `origin` is only for people.
    """

    image_size: int
    channels: int
    digest: str
    shards: Sequence[StoredShard]
    rows: Mapping[str, np.ndarray]
    source: str = ""
    place: tuple[str, str] | None = None
    classes: Classes | None = None
    origin: Origin = UNKNOWN

    @property
    def name(self) -> str:
        """The name of the images' folder, file or dataset."""
        return Path(self.source).name

    def count(self, split: str) -> int:
        """Return the number of images in a split."""
        return len(self.rows.get(split, ()))

    def take(self, split: str, indices: np.ndarray) -> np.ndarray:
        """Return the images at `indices` (any order, repeats allowed), uint8 `(len(indices), C, H, W)`."""
        return _gather(self.shards, self.rows[split][indices])

    def class_counts(self) -> list[int]:
        """Return the number of training images of each class; nothing without classes."""
        return self.classes.counts("train").tolist() if self.classes else []

    def require_digest(self, digest: str) -> None:
        """Raise a `DataError` unless `digest`, that of the training images of a generator, is that of these images."""
        if digest != self.digest:
            raise DataError(
                f"the generator must have been trained on the current images (it was trained on {digest}, these are "
                f"{self.digest}). Train again: kedro run --pipelines=train."
            )

    def require_classes(self, names: Sequence[str]) -> None:
        """Raise a `DataError` unless `names`, the classes of a conditional generator, are those of these images."""
        current = self.classes.names if self.classes else ()
        if names and tuple(names) != current:
            others = sorted(set(names) ^ set(current))[:3]
            raise DataError(
                f"the generator must have been trained on the current classes ({len(names)}, now {len(current)}; they "
                f"differ in {', '.join(others)}). Train again: kedro run --pipelines=train."
            )

    def require(self, split: str, least: int, what: str, remedy: str) -> None:
        """Raise a `DataError` if a split holds fewer than `least` images."""
        if (count := self.count(split)) < least:
            raise DataError(
                f"the {split} split must hold at least {least:,} images for {what} (got {count:,}). {remedy}"
            )


def _gather(shards: Sequence[StoredShard], rows: np.ndarray) -> np.ndarray:
    """Return images by row number, counted over all shards."""
    starts = np.cumsum([0, *(len(shard.images) for shard in shards)])
    taken = np.empty((len(rows), *shards[0].images.shape[1:]), dtype=np.uint8)
    owners = np.searchsorted(starts, rows, side="right") - 1
    for owner in np.unique(owners):
        mine = owners == owner
        taken[mine] = shards[owner].images[rows[mine] - starts[owner]]
    return taken


def select(shards: ImageShards, manifest: pd.DataFrame, transform: str) -> PreparedImages:
    """Return the accepted images of a manifest as a dataset; the digest includes the name of the transform."""
    accepted = manifest[manifest["verdict"] == ACCEPTED].sort_values("sha256")
    rows = {split: accepted.loc[accepted["split"] == split, "row"].to_numpy(dtype=np.int64) for split in SPLITS}
    boxes = accepted["box"].fillna("")
    digest = dataset_digest(zip(accepted["sha256"], accepted["split"], boxes, strict=True), transform)
    images = shards.preparation.image_size, shards.preparation.channels, digest
    return PreparedImages(*images, shards.shards, rows, shards.source, classes=_classes_of(accepted))


def _classes_of(accepted: pd.DataFrame) -> Classes | None:
    """Return the classes of a sorted manifest, in the natural order of their names; None without labels."""
    if accepted["label"].isna().any() or accepted.empty:
        return None
    names = sorted(accepted["label"].unique(), key=_natural_key)
    numbers = accepted["label"].map({name: number for number, name in enumerate(names)})
    labels = {split: numbers[accepted["split"] == split].to_numpy(dtype=np.int64) for split in SPLITS}
    return Classes(tuple(map(str, names)), labels)


def _natural_key(name: str) -> tuple[list[tuple[int, str]], str]:
    """Order `class 9` before `class 10`."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], name


def transform_of(preparation: Preparation) -> str:
    """Return the part of a preparation that belongs to the digest of a dataset."""
    size, crop = f"{preparation.image_size}x{preparation.channels}", preparation.crop
    return f"{size} {preparation.resample} {crop.mode} {crop.side} {preparation.background}"


def dataset_digest(images: Iterable[tuple[str, str, str]], transform: str) -> str:
    """Return 16 hex digits of the SHA-256 over sorted `(content hash, split, box)` and the name of the transform."""
    hasher = hashlib.sha256(transform.encode())
    for sha256, split, box in sorted(images):
        hasher.update(f"\n{sha256} {split} {box}".encode())
    return hasher.hexdigest()[:16]


def ingest_again(source: str | None = None) -> str:
    """Return the remedy for damaged shards: the command that makes them from `source`."""
    if source is None:
        return "Make the images: kedro run --pipelines=ingestion,preprocessing."
    params = shlex.quote(f"ingestion.source={as_param(source)}")
    return (
        "Make the images again, otherwise with the same options: "
        f"kedro run --pipelines=ingestion,preprocessing --params {params}"
    )
