"""Builds a folder of odd and hostile inputs, with the expected verdict and appearance of each.

Pictures are seeded by their path, so no two files have equal bytes unless intended.
"""

import functools
import io
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
SIZES = ((64, 64), (65, 64), (178, 218), (500, 333), (1200, 800), (333, 500), (96, 2000), (2000, 96))
# The third and the fourth are the same letter: as two code points, which some file systems join, and as one.
NAMES = ("name with space & 'quote'", "日本語-ünïcødé-😀", "e\u0301", "\u00e9", "n" * 240, "-rf", "new\nline")
DEEP = f"{'/'.join(f'l{level}' for level in range(30))}/x.png"
ORIENTATIONS = (*range(1, 9), "invalid_99")


@dataclass(frozen=True)
class Case:
    """A path as in the manifest, and its correct verdicts: "accepted" or reasons."""

    path: str
    verdicts: frozenset[str]


_VERDICTS = (
    ("accepted", "good", [f"size_{width}x{height}.jpg" for width, height in SIZES]),
    ("accepted", "good", [f"{name}.png" for name in NAMES]),
    ("accepted", "good", ["progressive.jpg", "rgb.bmp", "rgb.webp", "rgb.tiff", "UPPER.JPG"]),
    ("accepted", "modes", ["L.png", "1bit.png", "P.png", "P_trns.png", "LA.png", "RGBA_hidden_magenta.png"]),
    ("accepted", "modes", ["CMYK.jpg", "YCbCr.jpg", "I16.png", "I16.tif", "F.tif"]),
    ("blank", "modes", ["RGBA_all_transparent.png"]),
    ("accepted", "exif", ["garbage_exif.jpg", *(f"orientation_{orientation}.jpg" for orientation in ORIENTATIONS)]),
    ("accepted", "anim", ["anim.gif", "apng.png", "anim.webp", "multipage.tif"]),
    ("truncated", "bad", ["truncated_50.jpg", "truncated.png"]),
    ("accepted truncated", "bad", ["truncated_last_2_bytes.jpg"]),
    ("truncated unreadable", "bad", ["truncated_header.jpg"]),
    ("corrupt", "bad", ["bitflip_idat.png"]),
    ("accepted", "bad", ["zeroed_middle.jpg"]),
    ("empty", "bad", ["zero_byte.jpg"]),
    ("unreadable", "bad", ["all_zero.png"]),
    ("not_an_image", "bad", ["html_saved_as.jpg"]),
    ("lfs_pointer", "bad", ["lfs_pointer.png"]),
    ("dvc_pointer", "bad", ["dvc_pointer.jpg"]),
    ("accepted", "ext", ["png_named.jpg", "jpeg_named.png", "webp_named.jpg", "no_extension", "polyglot.jpg"]),
    ("unsupported", "ext", ["eps_named.jpg", "svg.svg"]),
    ("too_small", "small", ["1x1.png", "16x16.png"]),
    ("blank", "small", ["blank_white.png"]),
    ("too_many_pixels", "bomb", ["header_65000x65000.png", "real_10000x10000_grey.png"]),
    ("accepted corrupt", "bomb", ["itxt_bomb.png"]),
    ("hidden", "clutter", [".DS_Store", "._photo.jpg", ".hidden.jpg"]),
    ("not_an_image", "clutter", ["video.mp4"]),
    ("side_file", "clutter", ["Thumbs.db", "labels.csv", "readme.txt"]),
    ("accepted", "dup", ["a.jpg", "a_pixels.png", "a_reencoded.jpg", "A.jpg"]),
    ("duplicate", "dup", ["sub/a.jpg"]),
    ("accepted", "deep", [DEEP]),
    ("link", "links", ["inside.jpg", "outside.jpg", "dangling.jpg", "loop", "self.jpg"]),
    ("not_a_file", "odd", ["dir_named.jpg", "fifo.jpg"]),
    # Root may read every file.
    ("unreadable" if os.geteuid() else "accepted", "odd", ["no_permission.jpg"]),
    ("accepted", "odd", [r"bad\xff\xfe.jpg"]),
)
CASES = tuple(
    Case(f"{folder}/{name}", frozenset(words.split())) for words, folder, names in _VERDICTS for name in names
)

