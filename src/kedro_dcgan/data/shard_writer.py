"""Scans and how they are stored: shard by shard, so that a killed scan resumes after the last finished shard.

Shards are written into `.NAME.incomplete` beside the final folder, which they replace at the end. The entry of a shard,
`00000.json`, is written last: a shard without an entry is not finished.
"""

import hashlib
import io
import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kedro_dcgan.data.scan import ImageRecord, Preparation, ScannedBlock, drop_surplus
from kedro_dcgan.data.shards import SHARDS_FORMAT
from kedro_dcgan.data.sources.source import Block
from kedro_dcgan.errors import DiskFullError
from kedro_dcgan.storage import atomic_file, replace_folder, report_full_disk, sha256_of

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
# Pixels depend on these packages: a killed scan does not resume with other versions.
_DECODERS = {name: version(name) for name in ("imagecodecs", "numpy", "pillow")}
# numpy pads a header up to this length, so that the number of rows can grow.
_HEADER_BYTES = 128
# Only needed to resume, so not in the index: the fingerprint has modification times, and `pictured` counts the
# thumbnails by reason up to the end of the shard.
_FOR_RESUMING = ("fingerprint", "pictured")

Entry = dict[str, Any]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scan:
    """Images on their way to be stored: they are read and prepared while the result of `run` is consumed.

    `source` is `ingestion.source`. Each shard holds `inputs_per_shard` inputs. `count` is the number of inputs, if
    known. `run` gets the blocks to scan and the number of inputs before them.
    """

    source: str
    preparation: Preparation
    inputs_per_shard: int
    count: int | None
    blocks: Callable[[], Iterator[Block]]
    run: Callable[[Iterable[Block], int], Iterator[ScannedBlock]]

    def resume_after(self, finished: Sequence[str]) -> tuple[int, Iterator[ScannedBlock]]:
        """Return the number of finished shards that are still valid, and the remaining scanned blocks.

        `finished` are the fingerprints of shards 0, 1, 2, ...: a shard is valid if none of its inputs has changed.
        """
        valid = 0
        if finished:
            for fingerprint, stored in zip(self._fingerprints(), finished, strict=False):
                if fingerprint != stored:
                    break
                valid += 1
        done = valid * self.inputs_per_shard
        blocks, skipped = self.blocks(), 0
        # The last shard may have fewer inputs than the others.
        while skipped < done and (block := next(blocks, None)):
            skipped += len(block.paths)
        return valid, self.run(blocks, done)

    def _fingerprints(self) -> Iterator[str]:
        shard_of = _shard_counter(0, self.inputs_per_shard)
        for _, blocks in groupby(self.blocks(), lambda block: shard_of(len(block.paths))):
            yield _join_fingerprints(block.fingerprint() for block in blocks)


def write_scan(scan: Scan, path: Path) -> None:
    """Run a scan and store its shards in the folder `path`, which they replace when they are complete.

    Raises:
        DiskFullError: the previous shards stay; those of this scan are removed.
    """
    # The folder may be a link to a larger disk.
    path = path.resolve()
    incomplete = path.with_name(f".{path.name}.incomplete")
    try:
        with report_full_disk(path):
            incomplete.mkdir(parents=True, exist_ok=True)
            # The count is unknown for tar archives.
            max_bytes = (scan.count or 0) * scan.preparation.channels * scan.preparation.image_size**2
            free = shutil.disk_usage(incomplete).free
            if max_bytes > free:
                logger.warning("The images may take %.1f GB; %.1f GB are free.", max_bytes / 1e9, free / 1e9)
            _write_shards(scan, incomplete)
            replace_folder(incomplete, path)
    except DiskFullError:
        shutil.rmtree(incomplete, ignore_errors=True)
        raise
    for entry in path.glob("[0-9]*.json"):
        entry.unlink()


def _write_shards(scan: Scan, folder: Path) -> None:
    writer = ShardWriter(folder, scan.source, scan.preparation, scan.inputs_per_shard)
    entries = writer.finished()
    valid, blocks = scan.resume_after([entry["fingerprint"] for entry in entries])
    del entries[valid:]
    if valid:
        logger.info("ingestion     resuming after %d finished shards", valid)
    shard_of = _shard_counter(valid, scan.inputs_per_shard)
    for number, of_shard in groupby(blocks, lambda block: shard_of(len(block.records))):
        entries.append(writer.write(number, of_shard))
    writer.write_index(entries)


