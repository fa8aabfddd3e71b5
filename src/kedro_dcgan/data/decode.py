"""One input's bytes to pixels, grey or RGB, or a reason why not.

Formats are recognised by content, never by name, and only those of the allow-list are opened.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from kedro_dcgan.data.fast_decode import PlainHeader, decode_plain, read_plain_header
from kedro_dcgan.data.orientation import upright_size
from kedro_dcgan.data.verdicts import Reason
from kedro_dcgan.errors import UnusableImageError

# PPM is what raw arrays (IDX files, torchvision's datasets) are handed over in.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")

Colour = tuple[int, int, int]

_GREY_MODES = ("1", "L", "LA", "La", "F")
_STRIP_PIXELS = 65_536


@dataclass(frozen=True, slots=True)
class Header:
    """What an image's header says; `width` and `height` are those of the upright picture, in pixels."""

    format: str
    mode: str
    width: int
    height: int
    orientation: int
    data: bytes = field(repr=False)
    plain: PlainHeader | None = None


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
    plain = read_plain_header(data)
    header = Header(plain.format, plain.mode, plain.width, plain.height, 1, data, plain) if plain else _ask_pillow(data)
    if header.width * header.height > max_pixels:
        raise UnusableImageError(Reason.TOO_MANY_PIXELS, f"{header.width}x{header.height}, limit {max_pixels:,}")
    return header


def open_with_pillow(data: bytes) -> Image.Image:
    """Return Pillow's image, of which no pixel is decoded yet. It raises a dozen types for damage."""
    return Image.open(io.BytesIO(data), formats=FORMATS)


def read_pixels(
    header: Header, background: Colour, grey: bool = False, reduction: float = 1.0
) -> tuple[np.ndarray, float]:
    """Decode the pixels as they lie in the file: uint8 `(H, W, 1)` if it or `grey` says so, else `(H, W, 3)`.

    Transparent pixels are laid over `background`; 16-bit grey is scaled to 8 bits. Of an animation
    the first frame is taken. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where `reduction`,
    the factor by which one may go down, allows it; the factor taken is returned too.

    Raises:
        UnusableImageError: `truncated` or `corrupt`.
    """
    try:
        plain = decode_plain(header.plain, header.data, grey) if header.plain and reduction < 2 else None
        pixels, reduced_by = _decode(header, grey, reduction) if plain is None else (plain, 1.0)
        opaque = _lay_over(pixels, background) if pixels.shape[2] == 4 else pixels
        is_grey = grey or header.mode in _GREY_MODES or header.mode.startswith("I")
        return _luminance(opaque) if is_grey and opaque.shape[2] == 3 else opaque, reduced_by
    except Exception as error:  # Pillow raises a dozen types for damaged pixels.
        raise UnusableImageError(_reason(error, Reason.CORRUPT), _one_line(error)) from None


def _ask_pillow(data: bytes) -> Header:
    try:
        image = open_with_pillow(data)
        orientation = _orientation(image)
    except UnidentifiedImageError:
        refuse_unidentified(data)
    except Image.DecompressionBombError as error:
        raise UnusableImageError(Reason.TOO_MANY_PIXELS, str(error)) from None
    except Exception as error:  # Pillow raises a dozen types for damaged headers.
        raise UnusableImageError(_reason(error, Reason.CORRUPT), _one_line(error)) from None
    return Header(str(image.format), image.mode, *upright_size(image.size, orientation), orientation, data)


def _decode(header: Header, grey: bool, reduction: float) -> tuple[np.ndarray, float]:
    image, reduced_by = open_with_pillow(header.data), 1.0
    if header.mode in ("RGB", "L") and (grey or reduction >= 2):
        # For any other format than JPEG this does nothing.
        width = image.width
        drafted = image.draft("L" if grey else None, (int(width / reduction), int(image.height / reduction)))
        reduced_by = width / drafted[1][2] if drafted else 1.0
    image.load()
    return _as_array(image), reduced_by


def _orientation(image: Image.Image) -> int:
    # Pillow itself turns TIFF images upright.
    if image.format == "TIFF" or "exif" not in image.info:
        return 1
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # An EXIF block of garbage does not hurt the picture.
        return 1


