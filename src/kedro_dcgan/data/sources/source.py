"""The parts that several kinds of image source share.

Blocks go to worker processes, so this module and its imports must load fast.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from kedro_dcgan.errors import SourceError, UnusableImageError

# Enough bytes to recognise the kind of a file and to read the header of an array.
HEAD_BYTES = 1024
# Files that belong to images: descriptions, labels, features, lists.
_SIDE_SUFFIXES = frozenset((
    ".cls", ".csv", ".db", ".html", ".id", ".index", ".ini", ".json", ".jsonl", ".log", ".mat", ".md", ".md5", ".npy",
    ".npz", ".parquet", ".pdf", ".rst", ".sha256", ".tsv", ".txt", ".url", ".xls", ".xlsx", ".xml", ".yaml", ".yml",
))  # fmt: skip
_SIDE_NAMES = frozenset(("readme", "license", "licence", "copying", "manifest", "sha256sums", "md5sums"))
# O_NONBLOCK: opening a pipe that took the place of a file would block.
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
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
class SourceFile:
    """A file that a source can open: its `path` as in the manifest, size in bytes and first bytes.

    `entry` is the path of the input that it is, or is part of; `disk` is the file on disk that it is, or is part of.
    """

    path: str
    entry: str
    disk: Path
    size: int
    start: bytes
    open: Callable[[], AbstractContextManager[IO[bytes]]]

    @classmethod
    def on_disk(cls, file: Path, path: str) -> Self:
        """Return a file of a folder, or raise an `OSError`; a link is not followed."""

        def open_file() -> IO[bytes]:
            return open(file, "rb", opener=lambda name, _: os.open(name, OPEN_FLAGS))

        with open_file() as stream:
            return cls(path, path, file, os.fstat(stream.fileno()).st_size, stream.read(HEAD_BYTES), open_file)


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


def is_side_file(path: str) -> bool:
    """Return whether a path is that of a side file, such as labels or a README, by its name."""
    stem, suffix = os.path.splitext(path.rpartition("/")[2].lower())  # noqa: PTH122  (a path of an archive)
    return suffix in _SIDE_SUFFIXES or stem in _SIDE_NAMES


def as_ppm(pixels: bytes, width: int, height: int, channels: int = 1) -> bytes:
    """Put the header of a binary PGM or PPM file before raw uint8 pixels `(height, width, channels)`."""
    return b"P%d\n%d %d\n255\n%s" % (5 if channels == 1 else 6, width, height, pixels)
