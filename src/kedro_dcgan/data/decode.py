"""Decode the bytes of a file to grey or RGB pixels, or report the reason why they are unusable.

Formats are recognised by content, never by name, and only those of the allow-list are opened. Most files are plain:
whole JPEG and 8-bit PNG files without metadata that affects the pixels. imagecodecs calls the same libraries as Pillow
(libjpeg-turbo, libpng) with less Python in between: the same pixels, bit for bit, several times as fast. Pillow decodes
all other files, and diagnoses damaged ones.
"""

import io
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NoReturn

import imagecodecs
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from kedro_dcgan.data import Reason
from kedro_dcgan.data.transforms import Colour, blend, upright_size
from kedro_dcgan.errors import UnusableImageError

# Sources of raw arrays (IDX files, torchvision) pass them on as PPM.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_GREY_MODES = ("1", "L", "LA", "La", "F")

_START_OF_JPEG, _END_OF_JPEG = b"\xff\xd8", b"\xff\xd9"
_START_OF_SCAN = 0xDA
# Baseline, extended and progressive; ITU-T T.81, table B.1.
_START_OF_FRAME = (0xC0, 0xC1, 0xC2)
# Tables, comments, and application segments other than those that may hold EXIF data or further images.
_IGNORED_SEGMENTS = frozenset((0xC4, 0xDB, 0xDD, 0xE0, *range(0xE3, 0xF0), 0xFE))
_START_OF_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_IHDR = 8
# Uncompressed chunks before the pixels that do not affect them.
_PLAIN_CHUNKS = frozenset((b"IHDR", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"pHYs", b"bKGD", b"tIME", b"tEXt"))
_JPEG_MODES, _PNG_MODES = {1: "L", 3: "RGB"}, {0: "L", 2: "RGB", 6: "RGBA"}

# Magic bytes of unsupported formats, and brands of ISO media files, after `ftyp`.
_UNSUPPORTED = {
    "PostScript": (b"%!PS", b"\xc5\xd0\xd3\xc6"),
    "PDF": (b"%PDF",),
    "Photoshop": (b"8BPS",),
    "icon": (b"\x00\x00\x01\x00",),
    "JPEG 2000": (b"\x00\x00\x00\x0cjP",),
    "JPEG XL": (b"\xff\x0a", b"\x00\x00\x00\x0cJXL"),
    "GIMP": (b"gimp xcf",),
    "FITS": (b"SIMPLE  =",),
}
_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC", b"avif": "AVIF", b"avis": "AVIF"}


