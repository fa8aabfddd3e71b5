"""Files that may be compressed (gz, bz2, xz), read from one end to the other.

A few bytes may become any amount of data: there is an end to it, whatever the file says.
"""

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from kedro_dcgan.data.sources.xz import open_xz
from kedro_dcgan.errors import SourceError

# Images hardly shrink: no archive of them comes near. The second is for small archives of drawings.
_MOST_TIMES, _MOST_BESIDE = 100, 1_000_000_000
_PIECE = 1 << 16


class Expanding:
    """What a compressed file becomes, read forwards; it counts, and going on to a position is reading, too."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._stream, self._path, self._position = stream, path, 0
        self._most = _MOST_TIMES * path.stat().st_size + _MOST_BESIDE

    def read(self, size: int) -> bytes:
        """Return the next bytes.

        Raises:
            SourceError: if there are too many for what the file has.
        """
        data = self._stream.read(size)
        self._position += len(data)
        if self._position > self._most:
            raise SourceError(
                f"`{self._path}` must become at most {self._most:,} bytes, {_MOST_TIMES} times its size and "
                f"{_MOST_BESIDE:,} (it becomes more). Unpack it yourself if you trust it, and pass the folder."
            )
        return data

    def seek(self, position: int) -> int:
        """Go on to a position, or to the end."""
        if position < self._position:
            raise OSError("a step back in a compressed file")
        while self.read(min(position - self._position, _PIECE)):
            pass
        return self._position

    def tell(self) -> int:
        """Return how much was read."""
        return self._position

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def open_compressed(path: Path) -> IO[bytes] | Expanding:
    """Open a file; one that is compressed, by its first bytes, as what it was before.

    Raises:
        SourceError: now or when it is read, if it needs too much memory or becomes too large.
    """
    with path.open("rb") as stream:
        start = stream.read(6)
    openers: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": open_xz}
    opener = next((opener for magic, opener in openers.items() if start.startswith(magic)), None)
    return Expanding(opener(path), path) if opener else path.open("rb")
