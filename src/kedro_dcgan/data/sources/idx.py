"""IDX files of images, MNIST's format: one of any name, or a folder of nothing but `*-ubyte` files, gzipped or not.

The format: 0x00000803, then count, height and width, all big-endian 32 bits, then the pixels; labels
the same with 0x00000801 and count (LeCun, Cortes and Burges, The MNIST database).
"""

import contextlib
import gzip
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from kedro_dcgan.data.scan import Input
from kedro_dcgan.data.sources.source import Limits, MemoryBlock, as_ppm, in_blocks, may_not_be_read
from kedro_dcgan.errors import SourceError

_IMAGES, _LABELS = 0x0803, 0x0801


class IdxSource:
    """The images of IDX files, in the order of the files' names; labels come from `…-labels-idx1-ubyte` beside them.

    Raises:
        SourceError: on construction, if a header is damaged or claims more than there is.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self._files = _image_files(path)
        self.count = sum(_header(file)[0] for file in self._files)
        limits.require_count(self.count)

    @staticmethod
    def recognises(path: Path) -> bool:
        """Tell whether it is an IDX file of images, or a folder of them; hidden files and links in it do not count.

        Raises:
            SourceError: if it may not be read.
        """
        return bool(_image_files(path))

    def blocks(self, size: int) -> Iterator[MemoryBlock]:
        """Yield the images, `size` at a time, as PGM.

        Raises:
            SourceError: if a file ends too soon or changes, or has other labels than images.
        """
        return in_blocks((item for file in self._files for item in _images(file)), size, self._files)


def _image_files(path: Path) -> list[Path]:
    files = _files_of_a_folder(path) if path.is_dir() else [path] if path.is_file() else []
    kinds = {file: _magic(file) for file in files}
    if not all(kind in (_IMAGES, _LABELS) for kind in kinds.values()):
        return []
    images = [file for file, kind in kinds.items() if kind == _IMAGES]
    # torchvision leaves the gzipped files beside the plain ones.
    return [file for file in images if file.suffix != ".gz" or file.with_suffix("") not in images]


def _files_of_a_folder(folder: Path) -> list[Path]:
    """Return all that is in a folder of IDX files, or nothing where there is something else: a folder of photos."""
    files = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.is_symlink():
                continue
            if "-ubyte" not in entry.name or not entry.is_file():
                return []
            files.append(Path(entry.path))
    return sorted(files)


def _images(file: Path) -> Iterator[Input]:
    count, height, width = _header(file)
    labels = _labels(file, count)
    name = file.name.removesuffix(".gz")
    with _reading(file) as stream:
        stream.read(16)
        for number in range(count):
            pixels = stream.read(height * width)
            if len(pixels) < height * width:
                raise _damaged(file, f"it ends after {number:,} of {count:,} images")
            yield Input(f"{name}/{number:08d}", as_ppm(pixels, width, height), labels[number] if labels else None)
        # There gzip has its checksum.
        stream.read(1)


def _labels(file: Path, count: int) -> list[str] | None:
    beside = file.with_name(file.name.replace("images", "labels").replace("idx3", "idx1"))
    if beside == file or beside.is_symlink() or not beside.is_file() or _magic(beside) != _LABELS:
        return None
    with _reading(beside) as stream:
        claimed = int.from_bytes(stream.read(8)[4:], "big")
        values = stream.read(count + 1)
    if claimed != count or len(values) != count:
        raise _damaged(
            beside, f"it has {min(claimed, len(values)):,} labels and claims {claimed:,}, for {count:,} images"
        )
    return [str(value) for value in values]


def _header(file: Path) -> tuple[int, int, int]:
    with _reading(file) as stream:
        start, is_gzip = stream.read(16), isinstance(stream, gzip.GzipFile)
    if len(start) < 16:
        raise _damaged(file, "it ends within its header")
    _, count, height, width = struct.unpack(">IIII", start)
    # Hostile numbers: nothing may be allocated for what they claim.
    if not 0 < height * width <= 100_000_000:
        raise _damaged(file, f"it claims images of {width}x{height}")
    if not is_gzip and file.stat().st_size < 16 + count * height * width:
        raise _damaged(file, f"it ends before the last of {count:,} images of {width}x{height}")
    return count, height, width


def _magic(file: Path) -> int:
    try:
        with _open(file) as stream:
            return int.from_bytes(stream.read(4), "big")
    except PermissionError:
        raise may_not_be_read(file) from None
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
