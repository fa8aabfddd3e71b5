"""PIL image in, uint8 CHW array of the model's size out."""

import numpy as np
from PIL import Image

_RESAMPLE = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
}


def centre_square(image: Image.Image) -> Image.Image:
    """Return the largest centred square; an odd pixel too many is dropped at the right or the bottom."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def to_array(image: Image.Image, size: int, channels: int, resample: str = "lanczos") -> np.ndarray:
    """Crop to the centred square and resize; return uint8 of shape `(channels, size, size)`.

    Pillow's filters are antialiased: their support grows with the reduction, so that no pixel
    of the original is skipped.
    """
    square = centre_square(image.convert("L" if channels == 1 else "RGB"))
    resized = square.resize((size, size), _RESAMPLE[resample])
    pixels = np.asarray(resized, dtype=np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
