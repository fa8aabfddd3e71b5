import numpy as np
import pyarrow.parquet as pq
import pytest

from kedro_dcgan.data.scan import MAX_THUMBNAILS, ImageRecord, ScannedBlock
from kedro_dcgan.data.shard_writer import Scan, ShardWriter
from kedro_dcgan.data.transforms import Crop, Preparation

PREPARATION = Preparation(512, 3, "bicubic", Crop(), (255, 255, 255), 512, 10**6, 10**8)
A_SHARD = 30
SCAN = Scan("here", PREPARATION, A_SHARD, None, blocks=None, run=None)


def skipped(first):
    """A block of two skipped inputs, each with a thumbnail."""
    records = [
        ImageRecord(f"{number:03d}", verdict="skipped", reason="too_small", thumbnail=bytes(4))
        for number in (first, first + 1)
    ]
    return ScannedBlock(records, np.empty((0, 3, 512, 512), dtype=np.uint8), str(first))


def shard(number):
    return map(skipped, range(number * A_SHARD, (number + 1) * A_SHARD, 2))


def pictured(folder):
    tables = [pq.read_table(file, columns=["path", "thumbnail"]) for file in sorted(folder.glob("*.parquet"))]
    return [row["path"] for table in tables for row in table.to_pylist() if row["thumbnail"] is not None]


@pytest.mark.parametrize("resumed_at", [0, 1, 2, 3])
def test_number_of_thumbnails_is_limited_even_if_a_scan_resumes(tmp_path, resumed_at):
    for number in range(resumed_at):
        ShardWriter(tmp_path, SCAN).write(shard(number))
    writer = ShardWriter(tmp_path, SCAN)
    assert len(writer.entries) == resumed_at
    for number in range(resumed_at, 4):
        writer.write(shard(number))
    writer.write_index()
    assert pictured(tmp_path) == [f"{number:03d}" for number in range(MAX_THUMBNAILS)]
