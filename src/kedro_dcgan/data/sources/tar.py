"""A tar archive, plain or compressed. It is read from one end to the other; nothing is extracted."""

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self, cast

from kedro_dcgan.data.scan import Input
from kedro_dcgan.data.sources.compressed import Expanding, open_compressed
from kedro_dcgan.data.sources.source import (
    Limits,
    MemoryBlock,
    OwnNames,
    empty,
    in_blocks,
    is_hidden,
    label_of,
    may_not_be_read,
)
from kedro_dcgan.data.verdicts import Reason
from kedro_dcgan.errors import SourceError, UnusableImageError

# The last one: tarfile follows a chain of headers by recursion.
_DAMAGE = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, RecursionError)
# More than the headers of any member have; a hostile one claims terabytes.
_MOST_HEADER_BYTES = 1_000_000


class TarSource:
    """The members of a tar archive, in its own order. How many they are is known only at its end."""

    count: int | None = None

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits

    @staticmethod
    def recognises(path: Path) -> bool:
        """Tell whether it is a tar archive, by its content."""
        # Opening a pipe would wait for ever.
        return path.is_file() and _is_tar(path)

    def blocks(self, size: int) -> Iterator[MemoryBlock]:
        """Yield the members, `size` at a time.

        Raises:
            SourceError: if the archive is empty, damaged, cut off or changed while it is read, or has too many members.
        """
        return in_blocks(self._inputs(), size, [self._path])

    def _inputs(self) -> Iterator[Input]:
        own, count = OwnNames(), 0
        try:
            with _Guarded(open_compressed(self._path)) as stream:
                archive = _archive(stream)
                while member := archive.next():
                    # tarfile would remember all of them, and all that global headers say.
                    archive.members.clear()  # type: ignore[attr-defined]  # the stubs leave it out
                    archive.pax_headers = {}
                    if not member.isdir():
                        count += 1
                        self._limits.require_count(count)
                        stream.left = self._limits.file_bytes
                        yield _read(archive, member, own.name(member.name), self._limits.file_bytes)
                    stream.left = _MOST_HEADER_BYTES
                # Behind the last member: there gzip has its checksum.
                stream.read(stream.left)
        except _DAMAGE as error:
            raise SourceError(
                f"`ingestion.source` must be a whole tar archive (got {self._path}, damaged or cut off after "
                f"{count:,} files: {error}). Copy or download it again."
            ) from None
        if count == 0:
            raise empty(self._path)


class _Member(tarfile.TarInfo):
    """A member with a whole header: tarfile takes a damaged one, or none at all, for the archive's end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            member = super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the stubs leave it out
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None
        if member.size < 0:
            # tarfile would go back, and round for ever.
            raise tarfile.ReadError(f"a header claims {member.size:,} bytes")
        return member


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, most_bytes: int) -> Input:
    problem, data = _problem(member, path, most_bytes), b""
    if problem is None:
        stream = archive.extractfile(member)
        data = stream.read() if stream else b""
    return Input(path, data, label_of(path), problem)


def _problem(member: tarfile.TarInfo, path: str, most_bytes: int) -> UnusableImageError | None:
    if is_hidden(path):
        return UnusableImageError(Reason.HIDDEN)
    if member.issym() or member.islnk():
        return UnusableImageError(Reason.LINK, f"points to {member.linkname[:200]!a}")
    if not member.isfile() or member.issparse():
        return UnusableImageError(Reason.NOT_A_FILE, "a device, a pipe or a file with holes")
    if member.size > most_bytes:
        return UnusableImageError(Reason.TOO_LARGE, f"{member.size:,} bytes, limit {most_bytes:,}")
    return None


class _Guarded:
    """A stream that gives `left` bytes and no more: tarfile believes what a header says of its own length."""

    def __init__(self, stream: IO[bytes] | Expanding) -> None:
        self._stream, self.left = stream, _MOST_HEADER_BYTES
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self.left:
            raise tarfile.ReadError(f"a header claims {size:,} bytes")
        self.left -= size
        return self._stream.read(size)

    def __enter__(self) -> "_Guarded":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def _is_tar(path: Path) -> bool:
    try:
        with _Guarded(open_compressed(path)) as stream:
            _archive(stream)
    except PermissionError:
        raise may_not_be_read(path) from None
    except _DAMAGE:
        return False
    return True


def _archive(stream: _Guarded) -> tarfile.TarFile:
    return tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:", tarinfo=_Member)
