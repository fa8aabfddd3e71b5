"""Recognise unsupported files by their first bytes, so that the reason why they are skipped names their kind."""

import io
from contextlib import suppress
from typing import NoReturn

from PIL.TiffImagePlugin import COMPRESSION_INFO, ImageFileDirectory_v2

from kedro_dcgan.data import Reason
from kedro_dcgan.errors import UnusableImageError

# Formats of pictures by magic bytes, at the start unless a place is given.
_PICTURES = {
    "PostScript": (b"%!PS", b"\xc5\xd0\xd3\xc6"),
    "PDF": (b"%PDF",),
    "Photoshop": (b"8BPS",),
    "Windows icon": (b"\x00\x00\x01\x00", b"\x00\x00\x02\x00\x01\x00"),
    "Apple icon (ICNS)": (b"icns",),
    "JPEG 2000": (b"\x00\x00\x00\x0cjP", b"\xff\x4f\xff\x51"),
    "JPEG XL": (b"\xff\x0a", b"\x00\x00\x00\x0cJXL"),
    "JPEG XR": (b"II\xbc\x01",),
    "GIMP": (b"gimp xcf",),
    "FITS": (b"SIMPLE  =",),
    "OpenEXR": (b"\x76\x2f\x31\x01",),
    "Radiance HDR": (b"#?RADIANCE", b"#?RGBE"),
    "DirectDraw Surface (DDS)": (b"DDS ",),
    "Khronos texture": (b"\xabKTX",),
    "PCX": tuple(b"\x0a%c\x01%c" % (version, bits) for version in (0, 2, 3, 4, 5) for bits in (1, 2, 4, 8)),
    "SGI": tuple(b"\x01\xda%c%c" % (storage, depth) for storage in (0, 1) for depth in (1, 2)),
    "Sun raster": (b"\x59\xa6\x6a\x95",),
    "QOI": (b"qoif",),
    "PAM": (b"P7\n",),
    "XPM": (b"/* XPM */",),
    "DPX": (b"SDPX", b"XPDS"),
    "BPG": (b"BPG\xfb",),
    "MNG": (b"\x8aMNG", b"\x8bJNG"),
    "DjVu": (b"AT&TFORM",),
    "Windows metafile": (b"\xd7\xcd\xc6\x9a",),
    "PNG of Apple's Xcode (CgBI)": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\x04CgBI",),
    "camera raw": (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\x00", b"FOVb", b"\x00MRM"),
    "NumPy array": (b"\x93NUMPY",),
    "HDF5": (b"\x89HDF\r\n",),
}
_PICTURES_AT = {"DICOM": (128, b"DICM"), "NIfTI": (344, b"n+1\x00"), "Windows metafile": (40, b" EMF")}
_ARCHIVES = {
    "zip": (b"PK\x03\x04", b"PK\x05\x06"),
    "gzip": (b"\x1f\x8b\x08",),
    "7z": (b"7z\xbc\xaf\x27\x1c",),
    "RAR": (b"Rar!\x1a\x07",),
    "xz": (b"\xfd7zXZ\x00",),
    "bzip2": (b"BZh",),
    "Zstandard": (b"\x28\xb5\x2f\xfd",),
}
# Brands of ISO media files, after `ftyp`; the last four, of any coding, count only without another.
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1", b"miaf")
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"crx ": "camera raw (CR3)", **dict.fromkeys(_HEIF, "HEIC")}
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
# Tags of TIFF files, with those of their values that matter.
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS, _STRIPS, _BANDS = 254, 256, 257, 258, 259, 262, 273, 277
_STRIP_BYTES, _LAYOUT, _TILES, _TILE_BYTES, _NUMBERS, _DNG = 279, 284, 324, 325, 339, 50706
_PREVIEW, _COLOUR_FILTER_ARRAY, _SEPARATE = 1, 32803, 2
# ITU-T T.81, table B.1, and JPEG-LS; without DHT, JPG and DAC.
_START_OF_FRAME, _START_OF_SCAN = (*(set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}), 0xF7), 0xDA


