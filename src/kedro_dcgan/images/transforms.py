"""Which part of a picture is kept, and how it becomes a uint8 CHW array of the model's size.

Regions are `(left, top, right, bottom)` in pixels of the upright picture, right and bottom exclusive.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from kedro_dcgan.images.decode import Colour

Region = tuple[int, int, int, int]
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


def cut(
    image: Image.Image,
    region: tuple[float, float, float, float],
    size: int,
    crop: Crop,
    resample: Resample,
    background: Colour,
) -> Image.Image:
    """Cut `region` out of an L or RGB picture and resize it to `size` x `size`.

    Pillow's filters are antialiased: their support grows with the reduction, so that no pixel of the
    original is skipped. Only pixels of the region count. Reductions by more than four times begin with
    an exact average over whole blocks of pixels (Pillow's `reducing_gap` of 2), which is faster.
    """
    left, top, right, bottom = (round(edge) for edge in region)
    is_whole = (left, top, right, bottom) == (0, 0, *image.size)
    part = image if is_whole else image.crop((left, top, right, bottom))
    if crop.mode == "letterbox":
        return _letterbox(part, size, resample, background)
    return part if part.size == (size, size) else _resize(part, (size, size), resample)


def is_blank(image: Image.Image) -> bool:
    """Tell whether a picture has one colour all over."""
    extrema = image.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return all(low == high for low, high in bands)


def as_array(image: Image.Image) -> np.ndarray:
    """Return the pixels of an L or RGB picture, uint8 `(1 or 3, H, W)`."""
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _resize(image: Image.Image, size: tuple[int, int], resample: Resample) -> Image.Image:
    return image.resize(size, _RESAMPLE[resample], reducing_gap=2.0)


def _letterbox(image: Image.Image, size: int, resample: Resample, background: Colour) -> Image.Image:
    scale = size / max(image.size)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    colour = background if image.mode == "RGB" else Image.new("RGB", (1, 1), background).convert("L").getpixel((0, 0))
    square = Image.new(image.mode, (size, size), colour)
    square.paste(_resize(image, inner, resample), ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return square


def _inside(box: Region, width: int, height: int) -> Region:
    left, top, right, bottom = box
    return max(left, 0), max(top, 0), min(right, width), min(bottom, height)
