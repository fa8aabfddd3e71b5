"""Shards of prepared images: `.npy` files, memory-mapped, with a table of records and an index with their hashes.

index.json      {"format": 3, "source": "…", "preparation": {…}, "shards": [{"file": "00000.npy", "sha256": "…", …}]}
00000.npy       uint8 (N, channels, image_size, image_size)
00000.parquet   a record for each input that the shard was made from
"""

import functools
import logging
import shutil
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from kedro.io import AbstractDataset

from kedro_dcgan.data.scan import Preparation
from kedro_dcgan.data.shard_files import Entry, ShardWriter, forget_resuming, number_shards
from kedro_dcgan.data.shards import ImageShards, Scan
from kedro_dcgan.data.transforms import Crop
from kedro_dcgan.errors import DiskFullError
from kedro_dcgan.integrity import require_sha256
from kedro_dcgan.prepared_files import SHARDS_FORMAT, open_shard, read_shard_index, remake
from kedro_dcgan.storage import name_a_full_disk, replace_folder

logger = logging.getLogger(__name__)


class ImageShardsDataset(AbstractDataset[Scan, ImageShards]):
    """Stores what a scan yields, shard by shard; a scan that was killed goes on after the last whole shard.

    The folder takes its place when the last shard is written. Until then the shards are in
    `.NAME.incomplete` beside it.

    Example:
        >>> import tempfile, pathlib, numpy as np
        >>> from kedro_dcgan.data.scan import ImageRecord, ScannedBlock
        >>> dataset = ImageShardsDataset(path=pathlib.Path(tempfile.mkdtemp()) / "shards")
        >>> preparation = Preparation(16, 1, "lanczos", Crop(), (255, 255, 255), 1, 1000, 1000)
        >>> scanned = ScannedBlock([ImageRecord("a.png", row=0)], np.zeros((1, 1, 16, 16), dtype=np.uint8), "")
        >>> dataset.save(Scan("here", preparation, 128, 1, lambda: iter([]), lambda blocks, done: iter([scanned])))
        >>> dataset.load().rows(np.array([0])).shape
        (1, 1, 16, 16)
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def save(self, data: Scan) -> None:
        """Write the shards as they come.

        Raises:
            DiskFullError: what was there before stays; what this scan has written goes.
        """
        # The folder may be a link to a larger disk.
        path = self.path.resolve()
        incomplete = path.with_name(f".{path.name}.incomplete")
        try:
            with name_a_full_disk(path):
                incomplete.mkdir(parents=True, exist_ok=True)
                _warn_of_a_full_disk(incomplete, data)
                _write(incomplete, data)
                replace_folder(incomplete, path)
        except DiskFullError:
            shutil.rmtree(incomplete, ignore_errors=True)
            raise
        forget_resuming(path)

    def load(self) -> ImageShards:
        """Map the shards; their hashes are checked where they are used for training and evaluation.

        Raises:
            DataError: if there are none, or they are of another format.
        """
        index = read_shard_index(self.path)
        remedy = remake(index["source"])
        stored = index["preparation"]
        preparation = Preparation(
            **{**stored, "crop": Crop(**stored["crop"]), "background": tuple(stored["background"])}
        )
        shards = [open_shard(self.path, entry["file"], entry["sha256"], remedy) for entry in index["shards"]]
        read_records = functools.partial(_read_records, self.path, index["shards"], remedy)
        return ImageShards(index["source"], preparation, shards, read_records)

    def _exists(self) -> bool:
        return (self.path / "index.json").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}


def _write(folder: Path, scan: Scan) -> None:
    writer = ShardWriter(folder, scan.source, scan.preparation, scan.inputs_per_shard)
    entries = writer.finished()
    holding, blocks = scan.after([entry["fingerprint"] for entry in entries])
    del entries[holding:]
    if holding:
        logger.info("ingestion     goes on after %d shards of a run that was cut off", holding)
    numbered = number_shards(blocks, holding, scan.inputs_per_shard)
    for number, of_shard in groupby(numbered, key=itemgetter(0)):
        entries.append(writer.write(number, (block for _, block in of_shard)))
    writer.write_index(SHARDS_FORMAT, entries)


def _warn_of_a_full_disk(folder: Path, scan: Scan) -> None:
    # How many images a tar archive holds is not known before.
    most = (scan.count or 0) * scan.preparation.channels * scan.preparation.image_size**2
    free = shutil.disk_usage(folder).free
    if most > free:
        logger.warning("The images may take %.1f GB, and there are %.1f GB left.", most / 1e9, free / 1e9)


def _read_records(
    folder: Path, entries: Sequence[Entry], remedy: str, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    tables, first_row = [], 0
    for entry in entries:
        file = folder / Path(entry["records"]).name
        require_sha256(file, entry["records_sha256"], remedy)
        table = pq.read_table(file, columns=None if columns is None else list(columns))
        if "row" in table.column_names:
            place = table.column_names.index("row")
            table = table.set_column(place, "row", pa.compute.add(table["row"], first_row))
        tables.append(table)
        first_row += entry["count"]
    records: pd.DataFrame = pa.concat_tables(tables).to_pandas(types_mapper=pd.ArrowDtype)
    return records
