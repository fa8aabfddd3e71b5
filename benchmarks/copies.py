"""The number of training images below which a generator copies them.

Trains a preset on parts of the train split of a prepared dataset, and tests the samples for copies of their training
images at each tick, in pixels and in features. Held-out images are those of the test split, for all sizes the same.
First, it prints which damaged copies of training images the test finds.

    kedro run --env=images64 --pipelines=ingestion,preprocessing --params ingestion.source=photos.zip
    python benchmarks/copies.py data/03_primary --env=images64 --sizes 100,500,1500 --kimg 200

It writes a picture at each tick: the samples with the smallest closeness ratios, and the training images next to them.
Change parameters at the end of the command: `… augmentation.differentiable=[]`.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from quality import log
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad
from trainings import Moment, recipe_of, train_side

from kedro_dcgan.data.shard_files import read_prepared_images
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.evaluation.copies import PixelVectors, closeness, near_copies
from kedro_dcgan.evaluation.features import Collector, EfficientNetLite0Features
from kedro_dcgan.reports.pictures import make_grid
from kedro_dcgan.training.devices import keep_freed_memory

SAMPLES, SHOWN, DAMAGED = 2000, 16, 500


class CopyTest:
    """Tests the samples of one training for copies of its training images, and logs the shares."""

    def __init__(self, images: PreparedImages, input_size: int, output: Path) -> None:
        self._extractors = {"pixels": PixelVectors(images.channels), "features": EfficientNetLite0Features(input_size)}
        self._output = output
        train, held_out = (
            torch.from_numpy(images.take(split, np.arange(images.count(split)))) for split in ("train", "test")
        )
        self._train, self._training = train, self._vectors(train)
        self._of_held_out = {
            space: near_copies(closeness(vectors, self._training[space])[0])
            for space, vectors in self._vectors(held_out).items()
        }

    def _vectors(self, images: Tensor) -> dict[str, Tensor]:
        return {space: Collector(extract, images.split(50)).features for space, extract in self._extractors.items()}

    def print_sensitivity(self) -> None:
        """Print the share of near-copies among held-out images and damaged copies of training images."""
        for space, share in self._of_held_out.items():
            print(f"{'held-out images':<26} {space:<8} {share.value:.2f}", flush=True)
        for name, images in damaged(self._train[:DAMAGED]).items():
            for space, vectors in self._vectors(images).items():
                ratios, _ = closeness(vectors, self._training[space])
                print(f"{name:<26} {space:<8} {near_copies(ratios).value:.2f}", flush=True)

    def __call__(self, moment: Moment, samples: Iterator[Tensor]) -> dict:
        """Return the shares of near-copies at one tick."""
        images, count = torch.cat(list(samples)), len(self._train)
        row = {"images": count, "seed": moment.seed, "kimg": moment.kimg}
        for space, vectors in self._vectors(images).items():
            ratios, nearest = closeness(vectors, self._training[space])
            row[space] = [round(value, 4) for value in vars(near_copies(ratios)).values()]
            row[f"{space}_held_out"] = [round(value, 4) for value in vars(self._of_held_out[space]).values()]
            row[f"{space}_median_ratio"] = round(float(ratios.median()), 3)
            closest = ratios.argsort()[:SHOWN]
            pairs = torch.stack([images[closest], self._train[nearest[closest]]], dim=1).flatten(0, 1)
            self._save(pairs, f"{count}-{moment.seed}-{moment.kimg:g}-{space}.png")
        self._save(images[:64], f"{count}-{moment.seed}-{moment.kimg:g}.png")
        log(row, self._output / "copies.jsonl")
        return row

    def _save(self, images: Tensor, name: str) -> None:
        Image.fromarray(make_grid(images.numpy(), 8, scale=2)).save(self._output / name)


def damaged(images: Tensor) -> dict[str, Tensor]:
    """Return images, uint8 `(N, C, H, W)`, and what a generator that copies imperfectly might make of them."""
    source, pixels = torch.Generator().manual_seed(0), images.float()
    others = pixels[torch.randperm(len(images), generator=source)]
    changed = {
        "training images": pixels,
        "noise of 20 grey levels": pixels + 20 * torch.randn(pixels.shape, generator=source),
        "blurred, 3x3 pixels": avg_pool2d(pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, 1),
        "shifted by 1 pixel": pixels.roll((1, 1), (2, 3)),
        "mirrored": pixels.flip(3),
        "mixed with another, 70:30": 0.7 * pixels + 0.3 * others,
        "mean of two": (pixels + others) / 2,
    }
    return {name: one.clamp(0, 255).to(torch.uint8) for name, one in changed.items()}


def main() -> None:
    """Train on each number of images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("primary", type=Path, help="data/03_primary of a project")
    parser.add_argument("--env", default="base", help="our preset")
    parser.add_argument("--sizes", default="100,500,1500", help="numbers of training images")
    parser.add_argument("--kimg", type=float, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--input-size", type=int, default=64)
    parser.add_argument("--output", type=Path, default=Path("copies"))
    parser.add_argument("changes", nargs="*", help="training parameters: ema.half_life=10000")
    arguments = parser.parse_intermixed_args()
    keep_freed_memory()
    arguments.output.mkdir(parents=True, exist_ok=True)
    images = read_prepared_images(arguments.primary / "images", arguments.primary / "shards")
    total = round(arguments.kimg * 1000)
    CopyTest(images, arguments.input_size, arguments.output).print_sensitivity()
    for size in map(int, arguments.sizes.split(",")):
        part = replace(images, rows={**images.rows, "train": images.rows["train"][:size]}, classes=None)
        recipe = recipe_of("ours", arguments.env, [*arguments.changes, f"seed={arguments.seed}"], total)
        train_side("ours", part, recipe, total, CopyTest(part, arguments.input_size, arguments.output), SAMPLES)


if __name__ == "__main__":
    main()
