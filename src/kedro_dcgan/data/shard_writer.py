"""Scans and how they are stored: shard by shard, so that a killed scan resumes after the last finished shard.

Shards are written into `.NAME.incomplete` beside the final folder, which they replace at the end. The entry of a shard,
`00000.json`, is written last: a shard without an entry is not finished.
"""

import hashlib
import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from kedro_dcgan.data.origin import UNKNOWN, Origin
from kedro_dcgan.data.scan import ImageRecord, ScannedBlock, drop_surplus
from kedro_dcgan.data.shard_files import INDEX
from kedro_dcgan.data.shards import ShardEntry
from kedro_dcgan.data.sources import Block
from kedro_dcgan.data.transforms import Preparation
from kedro_dcgan.errors import DataError, DiskFullError
from kedro_dcgan.storage import atomic_file, replace_folder, report_write_errors, sha256_of, staging_folder
from kedro_dcgan.stored_files import read_json, require_sha256, write_json

_TEXT = ("path", "sha256", "format", "mode", "label", "box", "verdict", "reason", "detail")
_NUMBERS = ("bytes", "width", "height", "row")
_SCHEMA = pa.schema(
    [(name, pa.string()) for name in _TEXT]
    + [(name, pa.int64()) for name in _NUMBERS]
    + [("perceptual_hash", pa.uint64()), ("thumbnail", pa.binary())]
)
# Pixels depend on these packages: a killed scan does not resume with other versions.
_DECODERS = {name: version(name) for name in ("imagecodecs", "numpy", "pillow")}
AnyBlock = TypeVar("AnyBlock")

logger = logging.getLogger(__name__)


class FinishedShard(ShardEntry):
    """A shard of a scan that is not finished, with all that is only needed to resume the scan.

    `fingerprint` contains modification times. `pictured` counts the thumbnails by reason up to the end of the shard.
    `made_for` has the settings of the scan.
    """

    fingerprint: str
    pictured: dict[str, int]
    made_for: dict[str, JsonValue]


@dataclass(frozen=True)
class Scan:
    """A lazy scan: images are read and prepared while the result of `run` is consumed.

    `source` is `ingestion.source`, `origin` is stored with it. Each shard holds `inputs_per_shard` inputs. `count` is
    the number of inputs, if known. `run` gets the blocks to scan and the number of inputs before them.
    """

    source: str
    preparation: Preparation
    inputs_per_shard: int
    count: int | None
    blocks: Callable[[], Iterator[Block]]
    run: Callable[[Iterable[Block], int], Iterator[ScannedBlock]]
    origin: Origin = UNKNOWN


def write_scan(scan: Scan, path: Path) -> None:
    """Run a scan and store its shards in the folder `path`, which they replace when they are complete.

    If the disk is full, the previous shards stay, and those of this scan are removed.
    """
    # The folder may be a link to a larger disk.
    path = path.resolve()
    incomplete = staging_folder(path) / f".{path.name}.incomplete"
    try:
        with report_write_errors(path):
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
    """Write the shards that a killed scan has not finished, and the index of all."""
    writer = ShardWriter(folder, scan)

    # A finished shard is valid if none of its inputs has changed.
    valid, shards = 0, _group_by_shard(scan.blocks(), lambda block: len(block.paths), scan.inputs_per_shard)
    for entry, blocks in zip(writer.entries, shards, strict=False):
        if _join_fingerprints(block.fingerprint() for block in blocks) != entry.fingerprint:
            break
        valid += 1
    del writer.entries[valid:]
    if valid:
        logger.info("ingestion     resuming after %d finished shards", valid)

    # Skip their inputs; the last shard may have fewer inputs than the others.
    done, skipped = valid * scan.inputs_per_shard, 0
    remaining = scan.blocks()
    while skipped < done and (block := next(remaining, None)):
        skipped += len(block.paths)

    scanned = scan.run(remaining, done)
    for of_shard in _group_by_shard(scanned, lambda block: len(block.records), scan.inputs_per_shard):
        writer.write(of_shard)
    writer.write_index()


def _group_by_shard(
    blocks: Iterable[AnyBlock], count: Callable[[AnyBlock], int], inputs_per_shard: int
) -> Iterator[Iterator[AnyBlock]]:
    """Group the blocks of each shard; `count` returns the number of inputs of a block."""
    seen = 0

    def shard_of(block: AnyBlock) -> int:
        nonlocal seen
        seen += count(block)
        return (seen - 1) // inputs_per_shard

    return (of_shard for _, of_shard in groupby(blocks, shard_of))


