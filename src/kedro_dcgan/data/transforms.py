"""Which part of a picture is kept, and how it becomes a uint8 CHW array of the model's size.

Regions are `(left, top, right, bottom)` in pixels of the upright picture, right and bottom exclusive.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from kedro_dcgan.data.decode import Colour
from kedro_dcgan.data.orientation import Region

CropMode = Literal["centre", "letterbox", "none"]
Resample = Literal["lanczos", "bicubic", "box"]

_RESAMPLE = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
}


@dataclass(frozen=True)
class Crop:
    """How a picture is cut.

    `centre` keeps the centred square, of `side` pixels or as large as can be; `letterbox` keeps all
    and adds bars of the background; `none` keeps all and stretches it to a square.
    """

    mode: CropMode = "centre"
    side: int | None = None

    def region(self, width: int, height: int, box: Region | None = None) -> Region:
        """Return the part of a picture that is kept, or, with a box, the part around the box.

        An odd pixel too many is dropped at the right or the bottom. A square of `side` that does not
        fit around the box is moved, one that does not fit into the picture is the largest that does.
        """
        left, top, right, bottom = _inside(box, width, height) if box else (0, 0, width, height)
        if self.mode != "centre":
            return left, top, right, bottom
        side = min(self.side, width, height) if self.side else min(right - left, bottom - top)
        left = min(max(left + (right - left - side) // 2, 0), width - side)
        top = min(max(top + (bottom - top - side) // 2, 0), height - side)
        return left, top, left + side, top + side

    def size_of(self, region: Region, image_size: int) -> tuple[int, int]:
        """Return width and height that a region is resized to, for an image of `image_size`."""
        if self.mode != "letterbox":
            return image_size, image_size
        width, height = region[2] - region[0], region[3] - region[1]
        scale = image_size / max(width, height)
        return max(1, round(width * scale)), max(1, round(height * scale))


def resize(
    pixels: np.ndarray, region: tuple[float, float, float, float], size: tuple[int, int], resample: Resample
) -> np.ndarray:
    """Resize `region` of a picture, uint8 `(H, W, 1 or 3)`, to `size`, its new width and height.

    Pillow's filters are antialiased: their support grows with the reduction, so that no pixel of the
    original is skipped. Only pixels of the region count, and a region may begin within a pixel.
    Reductions by more than four times begin with an exact average over whole blocks of pixels
    (Pillow's `reducing_gap` of 2), which is faster.
    """
    left, top, right, bottom = region
    # Pixels that the region has a part in.
    first_column, first_row = math.floor(left), math.floor(top)
    part = pixels[first_row : math.ceil(bottom), first_column : math.ceil(right)]
    if part.shape[:2] == size[::-1] and region == (first_column, first_row, math.ceil(right), math.ceil(bottom)):
        return part
    box = (left - first_column, top - first_row, right - first_column, bottom - first_row)
    image = Image.fromarray(np.ascontiguousarray(part[:, :, 0] if part.shape[2] == 1 else part))
    resized = np.asarray(image.resize(size, _RESAMPLE[resample], box, reducing_gap=2.0))
    return resized.reshape(*resized.shape[:2], part.shape[2])


def pad(pixels: np.ndarray, size: int, background: Colour) -> np.ndarray:
    """Centre a picture, uint8 `(H, W, 1 or 3)`, in a square of `size`; an odd pixel too many goes right or below."""
    height, width, bands = pixels.shape
    if height == width == size:
        return pixels
    under = Image.new("RGB", (size, size), background)
    square = np.array(under if bands == 3 else under.convert("L")).reshape(size, size, bands)
    left, top = (size - width) // 2, (size - height) // 2
    square[top : top + height, left : left + width] = pixels
    return square


def is_blank(pixels: np.ndarray) -> bool:
    """Tell whether a picture `(H, W, bands)` has one colour all over."""
    height, width, _ = pixels.shape
    return pixels.tobytes() == pixels[0, 0].tobytes() * (height * width)


def _inside(box: Region, width: int, height: int) -> Region:
    left, top, right, bottom = box
    return max(left, 0), max(top, 0), min(right, width), min(bottom, height)
