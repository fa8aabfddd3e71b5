"""Sensitivity of the metrics: real images are damaged in known ways and evaluated as generated images.

The Fréchet distance is printed as a multiple of that of undamaged images.

    python benchmarks/corruptions.py                      # the embedded digits
    python benchmarks/corruptions.py sprites.zip          # or any source, prepared to 64x64
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.functional import gaussian_blur

from kedro_dcgan.data.sources.builtin import embedded_digits
from kedro_dcgan.evaluation.features import Collector, EfficientNetLite0Features
from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.reference import Reference, feature_set

MOST = 2000
SHOWN = ("fd", "kd", "precision", "recall", "density", "coverage", "authenticity")


def blur(sigma: float) -> Callable[[Tensor], Tensor]:
    """Return a Gaussian blur; `sigma` is in pixels."""
    size = 2 * int(3 * sigma + 0.5) + 1
    return lambda images: gaussian_blur(images, [size, size], [sigma, sigma])


def noise(sigma: float) -> Callable[[Tensor], Tensor]:
    """Return a function that adds Gaussian noise; `sigma` is in grey levels."""

    def damage(images: Tensor) -> Tensor:
        source = torch.Generator().manual_seed(0)
        return (images + sigma * torch.randn(images.shape, generator=source)).round().clamp(0, 255).to(torch.uint8)

    return damage


def swap(count: int) -> Callable[[Tensor], Tensor]:
    """Return a function that swaps `count` pairs of squares of an eighth of the side within each image."""

    def damage(images: Tensor) -> Tensor:
        draw, images, side = np.random.default_rng(0), images.clone(), images.shape[-1] // 8
        for image in images:
            for _ in range(count):
                (a, b), (c, d) = draw.integers(0, 8, (2, 2)) * side
                first = image[:, a : a + side, b : b + side].clone()
                image[:, a : a + side, b : b + side] = image[:, c : c + side, d : d + side]
                image[:, c : c + side, d : d + side] = first
        return images

    return damage


def repeat(kinds: int) -> Callable[[Tensor], Tensor]:
    """Return a function that keeps the first `kinds` images and repeats them."""
    return lambda images: images[torch.arange(len(images)) % kinds]


DAMAGES: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda images: images,
    **{f"blur {sigma:g} px": blur(sigma) for sigma in (0.5, 1, 2)},
    **{f"noise {sigma}": noise(sigma) for sigma in (5, 15, 60)},
    **{f"{count} squares swapped": swap(count) for count in (1, 4, 16)},
    **{f"{kinds} images repeated": repeat(kinds) for kinds in (100, 30, 5)},
}


def load(source: str | None) -> tuple[Tensor, list[str] | None]:
    """Return uint8 images `(N, C, H, W)` in random order, and the labels of the digits."""
    if source is None:
        named = list(embedded_digits())
        small = torch.from_numpy(np.stack([image for _, image in named]))[:, None].float()
        pixels = interpolate(small, (32, 32), mode="bicubic").round().clamp(0, 255).to(torch.uint8).numpy()
        labels = [name.partition("/")[0] for name, _ in named]
    else:
        pixels, labels = prepared(source), None
    order = np.random.default_rng(0).permutation(len(pixels))
    return torch.from_numpy(pixels[order]), [labels[number] for number in order] if labels else None


def prepared(source: str) -> np.ndarray:
    """Read the images of a source whose size is 64x64."""
    from kedro_dcgan.data.decode import open_image, read_pixels, strict_pillow
    from kedro_dcgan.data.sources import Limits, open_source

    found = []
    with strict_pillow():
        for block in open_source(source, Path.cwd(), Limits(10**8, 10**7)).blocks(64):
            for item in block.read():
                pixels, _ = read_pixels(open_image(item.data, 10**8), (255, 255, 255))
                if pixels.shape[:2] == (64, 64) and len(found) < 3 * MOST:
                    found.append(np.broadcast_to(pixels.transpose(2, 0, 1), (3, 64, 64)))
    return np.stack(found)


def clusters(extract: EfficientNetLite0Features, images: Tensor) -> np.ndarray:
    """Cluster unlabelled images by their features into ten clusters; return the numbers of their clusters."""
    features = torch.cat([extract(batch) for batch in images.split(50)]).numpy()
    return KMeans(10, random_state=0).fit_predict(features)


def main(source: str | None, input_size: int = 128) -> None:
    """Print a table with one row per damage."""
    images, labels = load(source)
    count = min(MOST, len(images) // 3)
    test, train, other = images[:count], images[count : 2 * count], images[2 * count : 3 * count]
    extract = EfficientNetLite0Features(input_size)
    references = {
        name: Reference.of(Collector(extract, side.split(50))) for name, side in (("test", test), ("train", train))
    }
    rows = {name: damage(other) for name, damage in DAMAGES.items()}
    kinds = np.array(labels[2 * count : 3 * count]).astype(int) if labels else clusters(extract, other)
    for kept in (8, 5, 2):
        left = other[torch.from_numpy(np.flatnonzero(kinds < kept))]
        rows[f"{kept} of 10 {'digits' if labels else 'clusters'}"] = left[torch.arange(count) % len(left)]
    rows["copies of training images"] = train
    print(f"{count:,} images a side, efflite0_{input_size}; fd as a multiple of undamaged images'\n")
    print(f"| {'damage':<26} | {' | '.join(SHOWN)} |\n|{'---|' * (len(SHOWN) + 1)}")
    floor: dict[str, Estimate] = {}
    for name, damaged in rows.items():
        collected = Collector(extract, damaged.split(50))
        seen = feature_set(collected)
        found = references["test"].measure(collected, references["test"].compare(seen))
        found["authenticity"] = references["train"].compare(seen).authenticity()
        floor = floor or found
        cells = [
            f"{found[key].value / floor[key].value:.2f}x" if key == "fd" else f"{found[key].value:.3f}" for key in SHOWN
        ]
        print(f"| {name:<26} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
