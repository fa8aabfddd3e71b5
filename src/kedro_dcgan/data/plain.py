"""The fast path: plain files, which are whole JPEG and 8-bit PNG files without metadata that affects the pixels.

imagecodecs calls the same libraries as Pillow (libjpeg-turbo, libpng) with less Python in between: the same pixels, bit
for bit, several times as fast.
"""

import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import imagecodecs
import numpy as np

from kedro_dcgan.data import Reason
from kedro_dcgan.errors import UnusableImageError

_START_OF_JPEG, _END_OF_JPEG = b"\xff\xd8", b"\xff\xd9"
_START_OF_SCAN = 0xDA
# Baseline, extended and progressive; ITU-T T.81, table B.1.
_START_OF_FRAME = (0xC0, 0xC1, 0xC2)
# Tables, comments, and application segments other than those that may hold EXIF data or further images.
_IGNORED_SEGMENTS = frozenset((0xC4, 0xDB, 0xDD, 0xE0, *range(0xE3, 0xF0), 0xFE))
START_OF_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_IHDR = 8
# Length, kind and checksum of a chunk, in bytes; the bit of the kind of a chunk that viewers may skip.
_CHUNK_FRAME, _ANCILLARY = 12, 0x20
# Uncompressed chunks that do not affect the pixels.
_PLAIN_CHUNKS = frozenset((b"IHDR", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"pHYs", b"bKGD", b"tIME", b"tEXt"))
_METADATA_CHUNKS = frozenset((b"eXIf", b"iTXt", b"tEXt", b"zTXt"))
_METADATA_AS_TEXT = (b"Raw profile type ", b"XML:com.adobe.xmp")
_JPEG_MODES, _PNG_MODES = {1: "L", 3: "RGB"}, {0: "L", 2: "RGB", 6: "RGBA"}


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


def read_plain_header(data: bytes) -> Header | None:
    """Return the header of a plain JPEG or PNG file, or None if Pillow must decode the file."""
    with suppress(IndexError):  # The file ends within its header.
        if data.startswith(_START_OF_JPEG) and data.endswith(_END_OF_JPEG):
            return _jpeg_header(data)
        if data.startswith(START_OF_PNG):
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
    mode, has_pixels = _PNG_MODES.get(colour), False
    if mode is None or bit_depth != 8 or interlace:
        return None
    # Not `_png_chunks`: this loop runs for most files.
    at = _IHDR
    while (kind := data[at + 4 : at + 8]) and kind != b"IEND":
        end = at + 8 + int.from_bytes(data[at : at + 4])
        if kind == b"IDAT":
            has_pixels = True
        elif (
            kind not in _PLAIN_CHUNKS
            or (kind == b"tEXt" and data.startswith(_METADATA_AS_TEXT, at + 8))
            or zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4])
        ):
            return None
        at = end + 4
    width, height = int.from_bytes(data[_IHDR + 8 : _IHDR + 12]), int.from_bytes(data[_IHDR + 12 : _IHDR + 16])
    return Header("PNG", mode, width, height, data, is_plain=True) if has_pixels and width and height else None


def tidy_png(data: bytes) -> bytes:
    """Return a PNG file with all metadata before the pixels, where Pillow looks for it, and without damaged metadata.

    Viewers do the same: libpng discards an ancillary chunk whose checksum is wrong.
    """
    before, moved, after, rest = [data[:_IHDR]], list[bytes](), list[bytes](), _IHDR
    for kind, start, rest in _png_chunks(data):
        if kind[0] & _ANCILLARY and not _is_whole(data, start, rest):
            continue
        if kind == b"IDAT" or after:
            (moved if kind in _METADATA_CHUNKS else after).append(data[start:rest])
        else:
            before.append(data[start:rest])
    tidied = b"".join((*before, *moved, *after, data[rest:]))
    return data if tidied == data else tidied


def require_whole_pixels(data: bytes) -> None:
    """Raise an `UnusableImageError` if the checksum of a chunk of pixels of a PNG file is wrong: Pillow ignores it."""
    if not all(_is_whole(data, start, end) for kind, start, end in _png_chunks(data) if kind == b"IDAT"):
        raise UnusableImageError(Reason.CORRUPT, "the checksum of the pixels (IDAT) is wrong")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of each chunk of a PNG file, up to the last one that is not cut off."""
    start, kind = _IHDR, b""
    while len(data) - start >= _CHUNK_FRAME and kind != b"IEND":
        kind, end = data[start + 4 : start + 8], start + _CHUNK_FRAME + int.from_bytes(data[start : start + 4])
        if end > len(data):
            return
        yield kind, start, end
        start = end


def _is_whole(data: bytes, start: int, end: int) -> bool:
    return zlib.crc32(memoryview(data)[start + 4 : end - 4]) == int.from_bytes(data[end - 4 : end])
