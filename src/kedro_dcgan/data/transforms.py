"""From the pixels of a file to a uint8 image of the model's size: background, orientation, crop, resize, padding.

Regions are `(left, top, right, bottom)` in pixels of the upright image, right and bottom exclusive. The upright image
is the image in the file, first transposed and then mirrored as its EXIF orientation says.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

Colour = tuple[int, int, int]
Region = tuple[int, int, int, int]
CropMode = Literal["centre", "letterbox", "none"]
Resample = Literal["lanczos", "bicubic", "box"]

# The EXIF orientations (Exif 2.32, 4.6.4) of files to transpose, to mirror left to right, and to mirror top to bottom.
_TRANSPOSED, _LEFT_TO_RIGHT, _TOP_TO_BOTTOM = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)
# Pixels that are blended at a time, to bound the intermediate results.
_STRIP_PIXELS = 65_536


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return width and height of the upright image from those in the file, or the other way round."""
    return size[::-1] if orientation in _TRANSPOSED else size


def region_in_file(region: Region, width: int, height: int, orientation: int) -> Region:
    """Return the region of the image in the file for a region of the upright image of that width and height."""
    left, top, right, bottom = region
    if orientation in _LEFT_TO_RIGHT:
        left, right = width - right, width - left
    if orientation in _TOP_TO_BOTTOM:
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if orientation in _TRANSPOSED else (left, top, right, bottom)


def set_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return a view of the pixels of a file `(height, width, bands)`, upright."""
    transposed = pixels.swapaxes(0, 1) if orientation in _TRANSPOSED else pixels
    return transposed[:: -1 if orientation in _TOP_TO_BOTTOM else 1, :: -1 if orientation in _LEFT_TO_RIGHT else 1]


@dataclass(frozen=True)
class Crop:
    """How an image is cropped.

    `centre` keeps the centred square, of `side` pixels or as large as possible; `letterbox` keeps the whole image
    and adds bars of the background; `none` keeps the whole image and stretches it to a square.
    """

    mode: CropMode = "centre"
    side: int | None = None

    def region(self, width: int, height: int, box: Region | None = None) -> Region:
        """Return the part of an image to keep; with a box, the part around the box.

        An odd pixel is dropped at the right or the bottom. A square of `side` that sticks out of the image is moved
        inside; one that is larger than the image becomes the largest that fits.
        """
        left, top, right, bottom = (0, 0, width, height)
        if box:
            left, top, right, bottom = max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height)
        if self.mode != "centre":
            return left, top, right, bottom
        side = min(self.side, width, height) if self.side else min(right - left, bottom - top)
        left = min(max(left + (right - left - side) // 2, 0), width - side)
        top = min(max(top + (bottom - top - side) // 2, 0), height - side)
        return left, top, left + side, top + side

    def resized_size(self, region: Region, image_size: int) -> tuple[int, int]:
        """Return the width and height to resize a region to, for an image of `image_size`."""
        if self.mode != "letterbox":
            return image_size, image_size
        width, height = region[2] - region[0], region[3] - region[1]
        scale = image_size / max(width, height)
        return max(1, round(width * scale)), max(1, round(height * scale))


@dataclass(frozen=True)
class Preparation:
    """All settings that affect the record and the pixels of an input; `boxes` names the file of boxes."""

    image_size: int
    channels: int
    resample: Resample
    crop: Crop
    background: Colour
    min_size: int
    max_pixels: int
    max_file_bytes: int
    perceptual_hash: bool = False
    boxes: str | None = None
    boxes_sha256: str | None = None


def blend(pixels: np.ndarray, background: Colour) -> np.ndarray:
    """Blend uint8 RGBA pixels `(H, W, 4)` with the background; return RGB `(H, W, 3)`.

    A transparent pixel may hide any colour, which must not show, nor bleed into its neighbours by resizing.
    """
    height, width, _ = pixels.shape
    opaque = np.empty((3, height, width), dtype=np.uint8)
    under = np.array(background, dtype=np.uint8)[:, None, None]
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = np.ascontiguousarray(pixels[top : top + rows].transpose(2, 0, 1))
        colours, alpha = strip[:3], strip[3]
        # 255 + 1 wraps to 0. In drawings every pixel is opaque or transparent: no arithmetic is needed.
        if (alpha + np.uint8(1) <= 1).all():
            opaque[:, top : top + rows] = (colours & alpha) | (under & ~alpha)
            continue
        wide = alpha.astype(np.uint16)
        mixed = colours * wide
        mixed += under * (255 - wide)
        # The nearest whole number to mixed / 255, without a division.
        mixed += 128
        mixed += mixed >> 8
        opaque[:, top : top + rows] = mixed >> 8
    return opaque.transpose(1, 2, 0)


def resize(
    pixels: np.ndarray, region: tuple[float, float, float, float], size: tuple[int, int], resample: Resample
) -> np.ndarray:
    """Resize a region of uint8 pixels `(H, W, 1 or 3)` to `size`, the new width and height.

    Pillow's filters are antialiased: their support grows with the reduction. Only pixels of the region count, and a
    region may begin within a pixel. A reduction by more than 4 starts with an exact average over whole blocks of
    pixels (`reducing_gap` of 2), which is faster.
    """
    left, top, right, bottom = region
    # All pixels that are at least partly in the region.
    first_column, first_row = math.floor(left), math.floor(top)
    part = pixels[first_row : math.ceil(bottom), first_column : math.ceil(right)]
    if part.shape[:2] == size[::-1] and region == (first_column, first_row, math.ceil(right), math.ceil(bottom)):
        return part
    box = (left - first_column, top - first_row, right - first_column, bottom - first_row)
    image = Image.fromarray(np.ascontiguousarray(part[:, :, 0] if part.shape[2] == 1 else part))
    resized = np.asarray(image.resize(size, Image.Resampling[resample.upper()], box, reducing_gap=2.0))
    return resized.reshape(*resized.shape[:2], part.shape[2])


def pad(pixels: np.ndarray, size: int, background: Colour) -> np.ndarray:
    """Centre uint8 pixels `(H, W, 1 or 3)` in a square of `size`; an odd pixel of padding goes right or below."""
    height, width, bands = pixels.shape
    if height == width == size:
        return pixels
    under = Image.new("RGB", (size, size), background)
    square = np.array(under if bands == 3 else under.convert("L")).reshape(size, size, bands)
    left, top = (size - width) // 2, (size - height) // 2
    square[top : top + height, left : left + width] = pixels
    return square
