"""One input's bytes to one upright PIL image in mode L or RGB, or a reason why not.

Formats are recognised by content, never by name, and only those of the allow-list are opened.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from kedro_dcgan.errors import UnusableImageError
from kedro_dcgan.images.quick_decode import decode_quickly
from kedro_dcgan.images.recognise import refuse_unidentified
from kedro_dcgan.images.verdicts import Reason

# PPM is what raw arrays (IDX files, torchvision's datasets) are handed over in.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")

Colour = tuple[int, int, int]

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED = (5, 6, 7, 8)


@dataclass(frozen=True)
class Header:
    """An image of which nothing but the header was read; `width` and `height` are upright, in pixels."""

    data: bytes
    image: Image.Image
    format: str
    mode: str
    width: int
    height: int
    orientation: int


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Turn Pillow's warnings of damage into errors. Around many images, not one: it takes longer than an icon."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module=r"PIL\.")
        # Metadata that cannot be read do not hurt the picture, and the limit of pixels is our own.
        warnings.filterwarnings("ignore", message="(?i).*(exif|metadata|malformed mpo)", module=r"PIL\.")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def open_image(data: bytes, max_pixels: int) -> Header:
    """Read the header of an image.

    Raises:
        UnusableImageError: `empty`, `too_many_pixels`, `truncated`, `corrupt`, or what `refuse_unidentified` says.
    """
    if not data:
        raise UnusableImageError(Reason.EMPTY)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        orientation = _orientation(image)
    except UnidentifiedImageError:
        refuse_unidentified(data)
    except Image.DecompressionBombError as error:
        raise UnusableImageError(Reason.TOO_MANY_PIXELS, str(error)) from None
    except Exception as error:  # Pillow raises a dozen types for damaged headers.
        raise UnusableImageError(_reason(error, Reason.CORRUPT), _one_line(error)) from None
    if image.width * image.height > max_pixels:
        raise UnusableImageError(Reason.TOO_MANY_PIXELS, f"{image.width}x{image.height}, limit {max_pixels:,}")
    size = image.size[::-1] if orientation in _TURNED else image.size
    return Header(data, image, str(image.format), image.mode, *size, orientation)


def read_pixels(header: Header, background: Colour, grey: bool = False, reduction: float = 1.0) -> Image.Image:
    """Decode the pixels; return an upright image in mode L where the file is grey or `grey` is asked for, else RGB.

    Transparent pixels are laid over `background`; 16-bit grey is scaled to 8 bits. Of an animation
    the first frame is taken. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where `reduction`,
    the factor by which one may go down, allows it.

    Raises:
        UnusableImageError: `truncated` or `corrupt`.
    """
    try:
        image = None if reduction >= 2 else decode_quickly(header.image, header.data)
        image = image or _decode(header, grey, reduction)
        upright = _UPRIGHT.get(header.orientation)
        image = image.transpose(upright) if upright is not None else image
        return _flatten(image, background, grey)
    except Exception as error:  # Pillow raises a dozen types for damaged pixels.
        raise UnusableImageError(_reason(error, Reason.CORRUPT), _one_line(error)) from None


def _decode(header: Header, grey: bool, reduction: float) -> Image.Image:
    image = header.image
    if header.mode in ("RGB", "L") and (grey or reduction >= 2):
        # For any other format than JPEG this does nothing.
        image.draft("L" if grey else None, (int(image.width / reduction), int(image.height / reduction)))
    image.load()
    return image


def _orientation(image: Image.Image) -> int:
    # Pillow itself turns TIFF images upright.
    if image.format == "TIFF" or "exif" not in image.info:
        return 1
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # An EXIF block of garbage does not hurt the picture.
        return 1


def _flatten(image: Image.Image, background: Colour, grey: bool) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _scale_to_8_bits(image)
    elif image.has_transparency_data:
        grey = grey or image.mode in ("1", "L", "LA", "La")
        # A transparent pixel may hide any colour: it must never come through, nor bleed into others by resizing.
        see_through = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.new("RGB", image.size, background)
        image.paste(see_through, mask=see_through)
    wanted = "L" if grey or image.mode in ("1", "L") else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def _scale_to_8_bits(image: Image.Image) -> Image.Image:
    # Pillow's own convert() clips: a 16-bit ramp would come out white.
    levels = np.asarray(image)
    top = 1.0 if image.mode == "F" and levels.max() <= 1 else 65535.0
    return Image.fromarray(np.rint(np.clip(levels / top, 0, 1) * 255).astype(np.uint8))


def _reason(error: Exception, otherwise: Reason) -> Reason:
    return Reason.TRUNCATED if "truncated" in str(error).lower() else otherwise


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
