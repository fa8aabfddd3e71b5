"""What every kind of source is."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kedro_dcgan.data.scan import Block
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
