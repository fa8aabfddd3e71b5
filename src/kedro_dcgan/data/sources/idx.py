"""IDX files of images, the format of MNIST: one file of any name, or a folder of only `*-ubyte` files, gzipped or not.

An image file has the magic number 0x00000803, then count, height and width, all big-endian 32 bits, then the pixels.
A label file has 0x00000801, then the count, then one byte per label (LeCun, Cortes and Burges, The MNIST database).
"""

import contextlib
import gzip
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from kedro_dcgan.data.sources.source import Input, Limits, MemoryBlock, as_ppm, gather_blocks, stamp_files
from kedro_dcgan.errors import SourceError

_IMAGES, _LABELS = 0x0803, 0x0801
_HEADER_BYTES = 16
_MAX_PIXELS = 100_000_000


class IdxSource:
    """The images of IDX files, in the order of the file names; labels come from `…-labels-idx1-ubyte` beside them."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._files = _image_files(path)
        self.count = sum(_header(file)[0] for file in self._files)
        limits.require_count(self.count)

    @staticmethod
    def recognises(path: Path) -> bool:
        """Return whether it is an IDX file of images, or a folder of them; hidden files and links in it are ignored."""
        return bool(_image_files(path))

    def blocks(self, size: int) -> Iterator[MemoryBlock]:
        return gather_blocks((item for file in self._files for item in _images(file)), size, stamp_files(self._files))


def _image_files(path: Path) -> list[Path]:
    """Return the image files at a path, or nothing if a file there is not an IDX file."""
    files = [path] if path.is_file() else []
    if path.is_dir():
        with contextlib.suppress(OSError), os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.is_symlink():
                    continue
                # By the name, so that the files of a folder of photos are not opened.
                if "-ubyte" not in entry.name or not entry.is_file():
                    return []
                files.append(Path(entry.path))
    kinds = {file: _magic(file) for file in sorted(files)}
    if not all(kind in (_IMAGES, _LABELS) for kind in kinds.values()):
        return []
    images = [file for file, kind in kinds.items() if kind == _IMAGES]
    # torchvision keeps the gzipped files beside the plain ones.
    return [file for file in images if file.suffix != ".gz" or file.with_suffix("") not in images]


def _images(file: Path) -> Iterator[Input]:
    count, height, width = _header(file)
    labels = _labels(file, count)
    name = file.name.removesuffix(".gz")
    with _reading(file) as stream:
        stream.read(_HEADER_BYTES)
        for number in range(count):
            pixels = stream.read(height * width)
            if len(pixels) < height * width:
                raise _damaged(file, f"it ends after {number:,} of {count:,} images")
            yield Input(f"{name}/{number:08d}", as_ppm(pixels, width, height), labels[number] if labels else None)
        # The checksum of gzip comes after the last image.
        stream.read(1)


def _labels(file: Path, count: int) -> list[str] | None:
    beside = file.with_name(file.name.replace("images", "labels").replace("idx3", "idx1"))
    if beside == file or beside.is_symlink() or not beside.is_file() or _magic(beside) != _LABELS:
        return None
    with _reading(beside) as stream:
        claimed = int.from_bytes(stream.read(8)[4:], "big")
        values = stream.read(count + 1)
    if claimed != count or len(values) != count:
        found = min(claimed, len(values))
        raise _damaged(beside, f"it has {found:,} labels and claims {claimed:,}, for {count:,} images")
    return [str(value) for value in values]


def _header(file: Path) -> tuple[int, int, int]:
    """Return count, height and width from the header, checked against the size of the file."""
    with _reading(file) as stream:
        start, is_gzip = stream.read(_HEADER_BYTES), isinstance(stream, gzip.GzipFile)
    if len(start) < _HEADER_BYTES:
        raise _damaged(file, "it ends within its header")
    _, count, height, width = struct.unpack(">IIII", start)
    # A hostile header must not decide how much memory is allocated.
    if not 0 < height * width <= _MAX_PIXELS:
        raise _damaged(file, f"it claims images of {width}x{height}")
    if not is_gzip and file.stat().st_size < _HEADER_BYTES + count * height * width:
        raise _damaged(file, f"it ends before the last of {count:,} images of {width}x{height}")
    return count, height, width


def _magic(file: Path) -> int:
    """Return the magic number of a file, or -1. This kind of source is tried first, so it checks the permission."""
    try:
        with _open(file) as stream:
            return int.from_bytes(stream.read(4), "big")
    except PermissionError:
        raise SourceError(
            f"`{file}` must be a file that you may read (permission denied). Allow it with chmod u+r, or copy the file."
        ) from None
    except (OSError, EOFError, zlib.error):
        return -1


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[IO[bytes]]:
    try:
        with _open(file) as stream:
            yield stream
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(file, str(error)) from None


def _open(file: Path) -> IO[bytes]:
    with file.open("rb") as stream:
        is_gzip = stream.read(2) == b"\x1f\x8b"
    return cast("IO[bytes]", gzip.open(file, "rb") if is_gzip else file.open("rb"))


def _damaged(file: Path, problem: str) -> SourceError:
    return SourceError(f"`{file}` must be a whole IDX file ({problem}). Copy or download it again.")
