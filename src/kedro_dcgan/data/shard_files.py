"""Writes shards into a folder one after the other, so that a killed run can go on after the last whole one.

A shard is there when its entry, `00000.json`, is: that is written last.
"""

import io
import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kedro_dcgan.data.scan import ImageRecord, Preparation, ScannedBlock
from kedro_dcgan.data.shards import PreparedImages, StoredShard, join_fingerprints
from kedro_dcgan.data.thumbnails import drop_surplus
from kedro_dcgan.errors import DataError
from kedro_dcgan.storage import atomic_file, damaged, read_index, require_sha256, sha256_of

_TEXT = ("path", "sha256", "format", "mode", "label", "box", "verdict", "reason", "detail")
_NUMBERS = ("bytes", "width", "height", "row")
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in _TEXT),
        *((name, pa.int64()) for name in _NUMBERS),
        ("perceptual_hash", pa.uint64()),
        ("thumbnail", pa.binary()),
    ]
)
# What pixels come from: a killed run does not go on with another version.
_DECODERS = {name: version(name) for name in ("imagecodecs", "numpy", "pillow")}
# numpy leaves room in a header for its number of rows to grow, up to this length.
_HEADER_BYTES = 128
# In the entry of a shard, but not in the index: its inputs' times of change, and how many thumbnails of each
# reason it and those before it have.
_FOR_RESUMING = ("fingerprint", "pictured")

Entry = dict[str, Any]


