"""Writes shards into a folder one after the other, so that a killed run can go on after the last whole one.

A shard is there when its entry, `00000.json`, is: that is written last.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kedro_dcgan.atomic import atomic_file
from kedro_dcgan.images.scan import ImageRecord, Preparation, ScannedBlock
from kedro_dcgan.images.shards import join_fingerprints

_TEXT = ("path", "sha256", "format", "mode", "label", "verdict", "reason", "detail")
_NUMBERS = ("bytes", "width", "height", "row")
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in _TEXT),
        *((name, pa.int64()) for name in _NUMBERS),
        ("perceptual_hash", pa.uint64()),
        ("thumbnail", pa.binary()),
    ]
)
# numpy leaves room in a header for its number of rows to grow, up to this length.
_HEADER_BYTES = 128

Entry = dict[str, Any]


class ShardWriter:
    """Writes to `folder`; what is there from an earlier run with the same `preparation` is `finished`."""

    def __init__(self, folder: Path, preparation: Preparation, inputs_per_shard: int) -> None:
        self._folder = folder
        self._made_for = {"preparation": asdict(preparation), "inputs_per_shard": inputs_per_shard}

    def finished(self) -> list[Entry]:
        """Return the entries of shards 0, 1, 2, ... that a former run has finished for the same preparation."""
        entries: list[Entry] = []
        while (entry := self._read(f"{len(entries):05d}.json")) is not None:
            if entry.pop("made_for") != json.loads(json.dumps(self._made_for)):
                return []
            entries.append(entry)
        return entries

    def write(self, number: int, blocks: Iterable[ScannedBlock]) -> Entry:
        """Write one shard and return its entry for the index."""
        name = f"{number:05d}"
        batches: list[pa.RecordBatch] = []
        fingerprints: list[str] = []
        with atomic_file(self._folder / f"{name}.npy") as temporary:
            with temporary.open("wb") as stream:
                count = _write_pixels(stream, _collect(blocks, batches, fingerprints))
            sha256 = _sha256(temporary)
        with atomic_file(self._folder / f"{name}.parquet") as temporary:
            pq.write_table(pa.Table.from_batches(batches, _SCHEMA), temporary)
        entry = {
            "file": f"{name}.npy",
            "count": count,
            "sha256": sha256,
            "records": f"{name}.parquet",
            "inputs": sum(batch.num_rows for batch in batches),
            "fingerprint": join_fingerprints(fingerprints),
        }
        with atomic_file(self._folder / f"{name}.json") as temporary:
            temporary.write_text(json.dumps({**entry, "made_for": self._made_for}), encoding="utf-8")
        return entry

    def write_index(self, index_format: int, entries: Sequence[Entry]) -> None:
        """Write the index of all shards and remove what only a resumed run needs."""
        # Times of change, which fingerprints hold, are of no account any more: equal images, equal bytes.
        shards = [{key: value for key, value in entry.items() if key != "fingerprint"} for entry in entries]
        index = {"format": index_format, **self._made_for, "shards": shards}
        (self._folder / "index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        wanted = {"index.json", *(entry["file"] for entry in entries), *(entry["records"] for entry in entries)}
        for file in self._folder.iterdir():
            if file.name not in wanted:
                file.unlink()

    def _read(self, name: str) -> Entry | None:
        try:
            entry: Entry = json.loads((self._folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        there = all((self._folder / f"{name[:5]}{suffix}").is_file() for suffix in (".npy", ".parquet"))
        return entry if there else None


def number_shards(
    blocks: Iterator[ScannedBlock], first: int, inputs_per_shard: int
) -> Iterator[tuple[int, ScannedBlock]]:
    """Yield each block with the number of its shard."""
    seen = first * inputs_per_shard
    for block in blocks:
        yield seen // inputs_per_shard, block
        seen += len(block.records)


def _collect(
    blocks: Iterable[ScannedBlock], batches: list[pa.RecordBatch], fingerprints: list[str]
) -> Iterator[np.ndarray]:
    rows = 0
    for block in blocks:
        # As a table they take a tenth of the memory.
        batches.append(_as_batch(block.records, rows))
        fingerprints.append(block.fingerprint)
        rows += len(block.pixels)
        yield block.pixels


def _as_batch(records: list[ImageRecord], first_row: int) -> pa.RecordBatch:
    columns = {field.name: [getattr(record, field.name) for record in records] for field in fields(ImageRecord)}
    columns["row"] = [None if row is None else row + first_row for row in columns["row"]]
    return pa.RecordBatch.from_pydict(columns, schema=_SCHEMA)


def _write_pixels(stream: BinaryIO, parts: Iterable[np.ndarray]) -> int:
    # How many there are is known at the end: the header is written twice.
    stream.write(bytes(_HEADER_BYTES))
    count, shape = 0, ()
    for part in parts:
        stream.write(part.data)
        count, shape = count + len(part), part.shape[1:]
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)})
    stream.seek(0)
    stream.write(header.getvalue())
    return count


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
