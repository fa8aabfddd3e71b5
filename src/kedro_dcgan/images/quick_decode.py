"""A quicker way to the pixels of what most files are: whole JPEG and plain 8-bit PNG.

The same libraries as Pillow's (libjpeg-turbo, libpng) without the Python between, so the same pixels,
bit for bit. Whatever is odd or damaged is left to Pillow, which says what is wrong with it.
"""

import imagecodecs
import numpy as np
from PIL import Image

_END_OF_JPEG = b"\xff\xd9"
# In the header of a PNG.
_BIT_DEPTH, _INTERLACE = 24, 28


def decode_quickly(image: Image.Image, data: bytes) -> Image.Image | None:
    """Return the pixels of `data`, whose header `image` is, in the same mode; or nothing if Pillow must do it."""
    try:
        if image.format == "JPEG" and image.mode in ("L", "RGB") and data.endswith(_END_OF_JPEG):
            pixels = imagecodecs.jpeg8_decode(data)
        elif image.format == "PNG" and _is_plain(image, data):
            pixels = imagecodecs.png_decode(data)
        else:
            return None
    except Exception:  # Damage, of any kind: Pillow finds it again, and names it.
        return None
    bands = len(image.getbands())
    shape = (image.height, image.width) if bands == 1 else (image.height, image.width, bands)
    is_as_expected = pixels.shape == shape and pixels.dtype == np.uint8
    return Image.fromarray(pixels) if is_as_expected else None


def _is_plain(image: Image.Image, data: bytes) -> bool:
    is_still = not getattr(image, "is_animated", False)
    has_own_alpha_only = "transparency" not in image.info
    return (
        image.mode in ("L", "RGB", "RGBA")
        and is_still
        and has_own_alpha_only
        and data[_BIT_DEPTH] == 8
        and data[_INTERLACE] == 0
    )
