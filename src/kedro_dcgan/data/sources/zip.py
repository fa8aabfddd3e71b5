"""A zip archive. Members are read into memory, one at a time and under a cap; nothing is extracted."""

import hashlib
import zipfile
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kedro_dcgan.data.scan import Input
from kedro_dcgan.data.sources.source import (
    Limits,
    OwnNames,
    is_hidden,
    label_of,
    may_not_be_read,
    require_unchanged,
    stamp,
)
from kedro_dcgan.data.sources.zip_directory import find_directory, read_entries, read_entry
from kedro_dcgan.data.sources.zip_member import read_member
from kedro_dcgan.data.verdicts import Reason
from kedro_dcgan.errors import SourceError, UnusableImageError

_DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, ValueError, OverflowError)


class ZipSource:
    """The members of a zip archive, in the order of their names.

    Raises:
        SourceError: on construction, if it cannot be read as one or has too many members.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits
        # Taken once: the members that are listed here are no others than those that blocks read.
        self._stamp = stamp(path)
        try:
            names, positions = self._read_directory()
        except _DAMAGE as error:
            raise SourceError(
                f"`ingestion.source` must be a whole zip archive (got {path}: {error}). Copy or download it again."
            ) from None
        order = sorted(range(len(names)), key=names.__getitem__)
        self._names = [names[number] for number in order]
        self._positions = array("Q", (positions[number] for number in order))
        self.count = len(names)

    @staticmethod
    def recognises(path: Path) -> bool:
        """Tell whether it is a zip archive, by its content: also one that was cut off, to say so."""
        return path.is_file() and (_begins_as_zip(path) or zipfile.is_zipfile(path))

    def blocks(self, size: int) -> Iterator["ZipBlock"]:
        """Yield the members, `size` at a time."""
        for start in range(0, self.count, size):
            names, positions = tuple(self._names[start : start + size]), self._positions[start : start + size]
            yield ZipBlock(self._path, self._stamp, names, positions, self._shift, self._limits.file_bytes)

    def _read_directory(self) -> tuple[list[str], "array[int]"]:
        """Return the members' names, our own, and where the directory's entries for them are."""
        own, names, positions, compressed_size = OwnNames(), list[str](), array("Q"), 0
        with self._path.open("rb") as stream:
            directory = find_directory(stream)
            self._shift = directory.shift
            for position, entry in read_entries(stream, directory):
                name = entry.name.partition("\0")[0]
                if not name.endswith("/"):
                    names.append(own.name(name))
                    positions.append(position)
                    self._limits.require_count(len(names))
                    compressed_size += entry.compressed_size
        # The same bytes as ten thousand members: so bombs become more than deflate alone would let them.
        if compressed_size > directory.start:
            raise zipfile.BadZipFile(
                f"its members claim {compressed_size:,} of {directory.start:,} bytes: they overlap"
            )
        return names, positions


@dataclass(frozen=True)
class ZipBlock:
    """Some members of a zip archive, by where the directory's entries for them are: nobody else needs the directory."""

    archive: Path
    stamp: str
    paths: tuple[str, ...]
    positions: "array[int]"
    shift: int
    most_bytes: int

    def fingerprint(self) -> str:
        """Hash the archive's size and time of change, and which members these are."""
        return hashlib.sha256(f"{self.stamp} {self.positions.tolist()}".encode()).hexdigest()

    def read(self) -> Iterator[Input]:
        """Yield the members.

        Raises:
            SourceError: if the archive is gone or has changed.
        """
        require_unchanged(self.archive, self.stamp)
        with self.archive.open("rb") as stream, self.archive.open("rb") as directory:
            for path, position in zip(self.paths, self.positions, strict=True):
                problem, data = None, b""
                try:
                    if is_hidden(path):
                        raise UnusableImageError(Reason.HIDDEN)
                    directory.seek(position)
                    data = read_member(stream, read_entry(directory, self.shift), self.most_bytes)
                except UnusableImageError as error:
                    problem = error
                except _DAMAGE as error:
                    problem = UnusableImageError(Reason.CORRUPT, f"{type(error).__name__}: {error}"[:200])
                yield Input(path, data, label_of(path), problem)
        require_unchanged(self.archive, self.stamp)


def _begins_as_zip(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(4) == b"PK\x03\x04"
    except PermissionError:
        raise may_not_be_read(path) from None
    except OSError:
        return False
