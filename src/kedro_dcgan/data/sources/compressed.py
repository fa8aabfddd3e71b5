"""A file that may be compressed by gzip, bzip2 or xz, read forwards within limits.

A few compressed bytes can expand to terabytes, and a header can claim gigabytes of memory: neither is trusted.
"""

import bz2
import gzip
import lzma
from functools import partial
from pathlib import Path
from typing import IO, cast

from kedro_dcgan.errors import SourceError

# An archive of images hardly shrinks. The allowance is for small archives of drawings.
_MAX_RATIO, _ALLOWANCE = 100, 1_000_000_000
# Twice the dictionary of `xz -9`.
_MAX_XZ_MEMORY = 128 << 20
_CHUNK = 1 << 16
_new_decompressor = partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, memlimit=_MAX_XZ_MEMORY)


class ForwardStream:
    """The decompressed content of a file, with the methods of a binary file that tarfile needs.

    `budget` is how many bytes `read` may still return; the caller renews it. The total is limited to a multiple of the
    size of the file.
    """

    def __init__(self, path: Path, budget: int) -> None:
        self.budget = budget
        self._path, self._position = path, 0
        self._max_bytes = _MAX_RATIO * path.stat().st_size + _ALLOWANCE
        # By the first bytes. Only an uncompressed file can seek without reading.
        with path.open("rb") as stream:
            start = stream.read(6)
        kinds = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", _XzFile))
        opener = next((opener for magic, opener in kinds if start.startswith(magic)), None)
        self._stream = cast("IO[bytes]", opener(path) if opener else path.open("rb"))
        self._can_seek = opener is None

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, or fewer at the end; more than the budget is a `ValueError`."""
        if not 0 <= size <= self.budget:
            raise ValueError(f"a header claims {size:,} bytes")
        self.budget -= size
        return self._read(size)

    def seek(self, position: int) -> int:
        """Skip forwards to a position; in a compressed file, at most to the end."""
        if position < self._position:
            raise OSError("cannot seek backwards")
        if self._can_seek:
            self._position = self._stream.seek(position)
        while self._read(min(position - self._position, _CHUNK)):
            pass
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        self._stream.close()

    def _read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._position += len(data)
        if self._position > self._max_bytes and not self._can_seek:
            raise SourceError(
                f"`{self._path}` must expand to at most {self._max_bytes:,} bytes, {_MAX_RATIO} times its size plus "
                f"{_ALLOWANCE:,} (it expands to more). If you trust it, unpack it yourself and pass the folder."
            )
        return data


class _XzFile:
    """The decompressed content of an xz file of one or several streams; unlike `lzma.open`, with a memory limit."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.open("rb")
        self._decompressor = _new_decompressor()

    def read(self, size: int) -> bytes:
        data = b""
        try:
            while len(data) < size and (chunk := self._next_chunk()) is not None:
                data += self._decompressor.decompress(chunk, size - len(data))
        except lzma.LZMAError as error:
            # This error has no type of its own.
            if "Memory usage limit" not in str(error):
                raise
            raise SourceError(
                f"`{self._path}` must need at most {_MAX_XZ_MEMORY >> 20} MiB of memory to be decompressed, as "
                "files by `xz -9` do (it claims more). Compress it again."
            ) from None
        return data

    def close(self) -> None:
        self._file.close()

    def _next_chunk(self) -> bytes | None:
        """Return the next input: empty while the decompressor has more to return, None at the end of the file."""
        if not self._decompressor.eof:
            chunk = self._file.read(_CHUNK) if self._decompressor.needs_input else b""
            if self._decompressor.needs_input and not chunk:
                raise EOFError("it ends within a compressed stream")
            return chunk
        # Another stream may follow, after a padding of null bytes.
        chunk = self._decompressor.unused_data.lstrip(b"\0")
        while not chunk:
            read = self._file.read(_CHUNK)
            if not read:
                return None
            chunk = read.lstrip(b"\0")
        self._decompressor = _new_decompressor()
        return chunk