def refuse(data: bytes) -> NoReturn:
    """Raise an `UnusableImageError` for data that Pillow cannot identify, with the best guess of its kind."""
    start = data[:1024].lstrip()
    if start.startswith(b"version https://git-lfs"):
        raise UnusableImageError(Reason.LFS_POINTER, "Git LFS pointer: run git lfs pull")
    if start.startswith((b"outs:", b"md5:")) and b"md5:" in start:
        raise UnusableImageError(Reason.DVC_POINTER, "DVC pointer: run dvc pull")
    require_supported(data)
    archives = [kind for kind, magic in _ARCHIVES.items() if data.startswith(magic)]
    if archives or data[257:262] == b"ustar":
        raise UnusableImageError(Reason.UNSUPPORTED, f"{(archives or ['tar'])[0]} archive: unpack it")
    if data.startswith((b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", *_TIFF)):
        raise UnusableImageError(Reason.UNREADABLE, "the header is damaged or cut off")
    if not data.strip(b"\x00"):
        raise UnusableImageError(Reason.UNREADABLE, f"{len(data):,} zero bytes: an incomplete copy")
    if start[:15].lower().startswith((b"<!doctype html", b"<html")):
        raise UnusableImageError(Reason.NOT_AN_IMAGE, "a web page: the download failed")
    raise UnusableImageError(Reason.NOT_AN_IMAGE)


def require_supported(data: bytes) -> None:
    """Raise an `UnusableImageError` if data begin like a picture of an unsupported kind."""
    kind = next((kind for kind, magic in _PICTURES.items() if data.startswith(magic)), None)
    kind = kind or next((kind for kind, (at, magic) in _PICTURES_AT.items() if data.startswith(magic, at)), None)
    start = data[:1024].lstrip()
    if start.startswith((b"<?xml", b"<svg", b"<!--", b"<!DOCTYPE svg")) and b"<svg" in start:
        kind = "SVG"
    for recognise in (_media_kind, _jpeg_kind, _tiff_kind, _targa_kind):
        with suppress(Exception):  # Damaged or cut off: not of a kind that can be named.
            kind = kind or recognise(data)
    if kind:
        raise UnusableImageError(Reason.UNSUPPORTED, f"{kind}: convert it to JPEG or PNG")


def require_whole_picture(tags: ImageFileDirectory_v2, data: bytes) -> None:
    """Raise an `UnusableImageError` for a TIFF file that Pillow would decode to another picture than a viewer shows."""
    bits, kind = max(tags.get(_BITS, (1,))), None
    if data[8:10] == b"CR" or _DNG in tags or tags.get(_SUBFILE) == _PREVIEW:
        kind = "camera raw"
    elif bits == 8 and 2 in tags.get(_NUMBERS, ()):
        kind = "TIFF of signed 8-bit integers"
    elif bits == 16 and tags.get(_LAYOUT) == _SEPARATE and tags.get(_BANDS, 1) > 1 and tags.get(_COMPRESSION, 1) == 1:
        kind = "TIFF of uncompressed separate 16-bit bands"
    if kind:
        raise UnusableImageError(Reason.UNSUPPORTED, f"{kind}: convert it to JPEG or PNG")


def _media_kind(data: bytes) -> str | None:
    """Return the name of an ISO media file of pictures; videos have other brands, and are not pictures."""
    if data[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(data[:4]), 256)
    brands = [data[at : at + 4] for at in (8, *range(16, end, 4))]
    return next((kind for brand, kind in _BRANDS.items() if brand in brands), None)


def _jpeg_kind(data: bytes) -> str | None:
    at = 2 if data.startswith(b"\xff\xd8\xff") else len(data)
    while data[at] == 0xFF and data[at + 1] != _START_OF_SCAN:
        if data[at + 1] in _START_OF_FRAME:
            coding = {0xF7: "JPEG-LS", 0xC3: "lossless JPEG"}.get(data[at + 1])
            bits, bands = data[at + 4], data[at + 9]
            unusual = f"{bits}-bit JPEG" if bits != 8 else f"JPEG of {bands} bands" if bands not in (1, 3, 4) else None
            return coding or unusual
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return None


def _tiff_kind(data: bytes) -> str | None:
    """Describe the pixels of a TIFF file, unless it is cut off: Pillow decodes only some combinations of its tags."""
    if not data.startswith(_TIFF):
        return None
    tags, stream = ImageFileDirectory_v2(data[: 16 if 43 in data[2:4] else 8]), io.BytesIO(data)
    stream.seek(tags.next)
    tags.load(stream)
    starts, sizes = (tags[_TILES], tags[_TILE_BYTES]) if _TILES in tags else (tags[_STRIPS], tags[_STRIP_BYTES])
    is_cut_off = max(start + size for start, size in zip(starts, sizes, strict=True)) > len(data)
    if is_cut_off or not tags[_WIDTH] or not tags[_HEIGHT]:
        return None
    if _DNG in tags or tags.get(_COLOURS) == _COLOUR_FILTER_ARRAY:
        return "camera raw"
    if tags.get(_COMPRESSION, 1) not in COMPRESSION_INFO:
        return f"TIFF of compression {tags[_COMPRESSION]}"
    bits, bands, numbers = tags.get(_BITS, (1,)), tags.get(_BANDS, 1), tags.get(_NUMBERS, (1,))
    number = {1: "integers", 2: "signed integers", 3: "floats"}.get(numbers[0], "numbers")
    return f"TIFF of {bands} band{'' if bands == 1 else 's'} of {max(bits)}-bit {number}"


def _targa_kind(data: bytes) -> str | None:
    """Return TGA if the file has its footer, or if its header has only usual values and its size fits them."""
    if data.endswith(b"TRUEVISION-XFILE.\0"):
        return "TGA"
    has_palette, coding, depth = data[1], data[2], data[16]
    first, length, entry_bits = data[3] + 256 * data[4], data[5] + 256 * data[6], data[7]
    width, height = int.from_bytes(data[12:14], "little"), int.from_bytes(data[14:16], "little")
    is_usual = depth in (8, 15, 16, 24, 32) and (
        (has_palette == 1 and coding in (1, 9) and depth == 8 and length and entry_bits in (15, 16, 24, 32))
        or (has_palette == 0 and coding in (2, 3, 10, 11) and first == length == entry_bits == 0)
    )
    pixels_at = 18 + data[0] + length * ((entry_bits + 7) // 8)
    # A run of up to 128 pixels is one packet of run-length coding.
    packets, pixel_bytes = width * height / (128 if coding > 8 else 1), (depth + 7) // 8
    smallest = pixels_at + packets * (pixel_bytes + (coding > 8))
    return "TGA" if is_usual and width and height and len(data) >= smallest else None
