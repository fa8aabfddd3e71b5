"""Loading of training batches: our shards against ImageFolder and DataLoader on the same images, in one run.

The peer decodes PNG files with torchvision's ImageFolder, in this process and with two workers. Both sides shuffle and
give float32 batches in [-1, 1] on the device.

    python benchmarks/batch_loading.py [IMAGES]
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from kedro_dcgan.data.shards import PreparedImages, StoredShard
from kedro_dcgan.model.sampling import to_model_range
from kedro_dcgan.training.data import batch_indices, batches_on

SIZE, BATCH, ROUNDS = 64, 128, 3


def read_ours(images, count, device):
    indices = batch_indices(count, BATCH, range(count // BATCH), seed=0)
    for batch in batches_on(device, images, indices):
        to_model_range(batch.images)
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def read_peer(folder, workers, device):
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)])
    dataset = ImageFolder(folder, transform)
    for batch, _ in DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, drop_last=True):
        batch.to(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main(count):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    noise = np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)
    pixels = noise.repeat(SIZE // 8, axis=2).repeat(SIZE // 8, axis=3)
    with tempfile.TemporaryDirectory() as workspace:
        folder = Path(workspace) / "files" / "all"
        folder.mkdir(parents=True)
        for number, image in enumerate(pixels):
            Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{number}.png")
        shard = Path(workspace) / "00000.npy"
        np.save(shard, pixels)
        stored = StoredShard(shard.name, "", np.load(shard, mmap_mode="r"))
        images = PreparedImages(SIZE, 3, "", [stored], {"train": np.random.default_rng(1).permutation(count)})
        works = {
            "ours": lambda: read_ours(images, count, device),
            "ImageFolder + DataLoader": lambda: read_peer(folder.parent, 0, device),
            "ImageFolder + DataLoader of 2": lambda: read_peer(folder.parent, 2, device),
        }
        times = {name: [] for name in works}
        for _ in range(ROUNDS):
            for name, work in works.items():
                start = time.perf_counter()
                work()
                times[name].append(time.perf_counter() - start)
    print(f"{count:,} images of {SIZE}x{SIZE} in batches of {BATCH}, device {device}, one pass")
    for name, measured in times.items():
        ratios = [peer / mine for peer, mine in zip(measured, times["ours"], strict=True)]
        ratio = "" if name == "ours" else f"  ours is {statistics.median(ratios):.1f}x as fast"
        print(f"  {name:32} {count / statistics.median(measured):10,.0f} images/s{ratio}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