def _shard_counter(first: int, inputs_per_shard: int) -> Callable[[int], int]:
    """Return a function that gets the number of inputs of each block in turn and returns the number of its shard."""
    seen = first * inputs_per_shard

    def number(inputs: int) -> int:
        nonlocal seen
        seen += inputs
        return (seen - 1) // inputs_per_shard

    return number


class ShardWriter:
    """Writes shards to `folder`, and finds those that a killed scan with the same `preparation` has finished."""

    def __init__(self, folder: Path, source: str, preparation: Preparation, inputs_per_shard: int) -> None:
        self._folder, self._source, self._shape = folder, source, (preparation.channels, preparation.image_size)
        self._settings = {"preparation": asdict(preparation), "inputs_per_shard": inputs_per_shard}
        self._made_for = {**self._settings, "decoders": _DECODERS}
        for half_written in folder.glob(".*.incomplete*"):
            half_written.unlink()

    def finished(self) -> list[Entry]:
        """Return the entries of the finished shards 0, 1, 2, ... that were made for the same preparation."""
        entries: list[Entry] = []
        while (entry := self._read_entry(len(entries))) is not None:
            if entry.pop("made_for") != json.loads(json.dumps(self._made_for)):
                return []
            entries.append(entry)
        return entries

    def write(self, number: int, blocks: Iterable[ScannedBlock]) -> Entry:
        """Write one shard and return its entry for the index."""
        name = f"{number:05d}"
        batches: list[pa.RecordBatch] = []
        fingerprints: list[str] = []
        former = self._read_entry(number - 1) if number else None
        pictured: Counter[str] = Counter((former or {}).get("pictured", {}))

        def pixels() -> Iterator[np.ndarray]:
            rows = 0
            for block in blocks:
                # Record batches take a tenth of the memory of the records.
                batches.append(_record_batch(block.records, rows, pictured))
                fingerprints.append(block.fingerprint)
                rows += len(block.pixels)
                yield block.pixels

        with atomic_file(self._folder / f"{name}.npy") as temporary:
            with temporary.open("wb") as stream:
                count = self._write_pixels(stream, pixels())
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
            "fingerprint": _join_fingerprints(fingerprints),
            "pictured": pictured,
        }
        with atomic_file(self._folder / f"{name}.json") as temporary:
            temporary.write_text(json.dumps({**entry, "made_for": self._made_for}), encoding="utf-8")
        return entry

    def write_index(self, entries: Sequence[Entry]) -> None:
        """Write the index of all shards, and remove the files of surplus shards."""
        index = {
            "format": SHARDS_FORMAT,
            "source": self._source,
            **self._settings,
            "shards": [{key: entry[key] for key in entry if key not in _FOR_RESUMING} for entry in entries],
        }
        (self._folder / "index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        kept = {"index", *(f"{number:05d}" for number in range(len(entries)))}
        for file in self._folder.iterdir():
            if file.stem not in kept:
                file.unlink()

    def _write_pixels(self, stream: BinaryIO, parts: Iterable[np.ndarray]) -> int:
        # The number of rows is known only at the end: reserve room for the header.
        stream.write(bytes(_HEADER_BYTES))
        count, (channels, size) = 0, self._shape
        for part in parts:
            if len(part):
                stream.write(part.data)
            count += len(part)
        header = io.BytesIO()
        shape = (count, channels, size, size)
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
        stream.seek(0)
        stream.write(header.getvalue())
        return count

    def _read_entry(self, number: int) -> Entry | None:
        """Return the entry of a shard, or None if the shard is not finished."""
        name = f"{number:05d}"
        try:
            entry: Entry = json.loads((self._folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return entry if all((self._folder / f"{name}{suffix}").is_file() for suffix in (".npy", ".parquet")) else None


def _record_batch(records: list[ImageRecord], first_row: int, pictured: Counter[str]) -> pa.RecordBatch:
    columns = {field.name: [getattr(record, field.name) for record in records] for field in fields(ImageRecord)}
    columns["row"] = [None if row is None else row + first_row for row in columns["row"]]
    columns["thumbnail"] = drop_surplus(columns["thumbnail"], columns["reason"], pictured)
    return pa.RecordBatch.from_pydict(columns, schema=_SCHEMA)


def _join_fingerprints(of_blocks: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(of_blocks).encode()).hexdigest()
