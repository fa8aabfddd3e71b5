"""Memory while 2,000, 20,000 and 200,000 small files are ingested: it must not grow with their number.

Measured is the sum over all processes of the memory that is theirs alone (PSS), sampled 20 times a
second, in a fresh process for each count, up to the manifest.

    python benchmarks/ingestion_memory.py [COUNT …]
"""

import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil

COUNTS = (2_000, 20_000, 200_000)


def make_files(folder, count):
    import io

    import numpy as np
    from PIL import Image

    for number in range(count):
        if number % 1000 == 0:
            part = folder / f"{number // 1000:04d}"
            part.mkdir(parents=True)
        if number < 50:
            stream = io.BytesIO()
            noise = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((32, 32), Image.Resampling.BICUBIC).save(stream, "PNG")
            SMALL.append(stream.getvalue())
        # What follows the end of a PNG makes another file of it.
        (part / f"{number:07d}.png").write_bytes(SMALL[number % 50] + str(number).encode())


SMALL: list[bytes] = []

INGEST = """
import sys
from functools import partial
from pathlib import Path
from kedro_dcgan.datasets import ImageShardsDataset
from kedro_dcgan.images.manifest import COLUMNS, complete_manifest
from kedro_dcgan.images.scan import Preparation, ScanTask, scan_block
from kedro_dcgan.images.shards import Scan, images_per_block, images_per_shard
from kedro_dcgan.images.transforms import Crop
from kedro_dcgan.sources import Limits, open_source
from kedro_dcgan.workers import map_in_order

preparation = Preparation(32, 3, "lanczos", Crop(), (255, 255, 255), 1, 10**7, 10**8)
source = open_source(sys.argv[1], Path("/"), Limits(10**8, 10**7))
run = lambda blocks, done: map_in_order(partial(scan_block, preparation=preparation), map(ScanTask, blocks), 2)
blocks = partial(source.blocks, images_per_block(32, 3))
scan = Scan("", preparation, images_per_shard(32, 3, 256), source.count, blocks, run)
dataset = ImageShardsDataset(sys.argv[2])
dataset.save(scan)
manifest = complete_manifest(dataset.load().read_records([name for name in COLUMNS if name != "split"]), 0.7, 0.1)
assert (manifest["verdict"] == "accepted").all()
"""


def peak_megabytes(command):
    process = subprocess.Popen(command)
    root, peak = psutil.Process(process.pid), 0
    waiting = threading.Event()
    while process.poll() is None:
        total = 0
        for one in [root, *_children(root)]:
            try:
                total += one.memory_full_info().pss
            except psutil.Error:
                continue
        peak = max(peak, total)
        waiting.wait(0.05)
    assert process.returncode == 0
    return peak / 1e6


def _children(root):
    try:
        return root.children(recursive=True)
    except psutil.Error:
        return []


def main(counts):
    peaks = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as workspace:
            folder = Path(workspace) / "files"
            make_files(folder, count)
            peaks[count] = peak_megabytes([sys.executable, "-c", INGEST, str(folder), str(Path(workspace) / "shards")])
        ratio = peaks[count] / peaks[counts[0]]
        print(f"{count:>9,} files: peak {peaks[count]:6.0f} MB, {ratio:.2f}x that of {counts[0]:,}", flush=True)


if __name__ == "__main__":
    main([int(count) for count in sys.argv[1:]] or COUNTS)