def _as_array(image: Image.Image) -> np.ndarray:
    """Return uint8 `(H, W, bands)`: grey, RGB, or RGBA where something may be transparent."""
    if image.mode.startswith("I") or image.mode == "F":
        return _scale_to_8_bits(np.asarray(image))[:, :, None]
    wanted = "RGBA" if image.has_transparency_data else "L" if image.mode in ("1", "L") else "RGB"
    converted = image if image.mode == wanted else image.convert(wanted)
    # Nine times as fast as np.asarray(converted).
    return np.frombuffer(converted.tobytes(), dtype=np.uint8).reshape(image.height, image.width, len(wanted))


def _scale_to_8_bits(levels: np.ndarray) -> np.ndarray:
    # Pillow's own convert() clips: a 16-bit ramp would come out white.
    top = 1.0 if levels.dtype.kind == "f" and levels.max() <= 1 else 65535.0
    return np.rint(np.clip(levels / top, 0, 1) * 255).astype(np.uint8)


def _lay_over(pixels: np.ndarray, background: Colour) -> np.ndarray:
    # A transparent pixel may hide any colour: it must never come through, nor bleed into others by resizing.
    height, width, _ = pixels.shape
    opaque = np.empty((3, height, width), dtype=np.uint8)
    under = np.array(background, dtype=np.uint8)[:, None, None]
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = np.ascontiguousarray(pixels[top : top + rows].transpose(2, 0, 1))
        colours, cover = strip[:3], strip[3]
        # 255 + 1 is 0: in drawings a pixel is there or it is not, and needs no arithmetic.
        if (cover + np.uint8(1) <= 1).all():
            opaque[:, top : top + rows] = (colours & cover) | (under & ~cover)
        else:
            opaque[:, top : top + rows] = _mix(colours, cover.astype(np.uint16), under)
    return opaque.transpose(1, 2, 0)


def _mix(colours: np.ndarray, cover: np.ndarray, under: np.ndarray) -> np.ndarray:
    mixed = colours * cover
    mixed += under * (255 - cover)
    # The nearest whole number to mixed / 255, without a division.
    mixed += 128
    mixed += mixed >> 8
    return mixed >> 8


def _luminance(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))[:, :, None]


def _reason(error: Exception, otherwise: Reason) -> Reason:
    return Reason.TRUNCATED if "truncated" in str(error).lower() else otherwise


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


# TODO(merge) images.recognise

_OURS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"II*\x00", b"MM\x00*")
_UNSUPPORTED = {
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"%PDF": "PDF",
    b"8BPS": "Photoshop",
    b"\x00\x00\x01\x00": "icon",
    b"\x00\x00\x00\x0cjP": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL": "JPEG XL",
    b"gimp xcf": "GIMP",
    b"SIMPLE  =": "FITS",
}
_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC", b"avif": "AVIF", b"avis": "AVIF"}


def refuse_unidentified(data: bytes) -> NoReturn:
    """Say what `data`, which Pillow does not know, seem to be.

    Raises:
        UnusableImageError: `lfs_pointer`, `dvc_pointer`, `unsupported`, `unreadable` or `not_an_image`; always.
    """
    start = data[:1024].lstrip()
    if start.startswith(b"version https://git-lfs"):
        raise UnusableImageError(Reason.LFS_POINTER, "Git LFS pointer: run git lfs pull")
    if start.startswith((b"outs:", b"md5:")) and b"md5:" in start:
        raise UnusableImageError(Reason.DVC_POINTER, "DVC pointer: run dvc pull")
    kind = _unsupported_kind(data, start)
    if kind:
        raise UnusableImageError(Reason.UNSUPPORTED, f"{kind}: convert it to JPEG or PNG")
    if data.startswith(_OURS):
        raise UnusableImageError(Reason.UNREADABLE, "the header is damaged or cut off")
    if not data.strip(b"\x00"):
        raise UnusableImageError(Reason.UNREADABLE, f"{len(data):,} zero bytes: a copy that failed")
    if start[:15].lower().startswith((b"<!doctype html", b"<html")):
        raise UnusableImageError(Reason.NOT_AN_IMAGE, "a web page: the download failed")
    raise UnusableImageError(Reason.NOT_AN_IMAGE)


def _unsupported_kind(data: bytes, start: bytes) -> str | None:
    for magic, kind in _UNSUPPORTED.items():
        if data.startswith(magic):
            return kind
    if data[4:8] == b"ftyp" and data[8:12] in _BRANDS:
        return _BRANDS[data[8:12]]
    is_markup = start.startswith((b"<?xml", b"<svg", b"<!--", b"<!DOCTYPE svg"))
    return "SVG" if is_markup and b"<svg" in start else None
