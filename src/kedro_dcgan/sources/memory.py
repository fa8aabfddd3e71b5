"""Blocks whose inputs were read already, by sources that can only be read from one end to the other."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kedro_dcgan.data.scan import Input
from kedro_dcgan.sources.names import require_unchanged, stamp

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
