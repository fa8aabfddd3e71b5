"""Decode the bytes of a file to grey or RGB pixels, or report the reason why they are unusable.

Formats are recognised by content, never by name, and only those of the allow-list are opened. Most files are plain, and
take the fast path (plain.py). Pillow decodes all other files, and diagnoses damaged ones.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import imagecodecs
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from kedro_dcgan.data import Reason
from kedro_dcgan.data.colour import DARKEST_WHITE, GREY_MODES, convert_to_srgb, srgb_transform, to_eight_bits
from kedro_dcgan.data.kinds import refuse, require_supported, require_whole_picture
from kedro_dcgan.data.plain import START_OF_PNG, Header, decode_plain, read_plain_header, require_whole_pixels, tidy_png
from kedro_dcgan.data.transforms import Colour, blend, set_upright, upright_size
from kedro_dcgan.errors import UnusableImageError

# Sources of raw arrays (IDX files, torchvision) pass them on as PPM.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
# TIFF tags: bits, meaning of the levels, kind of number; and the meaning of 0 as white.
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _WHITE_IS_ZERO = 258, 262, 339, 0


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Turn Pillow's warnings about damage into errors, and silence its log. Entering is slow: once for many images."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module=r"PIL\.")
        # Damaged metadata does not affect the pixels, and the pixel limit is our own.
        warnings.filterwarnings("ignore", message="(?i).*(exif|metadata|malformed mpo)", module=r"PIL\.")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        # Pillow logs errors about TIFF files of many bands, which the verdict names.
        logger = logging.getLogger("PIL")
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)


def open_image(data: bytes, max_pixels: int) -> Header:
    """Read the header of an image, or raise an `UnusableImageError` with the reason why it cannot be used."""
    if not data:
        raise UnusableImageError(Reason.EMPTY)
    header = read_plain_header(data) or _read_header(data)
    if header.width * header.height > max_pixels:
        raise UnusableImageError(Reason.TOO_MANY_PIXELS, f"{header.width}x{header.height}, limit {max_pixels:,}")
    return header


def open_with_pillow(data: bytes) -> ImageFile:
    """Return Pillow's lazily decoded image. Pillow raises a dozen exception types for damaged files."""
    return Image.open(io.BytesIO(data), formats=FORMATS)


def read_pixels(
    header: Header, background: Colour, grey: bool = False, reduction: float = 1.0
) -> tuple[np.ndarray, float]:
    """Return the pixels as they are in the file, not upright, and the factor by which their size was reduced.

    The pixels are uint8 `(H, W, 1)` if the file or `grey` says so, otherwise `(H, W, 3)`. Transparent pixels are
    blended with `background`; more than 8 bits are scaled to 8; colours with an embedded profile are converted to sRGB;
    an animation gives its first frame. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if `reduction`, the largest
    allowed factor, permits.

    Raises:
        UnusableImageError: `truncated` or `corrupt` for damage, or a reason of `to_eight_bits`.
    """
    try:
        pixels, reduced_by = decode_plain(header, grey) if header.is_plain and reduction < 2 else None, 1.0
        if pixels is None:
            if header.format == "PNG":
                require_whole_pixels(header.data)
            pixels, reduced_by = _decode_with_pillow(header, grey, reduction)
        if pixels.shape[2] == 4:
            pixels = blend(pixels, background)
        is_grey = grey or header.mode in GREY_MODES or header.mode.startswith("I")
        if is_grey and pixels.shape[2] == 3:
            pixels = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))[:, :, None]
    except UnusableImageError:
        raise
    except Exception as error:  # Pillow raises a dozen types for damaged pixels.
        raise _damage(error) from None
    return pixels, reduced_by


