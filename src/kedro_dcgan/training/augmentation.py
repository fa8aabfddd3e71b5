"""Augmentation of images `(n, C, H, W)` in [-1, 1] before they go through the discriminator.

Horizontal flips augment the real images. Differentiable augmentation (Zhao et al. 2020, arXiv 2006.10738) is applied to
real and fake images in the updates of both networks, so augmentations do not leak into the samples.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from kedro_dcgan.config import AugmentationName
from kedro_dcgan.training.data import Draws

# As published: shifts by an eighth of the side length, cut-outs of half of it.
_SHIFT, _CUTOUT = 1 / 8, 1 / 2


def flip(images: Tensor, draws: Draws) -> Tensor:
    """Mirror each image with probability 0.5, left to right."""
    return torch.where(draws.uniform(len(images)) < 0.5, images.flip(3), images)


def augment(images: Tensor, names: Sequence[AugmentationName], draws: Draws) -> Tensor:
    """Apply the named augmentations, drawn independently per image."""
    for name in names:
        images = _AUGMENTATIONS[name](images, draws)
    return images


def colour(images: Tensor, draws: Draws) -> Tensor:
    """Change brightness by up to 0.5, saturation from 0 to 2 times and contrast from 0.5 to 1.5 times."""
    images = images + (draws.uniform(len(images)) - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = torch.lerp(grey, images, draws.uniform(len(images)) * 2)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean, images, draws.uniform(len(images)) + 0.5)


def translation(images: Tensor, draws: Draws) -> Tensor:
    """Shift each image by up to an eighth of its side length; fill with 0 (mid-grey)."""
    height, width = images.shape[2:]
    most_rows, most_columns = int(height * _SHIFT + 0.5), int(width * _SHIFT + 0.5)
    rows = _positions(images, axis=2) + draws.integers(len(images), -most_rows, most_rows)
    columns = _positions(images, axis=3) + draws.integers(len(images), -most_columns, most_columns)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    # The flat index (row * width + column) of the source of each pixel, the same in all channels.
    flat = (rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)).flatten(1)
    moved = images.flatten(2).gather(2, flat[:, None].expand(-1, images.shape[1], -1)).view_as(images)
    return moved * inside


def cutout(images: Tensor, draws: Draws) -> Tensor:
    """Set a square of half the side length to 0 (mid-grey), its centre anywhere in the image."""
    is_cut = torch.ones((), dtype=torch.bool, device=images.device)
    for axis in (2, 3):
        size = images.shape[axis]
        side = int(size * _CUTOUT + 0.5)
        first = (draws.uniform(len(images)) * (size + 1 - side % 2)).floor() - side // 2
        positions = _positions(images, axis)
        is_cut = is_cut & (positions >= first) & (positions < first + side)
    return images * ~is_cut


def _positions(images: Tensor, axis: int) -> Tensor:
    # The rows or columns, to be broadcast to (n, C, H, W).
    size = images.shape[axis]
    return torch.arange(size, device=images.device).view([size if dim == axis else 1 for dim in range(4)])


_AUGMENTATIONS: dict[AugmentationName, Callable[[Tensor, Draws], Tensor]] = {
    "colour": colour,
    "translation": translation,
    "cutout": cutout,
}
