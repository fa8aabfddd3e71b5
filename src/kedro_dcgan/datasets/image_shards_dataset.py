"""Shards of prepared images: `.npy` files, memory-mapped, with a table of records and an index with their hashes.

index.json      {"format": 2, "preparation": {…}, "shards": [{"file": "00000.npy", "count": 1797, "sha256": "…", …}]}
00000.npy       uint8 (N, channels, image_size, image_size)
00000.parquet   a record for each input that the shard was made from
"""

import errno
import functools
import hashlib
import json
import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from kedro.io import AbstractDataset

from kedro_dcgan.atomic import replace_folder
from kedro_dcgan.datasets.shard_writer import Entry, ShardWriter, number_shards
from kedro_dcgan.errors import DataError, SourceError
from kedro_dcgan.images.scan import Preparation
from kedro_dcgan.images.shards import ImageShards, Scan, StoredShard
from kedro_dcgan.images.transforms import Crop

logger = logging.getLogger(__name__)

FORMAT = 2
_REMEDY = "Make the shards anew: kedro run --pipelines=ingestion,preprocessing."
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ImageShardsDataset(AbstractDataset[Scan, ImageShards]):
    """Stores what a scan yields, shard by shard; a scan that was killed goes on after the last whole shard.

    The folder takes its place when the last shard is written. Until then the shards are in
    `.NAME.incomplete` beside it.

    Example:
        >>> import tempfile, pathlib, numpy as np
        >>> from kedro_dcgan.images.scan import ImageRecord, ScannedBlock
        >>> dataset = ImageShardsDataset(path=pathlib.Path(tempfile.mkdtemp()) / "shards")
        >>> preparation = Preparation(16, 1, "lanczos", Crop(), (255, 255, 255), 1, 1000)
        >>> scanned = ScannedBlock([ImageRecord("a.png", row=0)], np.zeros((1, 1, 16, 16), dtype=np.uint8), "")
        >>> dataset.save(Scan(preparation, 128, 1, lambda: iter([]), lambda blocks, done: iter([scanned])))
        >>> dataset.load().rows(np.array([0])).shape
        (1, 1, 16, 16)
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def save(self, data: Scan) -> None:
        """Write the shards as they come.

        Raises:
            DataError: if the disk is full. What was there before stays; what this scan has written goes.
            SourceError: if no input is a usable image.
        """
        incomplete = self.path.with_name(f".{self.path.name}.incomplete")
        incomplete.mkdir(parents=True, exist_ok=True)
        self._warn_of_a_full_disk(data)
        writer = ShardWriter(incomplete, data.preparation, data.inputs_per_shard)
        entries = writer.finished()
        holding, blocks = data.after([entry["fingerprint"] for entry in entries])
        del entries[holding:]
        if holding:
            logger.info("ingestion     goes on after %d shards of a run that was cut off", holding)
        try:
            numbered = number_shards(blocks, holding, data.inputs_per_shard)
            for number, of_shard in groupby(numbered, key=itemgetter(0)):
                entries.append(writer.write(number, (block for _, block in of_shard)))
            writer.write_index(FORMAT, entries)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            shutil.rmtree(incomplete, ignore_errors=True)
            raise DataError(
                f"the disk of `{self.path}` must have room for the images ({error.strerror}). What was there before is "
                "as it was. Free some space, or lower `preprocessing.image_size`, and run again."
            ) from None
        if not any(entry["count"] for entry in entries):
            reasons = _count_reasons(incomplete, entries)
            shutil.rmtree(incomplete)
            raise SourceError(
                f"the source must hold at least one usable image (got {reasons}). "
                "Pass another with --params ingestion.source=PATH."
            )
        replace_folder(incomplete, self.path)

    def load(self) -> ImageShards:
        """Map the shards; their hashes are checked where they are used for training and evaluation.

        Raises:
            DataError: if there are none, or they are of another format.
        """
        index = read_index(self.path / "index.json", FORMAT, _REMEDY)
        stored = index["preparation"]
        preparation = Preparation(
            **{**stored, "crop": Crop(**stored["crop"]), "background": tuple(stored["background"])}
        )
        shards = [open_shard(self.path, entry["file"], entry["sha256"], check=False) for entry in index["shards"]]
        files = [(self.path / Path(entry["records"]).name, entry["count"]) for entry in index["shards"]]
        return ImageShards(preparation, shards, functools.partial(_read_records, files))

    def _warn_of_a_full_disk(self, scan: Scan) -> None:
        preparation = scan.preparation
        most = (scan.count or 0) * preparation.channels * preparation.image_size**2
        free = shutil.disk_usage(self.path.parent).free
        if most > free:
            logger.warning("The images may take %.1f GB, and there are %.1f GB left.", most / 1e9, free / 1e9)

    def _exists(self) -> bool:
        return (self.path / "index.json").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}


def read_index(file: Path, index_format: int, remedy: str) -> dict[str, Any]:
    """Read an index.

    Raises:
        DataError: if it is not there, damaged or of another format.
    """
    try:
        index: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"`{file.parent}` must hold prepared images (it does not). {remedy}") from None
    except ValueError:
        raise DataError(f"`{file}` must be as it was written (it is damaged). {remedy}") from None
    if index.get("format") != index_format:
        raise DataError(f"`{file.parent}` must be of format {index_format} (got {index.get('format')}). {remedy}")
    return index


def open_shard(folder: Path, name: str, sha256: str, check: bool) -> StoredShard:
    """Map a shard, after a check of its hash where that is asked for: once in a process.

    Raises:
        DataError: if it is missing or damaged.
    """
    # The index is data: only a plain name may be opened, never a path out of the folder.
    file = folder / Path(name).name
    try:
        status = file.stat()
        if check and _sha256(file, status.st_size, status.st_mtime_ns) != sha256:
            raise DataError(f"the shard `{file}` must be as it was written (it is damaged). {_REMEDY}")
        return StoredShard(file.name, sha256, _map(file))
    except FileNotFoundError:
        raise DataError(f"the shard `{file}` must be as it was written (it is missing). {_REMEDY}") from None


def _map(file: Path) -> np.ndarray:
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except ValueError:
        # An empty shard cannot be mapped, only read.
        return np.load(file, allow_pickle=False)


@functools.cache
def _sha256(file: Path, size: int, changed: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _count_reasons(folder: Path, entries: Sequence[Entry]) -> str:
    reasons = Counter(
        reason for entry in entries for reason in pq.read_table(folder / entry["records"])["reason"].to_pylist()
    )
    listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
    return f"{reasons.total():,} files: {listed}"


def _read_records(files: Sequence[tuple[Path, int]], columns: Sequence[str] | None = None) -> pd.DataFrame:
    tables, first_row = [], 0
    for file, count in files:
        table = pq.read_table(file, columns=None if columns is None else list(columns))
        if "row" in table.column_names:
            place = table.column_names.index("row")
            table = table.set_column(place, "row", pa.compute.add(table["row"], first_row))
        tables.append(table)
        first_row += count
    records: pd.DataFrame = pa.concat_tables(tables).to_pandas(types_mapper=pd.ArrowDtype)
    return records
