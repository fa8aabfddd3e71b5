"""A zip archive. Members are read into memory, one at a time and under a cap; nothing is extracted."""

import functools
import hashlib
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kedro_dcgan.errors import SourceError, UnusableImageError
from kedro_dcgan.images.scan import Input
from kedro_dcgan.images.verdicts import Reason
from kedro_dcgan.sources.names import OwnNames, is_hidden, label_of, require_unchanged, stamp
from kedro_dcgan.sources.source import Limits, may_not_be_read


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
            members = _open(str(path), self._stamp).infolist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise SourceError(
                f"`ingestion.source` must be a whole zip archive (got {path}: {error}). Copy or download it again."
            ) from None
        # By number, since two members may have one name. Not by is_dir(), which fails where there is none.
        numbers = [number for number, member in enumerate(members) if not member.filename.endswith("/")]
        limits.require_count(len(numbers))
        own = OwnNames()
        named = [(own.name(members[number].filename), number) for number in numbers]
        self._members = sorted(named, key=lambda pair: pair[0].encode())
        self.count = len(self._members)

    @staticmethod
    def recognises(path: Path) -> bool:
        """Tell whether it is a zip archive, by its content: also one that was cut off, to say so."""
        return path.is_file() and (_begins_as_zip(path) or zipfile.is_zipfile(path))

    def blocks(self, size: int) -> Iterator["ZipBlock"]:
        """Yield the members, `size` at a time."""
        for start in range(0, self.count, size):
            names, numbers = zip(*self._members[start : start + size], strict=True)
            yield ZipBlock(self._path, self._stamp, names, numbers, self._limits.file_bytes)


@dataclass(frozen=True)
class ZipBlock:
    """Some members of a zip archive, by their number in it."""

    archive: Path
    stamp: str
    paths: tuple[str, ...]
    numbers: tuple[int, ...]
    most_bytes: int

    def fingerprint(self) -> str:
        """Hash the archive's size and time of change, and which members these are."""
        return hashlib.sha256(f"{self.stamp} {self.numbers}".encode()).hexdigest()

    def read(self) -> Iterator[Input]:
        """Yield the members.

        Raises:
            SourceError: if the archive is gone or has changed.
        """
        require_unchanged(self.archive, self.stamp)
        archive = _open(str(self.archive), self.stamp)
        members = archive.infolist()
        for path, number in zip(self.paths, self.numbers, strict=True):
            problem, data = None, b""
            try:
                data = _read_member(archive, members[number], path, self.most_bytes)
            except UnusableImageError as error:
                problem = error
            except Exception as error:  # zipfile, zlib, bz2 and lzma raise half a dozen types for damage.
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


@functools.lru_cache(maxsize=2)
def _open(path: str, stamp: str) -> zipfile.ZipFile:
    # Once for each process: the list of members may be long. The stamp makes a changed archive another one.
    return zipfile.ZipFile(path)


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: str, most_bytes: int) -> bytes:
    if is_hidden(path):
        raise UnusableImageError(Reason.HIDDEN)
    if stat.S_ISLNK(member.external_attr >> 16):
        raise UnusableImageError(Reason.LINK)
    if member.flag_bits & 1:
        raise UnusableImageError(Reason.UNREADABLE, "encrypted")
    # zipfile has no limit to what a few bytes of any other become.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnusableImageError(Reason.UNREADABLE, "compressed by another method than deflate: zip it again")
    if member.file_size > most_bytes:
        raise UnusableImageError(Reason.TOO_LARGE, f"{member.file_size:,} bytes, limit {most_bytes:,}")
    with archive.open(member) as stream:
        # What the header says may be a lie: never read more than a member may have.
        data = stream.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise UnusableImageError(Reason.TOO_LARGE, f"more than {most_bytes:,} bytes")
    return data
