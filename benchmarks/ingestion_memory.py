"""Peak memory of ingestion for 2,000, 20,000 and 200,000 small files, which must hardly grow with their number.

The benchmark samples the proportional set size (PSS) of all processes of `kedro run --pipelines=ingestion` 20 times
per second.

    python benchmarks/ingestion_memory.py [COUNT …]
"""

import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

ROOT = Path(__file__).parents[1]
COUNTS = (2_000, 20_000, 200_000)


def make_files(folder, count):
    for number in range(count):
        if number % 1000 == 0:
            part = folder / f"{number // 1000:04d}"
            part.mkdir(parents=True)
        noise = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        picture = Image.fromarray(noise).resize((32, 32), Image.Resampling.BICUBIC)
        picture.save(part / f"{number:07d}.png", compress_level=1)


def copy_project(path):
    """Copy the project without its data, because the command writes into its project."""
    path.mkdir()
    shutil.copy2(ROOT / "pyproject.toml", path)
    for name in ("conf", "src"):
        shutil.copytree(ROOT / name, path / name)


def peak_megabytes(command, cwd):
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL)
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
            folder, project = Path(workspace) / "files", Path(workspace) / "project"
            make_files(folder, count)
            copy_project(project)
            settings = f"ingestion.source={folder},preprocessing.channels=3"
            peaks[count] = peak_megabytes(["kedro", "run", "--pipelines=ingestion", "--params", settings], project)
        ratio = peaks[count] / peaks[counts[0]]
        print(f"{count:>9,} files: peak {peaks[count]:6.0f} MB, {ratio:.2f}x that of {counts[0]:,}", flush=True)


if __name__ == "__main__":
    main([int(count) for count in sys.argv[1:]] or COUNTS)