class ShardWriter:
    """Writes to `folder`; what is there from an earlier run with the same `preparation` is `finished`."""

    def __init__(self, folder: Path, source: str, preparation: Preparation, inputs_per_shard: int) -> None:
        self._folder = folder
        self._preparation, self._inputs_per_shard = asdict(preparation), inputs_per_shard
        self._source = source
        for half_written in folder.glob(".*.incomplete*"):
            half_written.unlink()

    def finished(self) -> list[Entry]:
        """Return the entries of shards 0, 1, 2, ... that a former run has finished for the same preparation."""
        entries: list[Entry] = []
        while (entry := self._read(f"{len(entries):05d}.json")) is not None:
            if entry.pop("made_for") != json.loads(json.dumps(self._made_for())):
                return []
            entries.append(entry)
        return entries

    def write(self, number: int, blocks: Iterable[ScannedBlock]) -> Entry:
        """Write one shard and return its entry for the index."""
        name = f"{number:05d}"
        batches: list[pa.RecordBatch] = []
        fingerprints: list[str] = []
        pictured = self._pictured_before(number)
        with atomic_file(self._folder / f"{name}.npy") as temporary:
            with temporary.open("wb") as stream:
                count = self._write_pixels(stream, _collect(blocks, batches, fingerprints, pictured))
            sha256 = sha256_of(temporary)
        with atomic_file(self._folder / f"{name}.parquet") as temporary:
            pq.write_table(pa.Table.from_batches(batches, _SCHEMA), temporary)
            records_sha256 = sha256_of(temporary)
        entry = {
            "file": f"{name}.npy",
            "count": count,
            "sha256": sha256,
            "records": f"{name}.parquet",
            "records_sha256": records_sha256,
            "fingerprint": join_fingerprints(fingerprints),
            "pictured": pictured,
        }
        with atomic_file(self._folder / f"{name}.json") as temporary:
            temporary.write_text(json.dumps({**entry, "made_for": self._made_for()}), encoding="utf-8")
        return entry

    def write_index(self, index_format: int, entries: Sequence[Entry]) -> None:
        """Write the index of all shards, and remove those of a longer scan."""
        # Times of change, which fingerprints hold, are of no account any more: equal images, equal bytes.
        shards = [{key: value for key, value in entry.items() if key not in _FOR_RESUMING} for entry in entries]
        index = {
            "format": index_format,
            "source": self._source,
            "preparation": self._preparation,
            "inputs_per_shard": self._inputs_per_shard,
            "shards": shards,
        }
        (self._folder / "index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        numbers = {f"{number:05d}" for number in range(len(entries))}
        for file in self._folder.iterdir():
            if file.stem not in {"index", *numbers}:
                file.unlink()

    def _write_pixels(self, stream: BinaryIO, parts: Iterable[np.ndarray]) -> int:
        # How many there are is known at the end: the header is written twice.
        stream.write(bytes(_HEADER_BYTES))
        count, (channels, size) = 0, (self._preparation["channels"], self._preparation["image_size"])
        for part in parts:
            if len(part):
                stream.write(part.data)
            count += len(part)
        described = {"descr": "|u1", "fortran_order": False, "shape": (count, channels, size, size)}
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, described)
        stream.seek(0)
        stream.write(header.getvalue())
        return count

    def _made_for(self) -> dict[str, Any]:
        return {"preparation": self._preparation, "inputs_per_shard": self._inputs_per_shard, "decoders": _DECODERS}

    def _pictured_before(self, number: int) -> Counter[str]:
        former = self._read(f"{number - 1:05d}.json") if number else None
        return Counter((former or {}).get("pictured", {}))

    def _read(self, name: str) -> Entry | None:
        try:
            entry: Entry = json.loads((self._folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        there = all((self._folder / f"{name[:5]}{suffix}").is_file() for suffix in (".npy", ".parquet"))
        return entry if there else None


def forget_resuming(folder: Path) -> None:
    """Remove from a folder that is in its place what only a resumed run needs."""
    for entry in folder.glob("[0-9]*.json"):
        entry.unlink()


def number_shards(
    blocks: Iterator[ScannedBlock], first: int, inputs_per_shard: int
) -> Iterator[tuple[int, ScannedBlock]]:
    """Yield each block with the number of its shard."""
    seen = first * inputs_per_shard
    for block in blocks:
        yield seen // inputs_per_shard, block
        seen += len(block.records)


def _collect(
    blocks: Iterable[ScannedBlock], batches: list[pa.RecordBatch], fingerprints: list[str], pictured: Counter[str]
) -> Iterator[np.ndarray]:
    rows = 0
    for block in blocks:
        # As a table they take a tenth of the memory.
        batches.append(_as_batch(block.records, rows, pictured))
        fingerprints.append(block.fingerprint)
        rows += len(block.pixels)
        yield block.pixels


def _as_batch(records: list[ImageRecord], first_row: int, pictured: Counter[str]) -> pa.RecordBatch:
    columns = {field.name: [getattr(record, field.name) for record in records] for field in fields(ImageRecord)}
    columns["row"] = [None if row is None else row + first_row for row in columns["row"]]
    columns["thumbnail"] = drop_surplus(columns["thumbnail"], columns["reason"], pictured)
    return pa.RecordBatch.from_pydict(columns, schema=_SCHEMA)


# TODO(merge) prepared_files

IMAGES_FORMAT, SHARDS_FORMAT = 2, 3


def read_prepared_images(path: Path, shards_folder: Path) -> PreparedImages:
    """Check every shard against its hash, once in a process, and map it.

    Raises:
        DataError: if a shard is missing, damaged or another one, or the index is of another format.
    """
    index = read_index(path / "index.json", IMAGES_FORMAT, _REMEDY)
    stored = read_shard_index(shards_folder)
    hashes = {entry["file"]: entry["sha256"] for entry in stored["shards"]}
    if any(hashes.get(entry["file"]) != entry["sha256"] for entry in index["shards"]):
        raise DataError(
            f"`{path}` must be of the shards at hand (it is of others). "
            "Select anew: kedro run --pipelines=preprocessing."
        )
    remedy = remake(stored["source"])
    shards = [open_shard(shards_folder, file, sha256, remedy, check=True) for file, sha256 in hashes.items()]
    # As with shards, only a plain name may be opened.
    rows = {split: np.load(path / Path(file).name) for split, file in index["splits"].items()}
    place = str(path), str(shards_folder)
    return PreparedImages(
        index["image_size"], index["channels"], index["digest"], shards, rows, stored["source"], place
    )


def read_shard_index(folder: Path) -> dict[str, Any]:
    """Read the index of a folder of shards.

    Raises:
        DataError: if it is not there, damaged or of another format.
    """
    return read_index(
        folder / "index.json", SHARDS_FORMAT, "Make the shards: kedro run --pipelines=ingestion,preprocessing."
    )


def open_shard(folder: Path, name: str, sha256: str, remedy: str, check: bool = False) -> StoredShard:
    """Map a shard, after a check of its hash where that is asked for.

    Raises:
        DataError: if it is missing or damaged.
    """
    # The index is data: only a plain name may be opened, never a path out of the folder.
    file = folder / Path(name).name
    if check:
        require_sha256(file, sha256, remedy)
    try:
        return StoredShard(file.name, sha256, _map(file))
    except FileNotFoundError:
        raise damaged(file, remedy, "missing") from None
    except (ValueError, EOFError, OSError):
        raise damaged(file, remedy) from None


def remake(source: str) -> str:
    """Return what to do where shards are damaged."""
    command = f"kedro run --pipelines=ingestion,preprocessing --params {shlex.quote(f'ingestion.source={source}')}"
    return f"Make the shards anew, with the other options of the first time: {command}"


def _map(file: Path) -> np.ndarray:
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except ValueError:
        # An empty shard cannot be mapped, only read.
        return np.load(file, allow_pickle=False)


_REMEDY = "Make them: kedro run --pipelines=ingestion,preprocessing."
