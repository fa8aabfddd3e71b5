"""The parts that several kinds of image source share.

Blocks go to worker processes, so this module and its imports must load fast.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kedro_dcgan.errors import SourceError, UnusableImageError

# Up to eight memory blocks per worker wait in its queue, so this bounds the memory.
_MAX_BLOCK_BYTES = 8_000_000


@dataclass(frozen=True, slots=True)
class Input:
    """One file of a source: its bytes, or the reason why they cannot be read. The label of a file is its folder."""

    path: str
    data: bytes = b""
    label: str | None = None
    problem: UnusableImageError | None = None


@dataclass(frozen=True)
class Limits:
    """The largest size of one file in bytes, and the largest number of files."""

    file_bytes: int
    files: int

    def require_count(self, count: int) -> None:
        """Raise a `SourceError` if there are more files than allowed."""
        if count > self.files:
            raise SourceError(
                f"`ingestion.source` must hold at most `ingestion.max_files` {self.files:,} files (it has more). "
                "Raise the limit, or pass another source: --params ingestion.source=PATH."
            )


@dataclass(frozen=True)
class MemoryBlock:
    """Some inputs with their bytes; `stamp` identifies the state of the files that they come from."""

    inputs: tuple[Input, ...]
    stamp: str

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(item.path for item in self.inputs)

    def fingerprint(self) -> str:
        return hashlib.sha256("\0".join((self.stamp, *self.paths)).encode()).hexdigest()

    def read(self) -> Iterator[Input]:
        yield from self.inputs


def gather_blocks(inputs: Iterable[Input], size: int, stamps: Mapping[Path, str]) -> Iterator[MemoryBlock]:
    """Gather inputs into blocks that end after every `size` inputs, or earlier if they grow large.

    `stamps` has the stamp of each file that the inputs are read from: these files must not change.
    """
    stamp, remaining, taken = " ".join(stamps.values()), iter(inputs), 0
    while first := next(remaining, None):
        gathered, total = [first], len(first.data)
        # A block begins after every `size` inputs, and after one that has grown large.
        while (taken + len(gathered)) % size and total < _MAX_BLOCK_BYTES and (item := next(remaining, None)):
            gathered.append(item)
            total += len(item.data)
        taken += len(gathered)
        for file, now in stamp_files(stamps).items():
            if now != stamps[file]:
                raise SourceError(f"`{file}` must stay as it is while it is read (it has changed). Run again.")
        yield MemoryBlock(tuple(gathered), stamp)


def stamp_files(files: Iterable[Path]) -> dict[Path, str]:
    """Return size and modification time of each file as text, or `gone` for a missing file."""
    stamps = dict.fromkeys(files, "gone")
    for file in stamps:
        with contextlib.suppress(OSError):
            status = file.stat()
            stamps[file] = f"{status.st_size} {status.st_mtime_ns}"
    return stamps


def invalid_source(rule: str, value: str) -> SourceError:
    """Return the error for a source that is not what it must be."""
    return SourceError(f"`ingestion.source` must {rule} (got {value}). Pass another: --params ingestion.source=PATH.")


def as_ppm(pixels: bytes, width: int, height: int, channels: int = 1) -> bytes:
    """Put the header of a binary PGM or PPM file before raw uint8 pixels `(height, width, channels)`."""
    return b"P%d\n%d %d\n255\n%s" % (5 if channels == 1 else 6, width, height, pixels)
