"""From the bytes of a file to pixels, grey or RGB, or a reason why not.

Formats are recognised by content, never by name, and only those of the allow-list are opened. `fast_decode` decodes
most files; Pillow decodes the others and finds out what is wrong with them.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from kedro_dcgan.data.fast_decode import PlainHeader, decode_plain, read_plain_header
from kedro_dcgan.data.transforms import Colour, upright_size
from kedro_dcgan.data.verdicts import Reason, refuse_unidentified
from kedro_dcgan.errors import UnusableImageError

# Sources of raw arrays (IDX files, torchvision) pass them on as PPM.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")

_GREY_MODES = ("1", "L", "LA", "La", "F")
_STRIP_PIXELS = 65_536


@dataclass(frozen=True, slots=True)
class Header:
    """The header of an image; `width` and `height` are those of the upright image, in pixels."""

    format: str
    mode: str
    width: int
    height: int
    orientation: int
    data: bytes = field(repr=False)
    plain: PlainHeader | None = None


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Turn Pillow's warnings about damage into errors. Enter it once for many images: entering is slow."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module=r"PIL\.")
        # Damaged metadata does not affect the pixels, and the pixel limit is our own.
        warnings.filterwarnings("ignore", message="(?i).*(exif|metadata|malformed mpo)", module=r"PIL\.")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def open_image(data: bytes, max_pixels: int) -> Header:
    """Read the header of an image.

    Raises:
        UnusableImageError: `empty`, `too_many_pixels`, `truncated`, `corrupt`, or as `refuse_unidentified`.
    """
    if not data:
        raise UnusableImageError(Reason.EMPTY)
    plain = read_plain_header(data)
    header = (
        Header(plain.format, plain.mode, plain.width, plain.height, 1, data, plain) if plain else _read_header(data)
    )
    if header.width * header.height > max_pixels:
        raise UnusableImageError(Reason.TOO_MANY_PIXELS, f"{header.width}x{header.height}, limit {max_pixels:,}")
    return header


def open_with_pillow(data: bytes) -> Image.Image:
    """Return Pillow's lazily decoded image. Pillow raises a dozen exception types for damaged files."""
    return Image.open(io.BytesIO(data), formats=FORMATS)


def read_pixels(
    header: Header, background: Colour, grey: bool = False, reduction: float = 1.0
) -> tuple[np.ndarray, float]:
    """Return the pixels as they are in the file, not upright, and the factor by which their size was reduced.

    The pixels are uint8 `(H, W, 1)` if the file or `grey` says so, otherwise `(H, W, 3)`. Transparent pixels are
    blended with `background`; 16-bit grey is scaled to 8 bits; an animation gives its first frame. A JPEG is decoded
    at 1/2, 1/4 or 1/8 of its size if `reduction`, the largest allowed factor, permits.

    Raises:
        UnusableImageError: `truncated` or `corrupt`.
    """
    try:
        plain = decode_plain(header.plain, header.data, grey) if header.plain and reduction < 2 else None
        pixels, reduced_by = _decode(header, grey, reduction) if plain is None else (plain, 1.0)
        opaque = _blend(pixels, background) if pixels.shape[2] == 4 else pixels
        is_grey = grey or header.mode in _GREY_MODES or header.mode.startswith("I")
        return _luminance(opaque) if is_grey and opaque.shape[2] == 3 else opaque, reduced_by
    except Exception as error:  # Pillow raises a dozen types for damaged pixels.
        raise _damage(error) from None


def _read_header(data: bytes) -> Header:
    try:
        image = open_with_pillow(data)
        orientation = _orientation(image)
    except UnidentifiedImageError:
        refuse_unidentified(data)
    except Image.DecompressionBombError as error:
        raise UnusableImageError(Reason.TOO_MANY_PIXELS, str(error)) from None
    except Exception as error:  # Pillow raises a dozen types for damaged headers.
        raise _damage(error) from None
    return Header(str(image.format), image.mode, *upright_size(image.size, orientation), orientation, data)


def _decode(header: Header, grey: bool, reduction: float) -> tuple[np.ndarray, float]:
    image, reduced_by = open_with_pillow(header.data), 1.0
    if header.mode in ("RGB", "L") and (grey or reduction >= 2):
        # This does nothing for other formats than JPEG.
        width = image.width
        drafted = image.draft("L" if grey else None, (int(width / reduction), int(image.height / reduction)))
        reduced_by = width / drafted[1][2] if drafted else 1.0
    image.load()
    return _as_array(image), reduced_by


def _orientation(image: Image.Image) -> int:
    # Pillow turns TIFF images upright itself.
    if image.format == "TIFF" or "exif" not in image.info:
        return 1
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # A damaged EXIF block does not affect the pixels.
        return 1


def _as_array(image: Image.Image) -> np.ndarray:
    """Return uint8 `(H, W, bands)`: grey, RGB, or RGBA if some pixels may be transparent."""
    if image.mode.startswith("I") or image.mode == "F":
        return _scale_to_8_bits(np.asarray(image))[:, :, None]
    wanted = "RGBA" if image.has_transparency_data else "L" if image.mode in ("1", "L") else "RGB"
    converted = image if image.mode == wanted else image.convert(wanted)
    # Nine times as fast as np.asarray(converted).
    return np.frombuffer(converted.tobytes(), dtype=np.uint8).reshape(image.height, image.width, len(wanted))


def _scale_to_8_bits(levels: np.ndarray) -> np.ndarray:
    # Pillow's convert() clips: a 16-bit ramp would become white.
    top = 1.0 if levels.dtype.kind == "f" and levels.max() <= 1 else 65535.0
    return np.rint(np.clip(levels / top, 0, 1) * 255).astype(np.uint8)


def _blend(pixels: np.ndarray, background: Colour) -> np.ndarray:
    # A transparent pixel may hide any colour, which must not show, nor bleed into its neighbours by resizing.
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
        else:
            opaque[:, top : top + rows] = _mix(colours, alpha.astype(np.uint16), under)
    return opaque.transpose(1, 2, 0)


def _mix(colours: np.ndarray, alpha: np.ndarray, under: np.ndarray) -> np.ndarray:
    mixed = colours * alpha
    mixed += under * (255 - alpha)
    # The nearest whole number to mixed / 255, without a division.
    mixed += 128
    mixed += mixed >> 8
    return mixed >> 8


def _luminance(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))[:, :, None]


def _damage(error: Exception) -> UnusableImageError:
    reason = Reason.TRUNCATED if "truncated" in str(error).lower() else Reason.CORRUPT
    return UnusableImageError(reason, f"{type(error).__name__}: {error}".splitlines()[0][:200])
