"""What every kind of source is."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kedro_dcgan.data.scan import Block, Input
from kedro_dcgan.errors import SourceError


@dataclass(frozen=True)
class Limits:
    """What a source may hold: bytes of one file, and number of files."""

    file_bytes: int
    files: int

    def require_count(self, count: int) -> None:
        """Refuse a source that holds too many files.

        Raises:
            SourceError: if `count` is over the limit.
        """
        if count > self.files:
            raise SourceError(
                f"`ingestion.source` must hold at most `ingestion.max_files` {self.files:,} files (it has more). "
                "Raise that, or pass another with --params ingestion.source=PATH."
            )


class Source(Protocol):
    """Inputs that may be images."""

    @property
    def count(self) -> int | None:
        """How many they are; nothing if that is known only when all are read."""

    def blocks(self, size: int) -> Iterator[Block]:
        """Yield all inputs, in an order that depends on the content alone; a new block begins after every `size`."""


def empty(path: Path) -> SourceError:
    """Return the error that says there is nothing in a source."""
    return SourceError(
        f"`ingestion.source` must hold at least one file (got {path}, empty). "
        "Pass another: --params ingestion.source=PATH."
    )


def may_not_be_read(path: Path) -> SourceError:
    """Return the error that says who reads a source may not."""
    return SourceError(
        f"`{path}` must be a file that you may read (it may not be read). Allow it: chmod u+r, or copy it."
    )


# TODO(merge) sources.memory

# The block is sent to a worker: so much of it may wait there, times eight for each worker.
_MOST_BYTES = 8_000_000


@dataclass(frozen=True)
class MemoryBlock:
    """Some inputs with their bytes; `stamp` is that of the files they are from."""

    inputs: tuple[Input, ...]
    stamp: str

    @property
    def paths(self) -> tuple[str, ...]:
        """The inputs' paths."""
        return tuple(item.path for item in self.inputs)

    def fingerprint(self) -> str:
        """Hash the files' sizes and times of change, and which inputs these are."""
        return hashlib.sha256("\0".join((self.stamp, *self.paths)).encode()).hexdigest()

    def read(self) -> Iterator[Input]:
        """Yield the inputs."""
        yield from self.inputs


def in_blocks(inputs: Iterable[Input], size: int, files: Sequence[Path]) -> Iterator[MemoryBlock]:
    """Gather inputs from `files` into blocks that end after every `size` inputs, and before that where they grow large.

    Raises:
        SourceError: if a file changes before the last block.
    """
    before = [stamp(file) for file in files]

    def block() -> MemoryBlock:
        for file, stamped in zip(files, before, strict=True):
            require_unchanged(file, stamped)
        return MemoryBlock(tuple(gathered), " ".join(before))

    gathered: list[Input] = []
    number = total = 0
    for number, item in enumerate(inputs, start=1):
        gathered.append(item)
        total += len(item.data)
        if number % size == 0 or total >= _MOST_BYTES:
            yield block()
            gathered, total = [], 0
    if gathered:
        yield block()


def as_ppm(pixels: bytes, width: int, height: int, channels: int = 1) -> bytes:
    """Put the header of a binary PGM or PPM file before raw uint8 pixels `(height, width, channels)`."""
    return b"P%d\n%d %d\n255\n%s" % (5 if channels == 1 else 6, width, height, pixels)


# TODO(merge) sources.names

# A drive, the root or a step, as often as a hostile name has them.
_BEGINNING = re.compile(r"^(?:[A-Za-z]:|\.{0,2}/)+")
# A name in a compressed header may have a million characters, and so may the next.
_LONGEST = 1000


class OwnNames:
    """Gives each member a relative path with `/` that no other has."""

    def __init__(self) -> None:
        # Each given name, with the last number that was put behind it.
        self._given: dict[str, int] = {}

    def name(self, member: str) -> str:
        """Return the name without drive, root, `.` and `..`; of equal ones the second gets `#2`."""
        parts = _BEGINNING.sub("", member.replace("\\", "/")).split("/")
        kept = "/".join(part for part in parts if part not in ("", ".", ".."))[:_LONGEST].rstrip("/")
        # Names of tar members may hold bytes that are not UTF-8, as surrogates.
        name = kept.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") or "unnamed"
        given, number = name, self._given.get(name, 1)
        while given in self._given:
            number += 1
            given = f"{name}#{number}"
        self._given[name] = number
        self._given.setdefault(given, 1)
        return given


def label_of(path: str) -> str | None:
    """Return the folder of a path as the label of what lies in it, or nothing at the top."""
    return path.rpartition("/")[0] or None


def is_hidden(path: str) -> bool:
    """Tell whether the name of a file, or of a folder that it lies in, begins with a dot."""
    return path.startswith(".") or "/." in path


def stamp(path: Path) -> str:
    """Return what changes when a file does, without reading it: size and time of change; `gone` if it is."""
    try:
        status = path.stat()
    except OSError:
        return "gone"
    return f"{status.st_size} {status.st_mtime_ns}"


def require_unchanged(path: Path, before: str) -> None:
    """Check that a file is still the one that a stamp is of.

    Raises:
        SourceError: if it has changed or is gone.
    """
    if stamp(path) != before:
        raise SourceError(f"`{path}` must stay as it is while it is read (it has changed). Run again.")