@dataclass(frozen=True, slots=True)
class Header:
    """The header of an image; `width` and `height` are those of the upright image, in pixels."""

    format: str
    mode: str
    width: int
    height: int
    data: bytes = field(repr=False)
    orientation: int = 1
    is_plain: bool = False


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
    """Read the header of an image, or raise an `UnusableImageError` with the reason why it cannot be used."""
    if not data:
        raise UnusableImageError(Reason.EMPTY)
    header = read_plain_header(data) or _read_header(data)
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
    at 1/2, 1/4 or 1/8 of its size if `reduction`, the largest allowed factor, permits. Damage raises an
    `UnusableImageError`: `truncated` or `corrupt`.
    """
    try:
        pixels, reduced_by = decode_plain(header, grey) if header.is_plain and reduction < 2 else None, 1.0
        if pixels is None:
            pixels, reduced_by = _decode_with_pillow(header, grey, reduction)
        if pixels.shape[2] == 4:
            pixels = blend(pixels, background)
        is_grey = grey or header.mode in _GREY_MODES or header.mode.startswith("I")
        if is_grey and pixels.shape[2] == 3:
            pixels = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))[:, :, None]
    except Exception as error:  # Pillow raises a dozen types for damaged pixels.
        raise _damage(error) from None
    return pixels, reduced_by


def read_plain_header(data: bytes) -> Header | None:
    """Return the header of a plain JPEG or PNG file, or None if Pillow must decode the file."""
    with suppress(IndexError):  # The file ends within its header.
        if data.startswith(_START_OF_JPEG) and data.endswith(_END_OF_JPEG):
            return _jpeg_header(data)
        if data.startswith(_START_OF_PNG):
            return _png_header(data)
    return None


def decode_plain(header: Header, grey: bool = False) -> np.ndarray | None:
    """Return the pixels of a plain file, uint8 `(height, width, bands)`, or None if Pillow must decode it.

    `grey` decodes only the luminance of a JPEG file.
    """
    is_jpeg = header.format == "JPEG"
    try:
        if is_jpeg:
            pixels = imagecodecs.jpeg8_decode(header.data, outcolorspace="GRAYSCALE" if grey else None)
        else:
            pixels = imagecodecs.png_decode(header.data)
    except Exception:  # Pillow fails on the same damage, and names it.
        return None
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    expected = (header.height, header.width, 1 if grey and is_jpeg else len(header.mode))
    return pixels if pixels.shape == expected and pixels.dtype == np.uint8 else None


def _jpeg_header(data: bytes) -> Header | None:
    header, at = None, 2
    while data[at] == 0xFF and data[at + 1] != _START_OF_SCAN:
        kind = data[at + 1]
        if kind in _START_OF_FRAME and header is None and data[at + 4] == 8:
            mode = _JPEG_MODES.get(data[at + 9])
            height, width = int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9])
            header = Header("JPEG", mode, width, height, data, is_plain=True) if mode and width and height else None
        elif kind not in _IGNORED_SEGMENTS:
            return None
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return header if data[at] == 0xFF else None


def _png_header(data: bytes) -> Header | None:
    bit_depth, colour, interlace = data[_IHDR + 16], data[_IHDR + 17], data[_IHDR + 20]
    mode = _PNG_MODES.get(colour)
    if mode is None or bit_depth != 8 or interlace:
        return None
    at = _IHDR
    while (kind := data[at + 4 : at + 8]) != b"IDAT":
        end = at + 8 + int.from_bytes(data[at : at + 4])
        is_whole = zlib.crc32(data[at + 4 : end]) == int.from_bytes(data[end : end + 4])
        if kind not in _PLAIN_CHUNKS or not is_whole:
            return None
        at = end + 4
    width, height = int.from_bytes(data[_IHDR + 8 : _IHDR + 12]), int.from_bytes(data[_IHDR + 12 : _IHDR + 16])
    return Header("PNG", mode, width, height, data, is_plain=True) if width and height else None


def _read_header(data: bytes) -> Header:
    orientation = 1
    try:
        image = open_with_pillow(data)
        # Pillow turns TIFF images upright itself.
        if image.format != "TIFF" and "exif" in image.info:
            # A damaged EXIF block does not affect the pixels.
            with suppress(Exception):
                orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except UnidentifiedImageError:
        _refuse_unidentified(data)
    except Image.DecompressionBombError as error:
        raise UnusableImageError(Reason.TOO_MANY_PIXELS, str(error)) from None
    except Exception as error:  # Pillow raises a dozen types for damaged headers.
        raise _damage(error) from None
    return Header(str(image.format), image.mode, *upright_size(image.size, orientation), data, orientation)


def _decode_with_pillow(header: Header, grey: bool, reduction: float) -> tuple[np.ndarray, float]:
    """Return uint8 `(H, W, bands)`, grey, RGB or (if some pixels may be transparent) RGBA, and the reduction."""
    image, reduced_by = open_with_pillow(header.data), 1.0
    if header.mode in ("RGB", "L") and (grey or reduction >= 2):
        # This does nothing for other formats than JPEG.
        width = image.width
        drafted = image.draft("L" if grey else None, (int(width / reduction), int(image.height / reduction)))
        reduced_by = width / drafted[1][2] if drafted else 1.0
    image.load()

    if image.mode.startswith("I") or image.mode == "F":
        # Pillow's convert() clips: a 16-bit ramp would become white.
        levels = np.asarray(image)
        top = 1.0 if levels.dtype.kind == "f" and levels.max() <= 1 else 65535.0
        return np.rint(np.clip(levels / top, 0, 1) * 255).astype(np.uint8)[:, :, None], reduced_by

    mode = "RGBA" if image.has_transparency_data else "L" if image.mode in ("1", "L") else "RGB"
    data = (image if image.mode == mode else image.convert(mode)).tobytes()
    # Nine times as fast as np.asarray(image).
    return np.frombuffer(data, dtype=np.uint8).reshape(image.height, image.width, len(mode)), reduced_by


def _refuse_unidentified(data: bytes) -> NoReturn:
    """Refuse data that Pillow cannot identify, with the best guess of its kind."""
    start = data[:1024].lstrip()
    if start.startswith(b"version https://git-lfs"):
        raise UnusableImageError(Reason.LFS_POINTER, "Git LFS pointer: run git lfs pull")
    if start.startswith((b"outs:", b"md5:")) and b"md5:" in start:
        raise UnusableImageError(Reason.DVC_POINTER, "DVC pointer: run dvc pull")

    kinds = [kind for kind, magic in _UNSUPPORTED.items() if data.startswith(magic)]
    if data[4:8] == b"ftyp" and data[8:12] in _BRANDS:
        kinds.append(_BRANDS[data[8:12]])
    if start.startswith((b"<?xml", b"<svg", b"<!--", b"<!DOCTYPE svg")) and b"<svg" in start:
        kinds.append("SVG")
    if kinds:
        raise UnusableImageError(Reason.UNSUPPORTED, f"{kinds[0]}: convert it to JPEG or PNG")

    if data.startswith((b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"II*\x00", b"MM\x00*")):
        raise UnusableImageError(Reason.UNREADABLE, "the header is damaged or cut off")
    if not data.strip(b"\x00"):
        raise UnusableImageError(Reason.UNREADABLE, f"{len(data):,} zero bytes: an incomplete copy")
    if start[:15].lower().startswith((b"<!doctype html", b"<html")):
        raise UnusableImageError(Reason.NOT_AN_IMAGE, "a web page: the download failed")
    raise UnusableImageError(Reason.NOT_AN_IMAGE)


def _damage(error: Exception) -> UnusableImageError:
    reason = Reason.TRUNCATED if "truncated" in str(error).lower() else Reason.CORRUPT
    return UnusableImageError(reason, f"{type(error).__name__}: {error}".splitlines()[0][:200])