_UPRIGHT = ((120, 80), (RED, GREEN, BLUE, WHITE))
_RAMP = ((256, 256), ((64,) * 3, (192,) * 3) * 2)
# The size of the upright picture over white, and its colours in the middle of the quadrants, row by row.
CORNERS = {
    **{f"exif/orientation_{orientation}.jpg": _UPRIGHT for orientation in ORIENTATIONS},
    "exif/garbage_exif.jpg": _UPRIGHT,
    "modes/1bit.png": ((96, 96), (BLACK, WHITE, WHITE, BLACK)),
    "modes/P_trns.png": ((96, 96), (RED, WHITE, BLUE, BLACK)),
    "modes/LA.png": ((96, 96), ((40,) * 3, WHITE, (127,) * 3, (200,) * 3)),
    "modes/RGBA_hidden_magenta.png": ((96, 96), (RED, WHITE, BLUE, (127,) * 3)),
    "modes/CMYK.jpg": ((96, 96), (RED, GREEN, BLUE, WHITE)),
    **dict.fromkeys(("modes/I16.png", "modes/I16.tif", "modes/F.tif"), _RAMP),
}


def corner_error(path: str, image: Image.Image) -> int:
    """Return the largest difference of the colours of `image`, of any size, from those of `CORNERS[path]`."""
    rgb = np.asarray(image.convert("RGB"), dtype=int)
    height, width, _ = rgb.shape
    found = [rgb[y, x] for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return int(np.abs(np.array(found) - CORNERS[path][1]).max())


def build(root: Path) -> None:
    """Write all cases into the new folder `root`, and the target of `links/outside.jpg` into one beside it."""
    for path, data in contents().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    (root / "odd/no_permission.jpg").chmod(0)
    (root / "odd/dir_named.jpg").mkdir()
    (root / "odd/empty_dir").mkdir()
    os.mkfifo(root / "odd/fifo.jpg")
    _link(root)


def _link(root: Path) -> None:
    outside = root.absolute().with_name(f"{root.name}-outside") / "outside.jpg"
    outside.parent.mkdir()
    outside.write_bytes(_jpeg(_picture("outside")))
    targets = {"inside": "../good/size_64x64.jpg", "outside": outside, "dangling": "nowhere.jpg", "self": "self.jpg"}
    (root / "links").mkdir()
    for name, target in targets.items():
        (root / f"links/{name}.jpg").symlink_to(target)
    (root / "links/loop").symlink_to("..", target_is_directory=True)


@functools.cache
def contents() -> dict[str, bytes]:
    """Return all regular files by their path, in which bytes that are not UTF-8 are surrogates."""
    folders = (_good, _modes, _exif, _animated, _damaged, _misnamed, _sizes, _clutter, _copies)
    files = {path: data for folder in folders for path, data in folder().items()}
    names = ("odd/no_permission.jpg", os.fsdecode(b"odd/bad\xff\xfe.jpg"))
    return files | {name: _jpeg(_picture(name)) for name in names} | {f"deep/{DEEP}": _encode(_picture(DEEP), "PNG")}


def _picture(name: str, size: tuple[int, int] = (96, 96)) -> Image.Image:
    """Return coloured clouds, brighter to the right: different for each name, and small in every format."""
    noise = np.random.default_rng(zlib.crc32(os.fsencode(name))).integers(0, 192, (6, 6, 3))
    rise = np.linspace(0, 63, 6)[:, None]
    return Image.fromarray((noise + rise).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)


def _quadrants(colours: tuple, size: tuple[int, int] = (96, 96)) -> Image.Image:
    levels = np.array(colours, dtype=np.uint8).reshape(2, 2, -1)
    return Image.fromarray(levels.squeeze()).resize(size, Image.Resampling.NEAREST)


def _encode(image: Image.Image, file_format: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def _jpeg(image: Image.Image, **options) -> bytes:
    return _encode(image, "JPEG", **{"quality": 90, "subsampling": 0, **options})


def _good() -> dict[str, bytes]:
    files = {f"good/size_{size[0]}x{size[1]}.jpg": _jpeg(_picture(f"{size}", size)) for size in SIZES}
    files |= {f"good/{name}.png": _encode(_picture(name), "PNG") for name in NAMES}
    files |= {f"good/rgb.{suffix}": _encode(_picture(suffix), suffix.upper()) for suffix in ("bmp", "webp", "tiff")}
    progressive = _jpeg(_picture("progressive"), progressive=True)
    return files | {"good/progressive.jpg": progressive, "good/UPPER.JPG": _jpeg(_picture("UPPER"))}


def _modes() -> dict[str, bytes]:
    palette = _quadrants((0, 1, 2, 3))
    palette.putpalette([level for colour in (RED, GREEN, BLUE, BLACK) for level in colour])
    hidden = ((*RED, 255), (255, 0, 255, 0), (*BLUE, 255), (*BLACK, 128))
    ramp = np.arange(256, dtype=np.uint16)[None].repeat(256, axis=0)
    pngs = {
        "L": _picture("L").convert("L"),
        "1bit": _quadrants((0, 255, 255, 0)).convert("1"),
        "P": _picture("P").quantize(32),
        "LA": _quadrants(((40, 255), (0, 0), (0, 128), (200, 255))),
        "RGBA_hidden_magenta": _quadrants(hidden),
        "RGBA_all_transparent": _quadrants(tuple((*colour, 0) for colour in (RED, GREEN, BLUE, BLACK))),
        "I16": Image.fromarray(ramp * 257),
    }
    return {f"modes/{name}.png": _encode(image, "PNG") for name, image in pngs.items()} | {
        "modes/P_trns.png": _encode(palette, "PNG", transparency=bytes((255, 0, 255, 255))),
        "modes/CMYK.jpg": _encode(_quadrants((RED, GREEN, BLUE, WHITE)).convert("CMYK"), "JPEG", quality=90),
        "modes/YCbCr.jpg": _jpeg(_picture("YCbCr").convert("YCbCr")),
        "modes/I16.tif": _encode(Image.fromarray(ramp * 257), "TIFF"),
        "modes/F.tif": _encode(Image.fromarray(ramp / np.float32(255)), "TIFF"),
    }


def _exif() -> dict[str, bytes]:
    upright = _quadrants(_UPRIGHT[1], _UPRIGHT[0])
    turn = Image.Transpose
    undone = (turn.FLIP_LEFT_RIGHT, turn.ROTATE_180, turn.FLIP_TOP_BOTTOM, turn.TRANSPOSE, turn.ROTATE_90)
    undone = (None, *undone, turn.TRANSVERSE, turn.ROTATE_270, None)
    files = {"exif/garbage_exif.jpg": _jpeg(upright, exif=b"Exif\0\0" + bytes(range(255, 55, -1)))}
    for name, method, tag in zip(ORIENTATIONS, undone, (*range(1, 9), 99), strict=True):
        exif = Image.Exif()
        exif[0x0112] = tag
        stored = upright if method is None else upright.transpose(method)
        files[f"exif/orientation_{name}.jpg"] = _jpeg(stored, exif=exif)
    return files


def _animated() -> dict[str, bytes]:
    names = {"anim.gif": "GIF", "apng.png": "PNG", "anim.webp": "WEBP", "multipage.tif": "TIFF"}
    files = {}
    for name, file_format in names.items():
        first, *others = (_picture(f"{name} {frame}") for frame in range(3))
        files[f"anim/{name}"] = _encode(first, file_format, save_all=True, append_images=others)
    return files


def _damaged() -> dict[str, bytes]:
    jpeg, png = _jpeg(_picture("damaged", (256, 256))), _encode(_picture("damaged"), "PNG")
    whole = _jpeg(_picture("last 2 bytes"))
    zeroed, flipped = bytearray(_jpeg(_picture("zeroed", (256, 256)))), bytearray(_encode(_picture("flip"), "PNG"))
    zeroed[len(zeroed) // 2 : len(zeroed) // 2 + 200] = bytes(200)
    flipped[len(flipped) // 2] ^= 1 << 4
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d7a' * 16}\nsize 12345\n"
    return {
        "bad/truncated_50.jpg": jpeg[: len(jpeg) // 2],
        "bad/truncated_last_2_bytes.jpg": whole[:-2],
        "bad/truncated_header.jpg": jpeg[:20],
        "bad/truncated.png": png[: len(png) * 6 // 10],
        "bad/bitflip_idat.png": bytes(flipped),
        "bad/zeroed_middle.jpg": bytes(zeroed),
        "bad/zero_byte.jpg": b"",
        "bad/all_zero.png": bytes(4096),
        "bad/html_saved_as.jpg": b"<!DOCTYPE html>\n<html><body><h1>404 Not Found</h1></body></html>\n",
        "bad/lfs_pointer.png": pointer.encode(),
        "bad/dvc_pointer.jpg": f"outs:\n- md5: {'4d7a' * 8}\n  size: 12345\n  hash: md5\n  path: photo.jpg\n".encode(),
    }


def _misnamed() -> dict[str, bytes]:
    attached = io.BytesIO()
    with zipfile.ZipFile(attached, "w") as archive:
        archive.writestr("inside.txt", "not a picture")
    shape = '<svg xmlns="http://www.w3.org/2000/svg" width="96" height="96"><circle cx="48" cy="48" r="40"/></svg>\n'
    return {
        "ext/png_named.jpg": _encode(_picture("png"), "PNG"),
        "ext/jpeg_named.png": _jpeg(_picture("jpeg")),
        "ext/webp_named.jpg": _encode(_picture("webp named"), "WEBP"),
        "ext/no_extension": _jpeg(_picture("no extension")),
        "ext/eps_named.jpg": _encode(_picture("eps"), "EPS"),
        "ext/svg.svg": shape.encode(),
        "ext/polyglot.jpg": _jpeg(_picture("polyglot")) + attached.getvalue(),
    }


def _sizes() -> dict[str, bytes]:
    png = _encode(_picture("bomb"), "PNG")
    text = _chunk(b"zTXt", b"Comment\0\0" + _deflate(bytes(1 << 20), 64))
    end_of_header = 33
    row = b"\0" + b"\x40" * 5000 + b"\xc0" * 5000
    return {
        "small/1x1.png": _encode(_picture("1x1", (1, 1)), "PNG"),
        "small/16x16.png": _encode(_picture("16x16", (16, 16)), "PNG"),
        "small/blank_white.png": _encode(Image.new("RGB", (96, 96), WHITE), "PNG"),
        "bomb/header_65000x65000.png": _grey_png(65_000, zlib.compress(bytes(65_001))),
        "bomb/real_10000x10000_grey.png": _grey_png(10_000, _deflate(row, 10_000)),
        "bomb/itxt_bomb.png": png[:end_of_header] + text + png[end_of_header:],
    }


def _deflate(block: bytes, times: int) -> bytes:
    # Piece by piece, to save memory: some tests measure their peak.
    stream = zlib.compressobj()
    return b"".join(stream.compress(block) for _ in range(times)) + stream.flush()


def _grey_png(side: int, compressed_rows: bytes) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", compressed_rows) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _clutter() -> dict[str, bytes]:
    return {
        "clutter/Thumbs.db": bytes.fromhex("d0cf11e0a1b11ae1") + bytes(1016),
        "clutter/.DS_Store": b"\0\0\0\1Bud1" + bytes(1016),
        "clutter/._photo.jpg": bytes.fromhex("0005160700020000") + b"Mac OS X        " + bytes(100),
        "clutter/labels.csv": b"path,label\na.jpg,7\n",
        "clutter/readme.txt": b"These are my photos.\n",
        "clutter/video.mp4": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(1000),
        "clutter/.hidden.jpg": _jpeg(_picture("hidden")),
    }


def _copies() -> dict[str, bytes]:
    original = _jpeg(_picture("a"))
    decoded = Image.open(io.BytesIO(original))
    return {
        "dup/a.jpg": original,
        "dup/sub/a.jpg": original,
        "dup/a_pixels.png": _encode(decoded, "PNG"),
        "dup/a_reencoded.jpg": _jpeg(decoded, quality=60),
        "dup/A.jpg": _jpeg(_picture("A")),
    }
