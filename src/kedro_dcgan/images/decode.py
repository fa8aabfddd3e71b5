"""One file's bytes to one upright PIL image in mode L or RGB, or a reason why not.

Formats are recognised by content and only those of the allow-list are opened.
"""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from kedro_dcgan.errors import UnusableImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")


def decode(data: bytes, min_size: int, max_pixels: int) -> tuple[Image.Image, str, str]:
    """Decode `data` and return `(image, format, stored mode)`.

    The image is upright (EXIF orientation applied), in mode L where the file is grey and RGB
    otherwise; transparent pixels are laid over white; 16-bit grey is scaled to 8 bits. Of an
    animation the first frame is taken. The pixel limit is checked before any pixel is decoded.

    Raises:
        UnusableImageError: `empty`, `not_an_image`, `too_many_pixels`, `too_small` or `unreadable`.
    """
    if not data:
        raise UnusableImageError("empty")
    with warnings.catch_warnings():
        # Pillow only warns of some damage that we want to refuse. Metadata that it cannot read do not
        # hurt the picture, and the limit of pixels is our own.
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="(?i).*(exif|metadata|malformed mpo)")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except UnidentifiedImageError:
            raise UnusableImageError("not_an_image", f"not one of {', '.join(FORMATS)}") from None
        except Image.DecompressionBombError as error:
            raise UnusableImageError("too_many_pixels", str(error)) from None
        except Exception as error:  # Pillow raises a dozen types for damaged headers.
            raise UnusableImageError("unreadable", _one_line(error)) from None
        _check_size(image, min_size, max_pixels)
        try:
            image.load()
            upright = ImageOps.exif_transpose(image)
            return _to_grey_or_rgb(upright), str(image.format), image.mode
        except Exception as error:  # As above, for damaged pixel data.
            raise UnusableImageError("unreadable", _one_line(error)) from None


def _check_size(image: Image.Image, min_size: int, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise UnusableImageError("too_many_pixels", f"{image.width}x{image.height}, limit {max_pixels}")
    if min(image.size) < min_size:
        raise UnusableImageError("too_small", f"{image.width}x{image.height}, least {min_size}")


def _to_grey_or_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _scale_to_8_bits(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        is_grey = image.mode in ("1", "L", "LA", "La")
        return Image.alpha_composite(white, rgba).convert("L" if is_grey else "RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _scale_to_8_bits(image: Image.Image) -> Image.Image:
    # Pillow's own convert() clips: a 16-bit ramp would come out white.
    levels = np.asarray(image)
    top = 1.0 if image.mode == "F" and levels.max() <= 1 else 65535.0
    return Image.fromarray(np.rint(np.clip(levels / top, 0, 1) * 255).astype(np.uint8))


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
