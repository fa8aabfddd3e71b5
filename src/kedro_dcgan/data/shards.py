"""Prepared images: shards of uint8 arrays on disk, and which of their rows are in which split.

shards/index.json     {"format": 3, "source": "…", "preparation": {…}, "shards": [{"file": "00000.npy", …}]}
shards/00000.npy      uint8 (N, channels, image_size, image_size), memory-mapped
shards/00000.parquet  one record for each input that the shard was made from
images/index.json     {"format": 2, "digest": "…", "shards": [{"file": "00000.npy", …}], "splits": {…}}
images/train.npy      row numbers of the split, counted over all shards

Images stay uint8 on disk and on their way to the device, where a batch is scaled to the range of the model.
`shard_writer` writes the shards.
"""

import functools
import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from kedro_dcgan.data import ACCEPTED
from kedro_dcgan.data.manifest import SPLITS
from kedro_dcgan.data.scan import Preparation
from kedro_dcgan.data.transforms import Crop
from kedro_dcgan.errors import DataError
from kedro_dcgan.storage import atomic_folder, sha256_of

SHARDS_FORMAT, IMAGES_FORMAT = 3, 2
_REMEDY = "Make them: kedro run --pipelines=ingestion,preprocessing."


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
    entries: Sequence[Mapping[str, Any]] = field(repr=False)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Return images by row number, uint8 `(len(numbers), C, H, W)`."""
        return _gather(self.shards, numbers)

    def read_records(self, columns: list[str] | None = None) -> pd.DataFrame:
        """Check and return the records of all inputs (the columns of `ImageRecord`); `row` counts over all shards."""
        tables, first_row = [], 0
        for entry in self.entries:
            # The index is not trusted: only plain file names are opened, never a path out of the folder.
            file = self.folder / Path(entry["records"]).name
            _require_sha256(file, entry["records_sha256"], self.source)
            table = pq.read_table(file, columns=columns)
            if "row" in table.column_names:
                place = table.column_names.index("row")
                table = table.set_column(place, "row", pa.compute.add(table["row"], first_row))
            tables.append(table)
            first_row += entry["count"]
        records: pd.DataFrame = pa.concat_tables(tables).to_pandas(types_mapper=pd.ArrowDtype)
        return records


@dataclass(frozen=True)
class PreparedImages:
    """The dataset: the rows of the shards in each split, in the order of the content hashes.

    `digest` identifies the content: equal digests mean equal images in equal splits and order, whatever files they
    come from. `source` is `ingestion.source`. `place` holds the folders from which another process can read the
    dataset with `read_prepared_images`.
    """

    image_size: int
    channels: int
    digest: str
    shards: Sequence[StoredShard]
    rows: Mapping[str, np.ndarray]
    source: str = ""
    place: tuple[str, str] | None = None

    def count(self, split: str) -> int:
        """Return the number of images in a split."""
        return len(self.rows.get(split, ()))

    def take(self, split: str, indices: np.ndarray) -> np.ndarray:
        """Return the images at `indices` (any order, repeats allowed), uint8 `(len(indices), C, H, W)`."""
        return _gather(self.shards, self.rows[split][indices])

    def require_digest(self, digest: str) -> None:
        """Raise a `DataError` unless `digest`, that of the training images of a generator, is that of these images."""
        if digest != self.digest:
            raise DataError(
                f"the generator must have been trained on the current images (it was trained on {digest}, these are "
                f"{self.digest}). Train again: kedro run --pipelines=train."
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
    preparation = shards.preparation
    return PreparedImages(preparation.image_size, preparation.channels, digest, shards.shards, rows, shards.source)


def dataset_digest(images: Iterable[tuple[str, str, str]], transform: str) -> str:
    """Return 16 hex digits of the SHA-256 over sorted `(content hash, split, box)` and the name of the transform."""
    hasher = hashlib.sha256(transform.encode())
    for sha256, split, box in sorted(images):
        hasher.update(f"\n{sha256} {split} {box}".encode())
    return hasher.hexdigest()[:16]


def read_image_shards(folder: Path) -> ImageShards:
    """Map the shards of a folder; hashes are checked when the shards are used for training and evaluation."""
    index = _read_index(folder, SHARDS_FORMAT)
    stored = index["preparation"]
    preparation = Preparation(**{**stored, "crop": Crop(**stored["crop"]), "background": tuple(stored["background"])})
    source, entries = index["source"], index["shards"]
    shards = [_open_shard(folder / Path(entry["file"]).name, entry["sha256"], source) for entry in entries]
    return ImageShards(source, preparation, shards, folder, entries)


def read_prepared_images(folder: Path, shards_folder: Path) -> PreparedImages:
    """Check every shard against its hash, once per process, and map it.

    Raises:
        DataError: if a shard is missing, damaged or has changed, or an index is damaged or of another format.
    """
    index, stored = _read_index(folder, IMAGES_FORMAT), _read_index(shards_folder, SHARDS_FORMAT)
    hashes = {entry["file"]: entry["sha256"] for entry in stored["shards"]}
    if any(hashes.get(entry["file"]) != entry["sha256"] for entry in index["shards"]):
        raise DataError(
            f"`{folder}` must be selected from the current shards (it is from others). "
            "Select again: kedro run --pipelines=preprocessing."
        )
    source, shards = stored["source"], []
    for name, sha256 in hashes.items():
        file = shards_folder / Path(name).name
        _require_sha256(file, sha256, source)
        shards.append(_open_shard(file, sha256, source))
    rows = {split: np.load(folder / Path(file).name) for split, file in index["splits"].items()}
    facts = (index["image_size"], index["channels"], index["digest"])
    return PreparedImages(*facts, shards, rows, source, (str(folder), str(shards_folder)))


def write_prepared_images(images: PreparedImages, path: Path) -> None:
    """Write the row numbers of each split; the pixels stay in the shards."""
    with atomic_folder(path) as folder:
        for split, rows in images.rows.items():
            np.save(folder / f"{split}.npy", rows.astype(np.int64), allow_pickle=False)
        index = {
            "format": IMAGES_FORMAT,
            "image_size": images.image_size,
            "channels": images.channels,
            "digest": images.digest,
            "shards": [{"file": shard.file, "sha256": shard.sha256} for shard in images.shards],
            "splits": {split: f"{split}.npy" for split in images.rows},
        }
        (folder / "index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _read_index(folder: Path, index_format: int) -> dict[str, Any]:
    file = folder / "index.json"
    try:
        index: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        stored_format = index.get("format")
    except FileNotFoundError:
        raise DataError(f"`{folder}` must hold prepared images (it does not). {_REMEDY}") from None
    except (ValueError, AttributeError):  # Not JSON, or not an object.
        raise _damaged(file) from None
    if stored_format != index_format:
        raise DataError(f"`{folder}` must be of format {index_format} (got {stored_format}). {_REMEDY}")
    return index


def _open_shard(file: Path, sha256: str, source: str) -> StoredShard:
    try:
        try:
            images = np.load(file, mmap_mode="r", allow_pickle=False)
        except ValueError:  # An empty array cannot be mapped, only read.
            images = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise _damaged(file, source, "missing") from None
    except (ValueError, EOFError, OSError):
        raise _damaged(file, source) from None
    return StoredShard(file.name, sha256, images)


def _require_sha256(file: Path, sha256: str, source: str) -> None:
    try:
        status = file.stat()
    except FileNotFoundError:
        raise _damaged(file, source, "missing") from None
    if _cached_sha256(file, status.st_size, status.st_mtime_ns) != sha256:
        raise _damaged(file, source)


@functools.cache
def _cached_sha256(file: Path, size: int, modified: int) -> str:
    """Hash a file once per process, unless its size or modification time changes."""
    return sha256_of(file)


def _damaged(file: Path, source: str | None = None, state: str = "damaged") -> DataError:
    params = f" --params {shlex.quote(f'ingestion.source={source}')}" if source else ""
    return DataError(
        f"`{file}` must be intact (it is {state}). Make the images again, otherwise with the same options: "
        f"kedro run --pipelines=ingestion,preprocessing{params}"
    )
