"""Arrays in files: IDX, the format of MNIST, and NumPy's npy, plain or gzipped. They are never unpickled.

An IDX file of bytes begins with 0x000008 and the number of dimensions, then has each dimension as big-endian 32 bits,
then the values (LeCun, Cortes and Burges, The MNIST database).
"""

import gzip
import hashlib
import io
import lzma
import math
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import IO, cast

import numpy as np

from kedro_dcgan.data.sources.source import HEAD_BYTES, SourceFile, as_ppm
from kedro_dcgan.errors import SourceError

_IDX, _NPY, _GZIP = b"\0\0\x08", b"\x93NUMPY\x01\x00", b"\x1f\x8b"
_MAX_IMAGE_BYTES, _CHUNK = 100_000_000, 1 << 20
_DAMAGE = (
    OSError, EOFError, ValueError, NotImplementedError, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
    tarfile.TarError,
)  # fmt: skip


@dataclass(frozen=True)
class Array:
    """The header of an array, IDX or npy: its values begin after `offset` bytes, and are not read until asked for."""

    file: SourceFile
    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int

    @property
    def is_images(self) -> bool:
        """Whether it is uint8 (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels."""
        # In NumPy, three dimensions that end with channels are a single picture.
        is_grey = len(self.shape) == 3 and (self.kind == "IDX" or self.shape[2] not in (1, 3, 4))
        has_channels = len(self.shape) == 4 and bool({1, 3} & {self.shape[1], self.shape[3]})
        return self.dtype == np.uint8 and (is_grey or has_channels)

    @property
    def name(self) -> str:
        """The path without `.gz` and `.npy`, in which the images are numbered."""
        return re.sub(r"(\.npy)?(\.gz)?$", "", self.file.path)

    @property
    def key(self) -> PurePath:
        """The name without the differences between copies of MNIST: `train-images.idx3-ubyte.gz` has a hyphen."""
        return PurePath(self.name.replace(".", "-").lower())

    @cached_property
    def content_hash(self) -> str:
        """The SHA-256 of the values."""
        remaining, hasher = math.prod(self.shape) * self.dtype.itemsize, hashlib.sha256()
        with self.values() as stream:
            while remaining > 0 and (data := stream.read(min(_CHUNK, remaining))):
                hasher.update(data)
                remaining -= len(data)
        return hasher.hexdigest()

    @contextmanager
    def values(self) -> Iterator[IO[bytes]]:
        """Open the file after the header; damage raises a `SourceError`."""
        try:
            with self.file.open() as stream:
                is_gzip = self.file.start.startswith(_GZIP)
                content = cast("IO[bytes]", gzip.GzipFile(fileobj=stream)) if is_gzip else stream
                content.read(self.offset)
                yield content
        except _DAMAGE as error:
            raise self.damaged(str(error)) from None

    def images(self) -> Iterator[bytes]:
        """Yield each image as PPM; the caller has called `require_plausible`."""
        count, height, width, channels, comes_first = *self._layout(), self.shape[-1] not in (1, 3)
        with self.values() as stream:
            for number in range(count):
                data = stream.read(height * width * channels)
                if len(data) < height * width * channels:
                    raise self.damaged(f"it ends after {number:,} of {count:,} images")
                if channels == 3 and comes_first:
                    data = np.frombuffer(data, np.uint8).reshape(channels, height, width).transpose(1, 2, 0).tobytes()
                yield as_ppm(data, width, height, channels)
            # The checksum of gzip and of zip comes after the last image.
            stream.read(1)

    def require_plausible(self) -> None:
        """Raise a `SourceError` for a header that claims more than the file holds: it must not decide the memory."""
        count, height, width, channels = self._layout()
        if not 0 < height * width * channels <= _MAX_IMAGE_BYTES:
            raise self.damaged(f"it claims images of {width}x{height}")
        size = self.offset + count * height * width * channels
        if not self.file.start.startswith(_GZIP) and self.file.size < size:
            raise self.damaged(f"it ends before the last of {count:,} images of {width}x{height}")

    def damaged(self, problem: str) -> SourceError:
        """Return the error for a damaged file."""
        disk = self.file.disk
        place = str(disk) if disk.name == PurePath(self.file.path).name else f"{disk}: {self.file.path}"
        return SourceError(f"`{place}` must be a whole {self.kind} file ({problem}). Copy or download it again.")

    def _layout(self) -> tuple[int, int, int, int]:
        """Return number, height, width and channels of the images."""
        count, *sides = self.shape
        if len(sides) == 2:
            return count, sides[0], sides[1], 1
        return (count, *sides) if sides[2] in (1, 3) else (count, sides[1], sides[2], sides[0])  # type: ignore[return-value]


def read_array(file: SourceFile) -> Array | None:
    """Return the array of a file, from its first bytes, or None if it is of another kind."""
    start = file.start
    with suppress(ValueError, struct.error, zlib.error):
        if start.startswith(_GZIP):
            start = zlib.decompressobj(31).decompress(start, HEAD_BYTES)
        if start.startswith(_IDX) and 1 <= start[3] <= 4:
            offset = 4 + 4 * start[3]
            return Array(file, "IDX", struct.unpack(f">{start[3]}I", start[4:offset]), np.dtype(np.uint8), offset)
        if start.startswith(_NPY):
            stream = io.BytesIO(start)
            np.lib.format.read_magic(stream)
            shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
            # The values of an array in Fortran order are not in the order of the images.
            is_ordered = not is_fortran or len(shape) == 1
            return (
                Array(file, "npy", shape, dtype, stream.tell()) if is_ordered and min(shape, default=0) >= 0 else None
            )
    return None
