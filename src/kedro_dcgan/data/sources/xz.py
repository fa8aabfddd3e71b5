"""Files compressed by xz, read with a limit to memory: a few bytes may ask for gigabytes, and lzma.open() obeys."""

import io
import lzma
from pathlib import Path
from typing import IO, Any

from kedro_dcgan.errors import SourceError

# Twice the dictionary of `xz -9`.
_MOST_MEMORY = 128 << 20
_PIECE = 1 << 16


def open_xz(path: Path) -> IO[bytes]:
    """Open a file that xz has compressed, in one stream or in several, one behind the other.

    Raises:
        SourceError: when it is read, if that takes too much memory.
    """
    return io.BufferedReader(_Xz(path))


class _Xz(io.RawIOBase):
    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.open("rb")
        self._stream = self._new_stream()

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: Any, /) -> int:
        data = b""
        while not data:
            piece = self._next_piece()
            if piece is None:
                return 0
            data = self._decompress(piece, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _next_piece(self) -> bytes | None:
        """Return what is to be decompressed next: empty where there is more to be had already, nothing at the end."""
        if self._stream.eof:
            # Zeros may stand between streams.
            piece = self._stream.unused_data.lstrip(b"\0")
            while not piece:
                read = self._file.read(_PIECE)
                if not read:
                    return None
                piece = read.lstrip(b"\0")
            self._stream = self._new_stream()
            return piece
        if not self._stream.needs_input:
            return b""
        piece = self._file.read(_PIECE)
        if not piece:
            raise EOFError("it ends within a compressed stream")
        return piece

    def _decompress(self, piece: bytes, most: int) -> bytes:
        try:
            return self._stream.decompress(piece, most)
        except lzma.LZMAError as error:
            # There is no type of its own for it.
            if "Memory usage limit" not in str(error):
                raise
            raise SourceError(
                f"`{self._path}` must need at most {_MOST_MEMORY >> 20} MiB of memory to be decompressed, as all of "
                "`xz -9` does (it claims more). Compress it again."
            ) from None

    @staticmethod
    def _new_stream() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_MEMORY)
