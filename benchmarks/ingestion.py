"""Ingestion, from files to prepared images: ours against the usual loop, in one run.

The peer opens each file with Pillow, converts it to RGB, resizes and centre-crops it with torchvision, and stores it in
one array: in this process, and in a DataLoader with two workers. Ours also hashes and checks each file, writes shards,
syncs them and builds the manifest. Grouping near-duplicates into one split, the default, is timed separately. All read
the same folder from the page cache.

    python benchmarks/ingestion.py FOLDER_OR_ARCHIVE …      (without arguments: generated images)
"""

import io
import shutil
import statistics
import sys
import tempfile
import time
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from kedro_dcgan.data.manifest import COLUMNS, complete_manifest
from kedro_dcgan.data.scan import ScanTask, images_per_block, images_per_shard, scan_block
from kedro_dcgan.data.shard_writer import Scan
from kedro_dcgan.data.sources import Input, Limits, open_source
from kedro_dcgan.data.sources.source import MemoryBlock
from kedro_dcgan.data.transforms import Crop, Preparation
from kedro_dcgan.data.workers import map_in_order
from kedro_dcgan.datasets import ImageShardsDataset
from kedro_dcgan.limits import usable_cores

SIZE, ROUNDS = 64, 3
WHITE = (255, 255, 255)


class Peer(Dataset):
    """The usual dataset class; `filter_name` is torchvision's default or our filter."""

    def __init__(self, files, filter_name):
        self.files = files
        self.transform = transforms.Compose(
            [
                transforms.Resize(SIZE, interpolation=transforms.InterpolationMode(filter_name)),
                transforms.CenterCrop(SIZE),
                transforms.PILToTensor(),
            ]
        )

    def __len__(self):
        return len(self.files)

    def __getitem__(self, number):
        return self.transform(Image.open(self.files[number]).convert("RGB"))


def peer_in_one_process(files, filter_name):
    dataset = Peer(files, filter_name)
    prepared = np.empty((len(files), 3, SIZE, SIZE), dtype=np.uint8)
    for number in range(len(dataset)):
        prepared[number] = dataset[number]


def peer_in_a_data_loader(files, filter_name):
    prepared = np.empty((len(files), 3, SIZE, SIZE), dtype=np.uint8)
    for number, batch in enumerate(DataLoader(Peer(files, filter_name), batch_size=64, num_workers=2)):
        prepared[number * 64 : number * 64 + len(batch)] = batch


def ours(folder, target, near_duplicates="keep"):
    preparation = Preparation(SIZE, 3, "lanczos", Crop(), WHITE, 1, 50_000_000, 10**8, near_duplicates != "keep")
    source = open_source(str(folder), Path("/"), Limits(10**8, 10**7))

    def run(blocks, _):
        return map_in_order(
            partial(scan_block, preparation=preparation), (ScanTask(block) for block in blocks), usable_cores()
        )

    blocks = partial(source.blocks, images_per_block(SIZE, 3))
    dataset = ImageShardsDataset(target)
    dataset.save(Scan("", preparation, images_per_shard(SIZE, 3, 256), source.count, blocks, run))
    columns = [name for name in COLUMNS if name != "split"]
    complete_manifest(dataset.load().read_records([*columns, "perceptual_hash"]), 0.7, 0.1, near_duplicates)


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def difference_to_one_resize(files):
    """Return how far images reduced at least four times are from a full decode and Lanczos resize, in levels."""
    preparation = Preparation(SIZE, 3, "lanczos", Crop(), WHITE, 1, 50_000_000, 10**8)
    differences = []
    for file in files:
        image = Image.open(file)
        side = min(image.size)
        if side < 4 * SIZE or image.mode != "RGB" or len(differences) == 200:
            continue
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side))
        expected = np.asarray(square.resize((SIZE, SIZE), Image.Resampling.LANCZOS), dtype=int).transpose(2, 0, 1)
        block = MemoryBlock((Input(file.name, file.read_bytes()),), "")
        differences.append(np.abs(scan_block(ScanTask(block), preparation).pixels[0] - expected).ravel())
    every = np.concatenate(differences or [np.zeros(1)])
    return len(differences), every.mean(), np.percentile(every, 99.9)


def compare(name, folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    workspace = Path(tempfile.mkdtemp())
    works = {
        "ours": lambda: ours(folder, workspace / "shards"),
        "ours, near-duplicates grouped": lambda: ours(folder, workspace / "shards", "group"),
        "loop, same filter": lambda: peer_in_one_process(files, "lanczos"),
        "loop, default filter": lambda: peer_in_one_process(files, "bilinear"),
        "DataLoader of 2, same filter": lambda: peer_in_a_data_loader(files, "lanczos"),
        "DataLoader of 2, default filter": lambda: peer_in_a_data_loader(files, "bilinear"),
    }
    times = {work: [] for work in works}
    # Each round times all of them, so that a slow phase of the machine affects all.
    for _ in range(ROUNDS):
        for work, run in works.items():
            times[work].append(seconds(run))
    shutil.rmtree(workspace)
    print(f"{name}: {len(files):,} files, {usable_cores()} cores")
    for work, measured in times.items():
        ratios = [peer / mine for peer, mine in zip(measured, times["ours"], strict=True)]
        ratio = "" if work == "ours" else f"  ours is {statistics.median(ratios):.2f}x as fast"
        print(f"  {work:32} {len(files) / statistics.median(measured):8,.0f} images/s{ratio}")
    count, mean, percentile = difference_to_one_resize(files)
    if count:
        print(f"  reduced decoding of {count} large pictures differs by {mean:.2f} levels (99.9 %: {percentile:g})")


def photos(folder, count):
    """Write JPEG files of 1000x750 with spatial frequencies like those of photos."""
    for number in range(count):
        random = np.random.default_rng(number)
        layers = [
            np.asarray(
                Image.fromarray(random.integers(0, 256, (side * 3 // 4, side, 3), dtype=np.uint8)).resize(
                    (1000, 750), Image.Resampling.BICUBIC
                ),
                dtype=float,
            )
            / weight
            for side, weight in ((8, 2), (32, 4), (128, 8), (512, 16))
        ]
        stream = io.BytesIO()
        Image.fromarray(sum(layers).clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=88)
        (folder / f"{number}.jpg").write_bytes(stream.getvalue())


def main(names):
    with tempfile.TemporaryDirectory() as workspace:
        made = Path(workspace) / "photos of 1000x750"
        made.mkdir()
        photos(made, 300)
        compare(made.name, made)
        for name in names:
            path = Path(name)
            if path.suffix == ".zip":
                path = Path(workspace) / path.stem
                # Only the benchmark extracts the archive; the project never does.
                with zipfile.ZipFile(name) as archive:
                    path.mkdir()
                    for number, member in enumerate(archive.infolist()):
                        if not member.is_dir():
                            (path / f"{number}{Path(member.filename).suffix}").write_bytes(archive.read(member))
            compare(path.name, path)


if __name__ == "__main__":
    main(sys.argv[1:])