def _read_header(data: bytes) -> Header:
    if data.startswith(START_OF_PNG):
        data = tidy_png(data)
    if data[12:16] == b"CgBI":  # Pillow would read it as a usual PNG file.
        refuse(data)
    try:
        image = open_with_pillow(data)
        orientation, size = 1, image.size
        # A damaged EXIF block does not affect the pixels.
        with suppress(Exception):
            # It looks into EXIF, then into XMP. That of PNG images would decode the pixels, before they are counted.
            orientation = int(Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1))
        if isinstance(image, TiffImageFile):
            require_whole_picture(image.tag_v2, data)
            # Pillow turns TIFF images upright itself, but knows their upright size only if the tag is not in XMP.
            size = size if ExifTags.Base.Orientation in image.tag_v2 else upright_size(size, orientation)
            orientation = 1
    except UnidentifiedImageError:
        refuse(data)
    except Image.DecompressionBombError as error:
        raise UnusableImageError(Reason.TOO_MANY_PIXELS, str(error)) from None
    except UnusableImageError:
        raise
    except Exception as error:  # Pillow raises a dozen types for damaged headers.
        require_supported(data)
        raise _damage(error) from None
    return Header(str(image.format), image.mode, *upright_size(size, orientation), data, orientation)


def _decode_with_pillow(header: Header, grey: bool, reduction: float) -> tuple[np.ndarray, float]:
    """Return uint8 `(H, W, bands)`, grey, RGB or (if some pixels may be transparent) RGBA, and the reduction."""
    image, reduced_by = open_with_pillow(header.data), 1.0
    to_srgb = srgb_transform(image)
    if header.mode in ("RGB", "L") and (grey or reduction >= 2):
        # This does nothing for other formats than JPEG.
        width, size = image.width, (int(image.width / reduction), int(image.height / reduction))
        drafted = image.draft("L" if grey and to_srgb is None else None, size)
        reduced_by = width / drafted[1][2] if drafted else 1.0
    has_16_bits = ";16" in str(image.tile[0].args) if image.tile else False
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) if has_16_bits and header.format == "TIFF" else 1
    image.load()

    if image.mode.startswith("I") or image.mode == "F":
        return _scale_levels(image), reduced_by
    mode = "RGBA" if image.has_transparency_data else "L" if image.mode in ("1", "L") else "RGB"
    shown = convert_to_srgb(image, mode, to_srgb) if to_srgb else image
    data = (shown if shown.mode == mode else shown.convert(mode)).tobytes()
    # Nine times as fast as np.asarray(image).
    pixels = np.frombuffer(data, dtype=np.uint8).reshape(image.height, image.width, len(mode))
    return _keep_dark_levels(pixels, header, turned) if has_16_bits else pixels, reduced_by


def _scale_levels(image: ImageFile) -> np.ndarray:
    """Return the levels of an image of mode I or F as uint8 `(H, W, 1 or 4)`; Pillow's convert() would clip them."""
    levels = np.asarray(image)
    if not isinstance(image, TiffImageFile):
        return to_eight_bits(levels)
    bits, number = max(image.tag_v2.get(_BITS, (1,))), max(image.tag_v2.get(_SAMPLE_FORMAT, (1,)))
    if image.mode == "I":  # Pillow reads all integers but uint16 as int32.
        levels = levels.astype({(16, 2): np.int16, (32, 1): np.uint32}.get((bits, number), np.int32))
    pixels = to_eight_bits(levels)
    if image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        pixels[:, :, :3] = 255 - pixels[:, :, :3]
    return pixels


def _keep_dark_levels(pixels: np.ndarray, header: Header, turned: int) -> np.ndarray:
    """Decode 16-bit colours again if their upper 8 bits, which Pillow keeps, are almost black; keep Pillow's alpha."""
    if pixels[:, :, :3].max() >= DARKEST_WHITE:
        return pixels
    is_tiff = header.format == "TIFF"
    levels = imagecodecs.tiff_decode(header.data, index=0) if is_tiff else imagecodecs.png_decode(header.data)
    if levels.shape[2] > 4:  # The bands of a TIFF file may be stored one after the other.
        levels = levels.transpose(1, 2, 0)
    colours = to_eight_bits(set_upright(levels[:, :, : 1 if levels.shape[2] < 3 else 3], turned))
    return np.concatenate((np.broadcast_to(colours, (*colours.shape[:2], 3)), pixels[:, :, 3:]), axis=2)


def _damage(error: Exception) -> UnusableImageError:
    message = str(error).lower()
    is_unsupported = "unsupported" in message or "not yet supported" in message
    reason = Reason.TRUNCATED if "truncated" in message else Reason.UNSUPPORTED if is_unsupported else Reason.CORRUPT
    return UnusableImageError(reason, f"{type(error).__name__}: {error}".splitlines()[0][:200])