class ShardWriter:
    """Writes shards after the finished ones of a killed scan with the same preparation; `entries` go into the index."""

    def __init__(self, folder: Path, scan: Scan) -> None:
        size = scan.preparation.image_size
        self._folder, self._shape = folder, (scan.preparation.channels, size, size)
        settings = {"preparation": asdict(scan.preparation), "inputs_per_shard": scan.inputs_per_shard}
        self._index = {"source": scan.source, **scan.origin.index_entry(), **settings}
        # As JSON returns it, with lists instead of tuples.
        self._made_for = json.loads(json.dumps({**settings, "decoders": _DECODERS}))
        for half_written in folder.glob(".*.incomplete*"):
            half_written.unlink()
        self.entries: list[FinishedShard] = []
        while (entry := self._read_entry(len(self.entries))) is not None:
            self.entries.append(entry)

    def _read_entry(self, number: int) -> FinishedShard | None:
        """Return the entry of a shard, or None if it is not finished, is damaged, or was made for other settings."""
        file = self._folder / f"{number:05d}"
        try:
            entry = read_json(file.with_suffix(".json"), FinishedShard, "")
            require_sha256(file.with_suffix(".npy"), entry.sha256, "")
            require_sha256(file.with_suffix(".parquet"), entry.records_sha256, "")
        except DataError:
            return None
        is_of_file = (entry.file, entry.records) == (f"{file.name}.npy", f"{file.name}.parquet")
        return entry if is_of_file and entry.made_for == self._made_for else None

    def write(self, blocks: Iterable[ScannedBlock]) -> None:
        """Write the next shard, and its entry last."""
        file = self._folder / f"{len(self.entries):05d}"
        pictured = Counter[str](self.entries[-1].pictured if self.entries else {})
        batches, fingerprints, count = [], [], 0
        with atomic_file(file.with_suffix(".npy")) as temporary:
            with temporary.open("wb") as stream:
                # numpy pads the header so that the number of rows, known only at the end, can be written into it.
                self._write_header(stream, count)
                for block in blocks:
                    # Record batches take a tenth of the memory of the records.
                    batches.append(_record_batch(block.records, count, pictured))
                    fingerprints.append(block.fingerprint)
                    stream.write(block.pixels.tobytes())
                    count += len(block.pixels)
                stream.seek(0)
                self._write_header(stream, count)
            sha256 = sha256_of(temporary)
        with atomic_file(file.with_suffix(".parquet")) as temporary:
            pq.write_table(pa.Table.from_batches(batches, _SCHEMA), temporary)
            records_sha256 = sha256_of(temporary)
        entry = FinishedShard(
            file=f"{file.name}.npy",
            count=count,
            sha256=sha256,
            records=f"{file.name}.parquet",
            records_sha256=records_sha256,
            fingerprint=_join_fingerprints(fingerprints),
            pictured=dict(pictured),
            made_for=self._made_for,
        )
        with atomic_file(file.with_suffix(".json")) as temporary:
            write_json(temporary, entry.model_dump())
        self.entries.append(entry)

    def _write_header(self, stream: BinaryIO, count: int) -> None:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, *self._shape)}
        np.lib.format.write_array_header_1_0(stream, header)

    def write_index(self) -> None:
        """Write the index of all shards, and remove the files of surplus shards."""
        shards = [entry.model_dump(include=set(ShardEntry.model_fields)) for entry in self.entries]
        write_json(self._folder / INDEX, {"format": 3, **self._index, "shards": shards})
        kept = {"index", *(f"{number:05d}" for number in range(len(shards)))}
        for file in self._folder.iterdir():
            if file.stem not in kept:
                file.unlink()


def _record_batch(records: list[ImageRecord], first_row: int, pictured: Counter[str]) -> pa.RecordBatch:
    columns = {field.name: [getattr(record, field.name) for record in records] for field in fields(ImageRecord)}
    columns["row"] = [None if row is None else row + first_row for row in columns["row"]]
    columns["thumbnail"] = drop_surplus(columns["thumbnail"], columns["reason"], pictured)
    return pa.RecordBatch.from_pydict(columns, schema=_SCHEMA)


def _join_fingerprints(of_blocks: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(of_blocks).encode()).hexdigest()
