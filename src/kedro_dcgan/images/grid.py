"""Many images in one picture, and many pictures over time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SampleGrid:
    """A picture of the fixed latents' samples at one moment: uint8 `(H, W)` or `(H, W, 3)`."""

    images_seen: int
    picture: np.ndarray


@dataclass(frozen=True)
class SampleFrames:
    """New grids of a training, which has come to `images_seen`."""

    training_id: str
    images_seen: int
    grids: Sequence[SampleGrid]


@dataclass(frozen=True)
class Animation:
    """Pictures of one size, uint8 `(H, W)` or `(H, W, 3)`, and how fast they follow each other."""

    pictures: Sequence[np.ndarray]
    frames_per_second: float


def make_grid(images: np.ndarray, columns: int | None = None, gap: int = 2, scale: int = 1) -> np.ndarray:
    """Lay uint8 images `(N, C, H, W)` out in rows; return uint8 `(H', W', C)`, or `(H', W')` for grey.

    Without `columns` the grid is as square as can be. `gap` is in pixels of the result, black;
    `scale` repeats pixels, for images too small to look at.
    """
    count, channels, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    height, width = height * scale, width * scale
    grid = np.zeros((channels, rows * (height + gap) - gap, columns * (width + gap) - gap), dtype=np.uint8)
    for number, image in enumerate(images):
        top, left = (number // columns) * (height + gap), (number % columns) * (width + gap)
        grid[:, top : top + height, left : left + width] = image.repeat(scale, axis=1).repeat(scale, axis=2)
    return grid[0] if channels == 1 else grid.transpose(1, 2, 0)
