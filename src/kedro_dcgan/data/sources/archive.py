"""Zip and tar archives. Members are read into memory one at a time, under limits; nothing is extracted to disk.

The parent process reads an archive and sends the bytes to the workers. A damaged, encrypted or otherwise unusable
member is skipped with a reason. A damaged table of contents or tar header makes the whole archive unusable.
"""

import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Self, cast

from kedro_dcgan.data import Reason
from kedro_dcgan.data.sources.compressed import ForwardStream
from kedro_dcgan.data.sources.source import (
    HEAD_BYTES,
    Input,
    Limits,
    MemoryBlock,
    SourceFile,
    gather_blocks,
    invalid_source,
    stamp_files,
)
from kedro_dcgan.errors import SourceError, UnusableImageError

_ZIP_DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError)
# RecursionError: tarfile follows a chain of headers by recursion.
_TAR_DAMAGE = (tarfile.TarError, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, RecursionError)
# Encrypted, a patch of another file, strongly encrypted.
_ENCRYPTED_FLAGS = 1 | 1 << 5 | 1 << 6
# More than the headers of any real tar member; a hostile header claims terabytes.
_MAX_HEADER_BYTES = 1_000_000
# A drive, a root or a relative step ("C:", "/", "../"), repeated as often as a hostile name repeats them.
_PREFIX = re.compile(r"^(?:[A-Za-z]:|\.{0,2}/)+")
# A name in a compressed header may have a million characters.
_MAX_NAME_LENGTH = 1000


def safe_name(member: str, used: dict[str, int]) -> str:
    """Return the name of a member as a relative path, without drive, root, `.` and `..`; its second use gets `#2`.

    `used` has each name in use, with the last number that was appended to it, and is updated.
    """
    parts = _PREFIX.sub("", member.replace("\\", "/")).split("/")
    kept = "/".join(part for part in parts if part not in ("", ".", ".."))[:_MAX_NAME_LENGTH].rstrip("/")
    # tarfile decodes bytes that are not UTF-8 as surrogates.
    name = kept.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") or "unnamed"
    unique, number = name, used.get(name, 1)
    while unique in used:
        number += 1
        unique = f"{name}#{number}"
    used[name] = number
    used.setdefault(unique, 1)
    return unique


def _is_hidden(path: str) -> bool:
    return path.startswith(".") or "/." in path


def _input_of(path: str, read: Callable[[], bytes]) -> Input:
    """Return a member with its bytes, or with the problem that `read` raises; hidden members are not read."""
    label = path.rpartition("/")[0] or None
    try:
        if _is_hidden(path):
            raise UnusableImageError(Reason.HIDDEN)
        return Input(path, read(), label)
    except UnusableImageError as error:
        return Input(path, label=label, problem=error)


class ZipSource:
    """The members of a zip archive, in the order of their names."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits
        # Taken before the members are listed: blocks must be read from the same archive.
        self._stamps = stamp_files([path])
        try:
            self._archive = zipfile.ZipFile(path)
            members = [member for member in self._archive.infolist() if not member.filename.endswith("/")]
            # Ten thousand members could share the same bytes, and expand to more than deflate alone allows.
            claimed = sum(member.compress_size for member in members)
            if claimed > path.stat().st_size:
                raise zipfile.BadZipFile(f"its members claim {claimed:,} bytes: they overlap")
        except _ZIP_DAMAGE as error:
            raise SourceError(
                f"`ingestion.source` must be a whole zip archive (got {path}: {error}). Copy or download it again."
            ) from None
        self.count = len(members)
        limits.require_count(self.count)
        used: dict[str, int] = {}
        named = ((safe_name(member.filename, used), member) for member in members)
        self._members = sorted(named, key=lambda pair: pair[0])

    @staticmethod
    def recognises(path: Path) -> bool:
        """Return whether a file is a zip archive, by its content, even if the archive was cut off."""
        with suppress(OSError), path.open("rb") as stream:
            return stream.read(4) == b"PK\x03\x04" or zipfile.is_zipfile(path)
        return False

    def blocks(self, size: int) -> Iterator[MemoryBlock]:
        inputs = (_input_of(path, partial(self._read, member)) for path, member in self._members)
        return gather_blocks(inputs, size, self._stamps)

    def files(self) -> Iterator[SourceFile]:
        """Yield the readable members that are not hidden."""
        for path, member in self._members:
            if not _is_hidden(path):
                with suppress(*_ZIP_DAMAGE, UnusableImageError):
                    self._require_readable(member)
                    with self._archive.open(member) as stream:
                        start = stream.read(HEAD_BYTES)
                    opener = partial(self._archive.open, member)
                    yield SourceFile(path, path, self._path, member.file_size, start, opener)

    @staticmethod
    def _require_readable(member: zipfile.ZipInfo) -> None:
        if stat.S_ISLNK(member.external_attr >> 16):
            raise UnusableImageError(Reason.LINK)
        if member.flag_bits & _ENCRYPTED_FLAGS:
            raise UnusableImageError(Reason.UNREADABLE, "encrypted")
        # zipfile limits the memory of no other method.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnusableImageError(Reason.UNREADABLE, "compressed by another method than deflate: zip it again")

    def _read(self, member: zipfile.ZipInfo) -> bytes:
        max_bytes = self._limits.file_bytes
        self._require_readable(member)
        if member.file_size > max_bytes:
            raise UnusableImageError(Reason.TOO_LARGE, f"{member.file_size:,} bytes, limit {max_bytes:,}")
        try:
            with self._archive.open(member) as stream:
                # Without a size, zipfile would decompress all, whatever size the member claims.
                data = stream.read(member.file_size + 1)
            if len(data) != member.file_size:
                raise zipfile.BadZipFile(f"{len(data):,} bytes in place of {member.file_size:,}")
        except _ZIP_DAMAGE as error:
            raise UnusableImageError(Reason.CORRUPT, f"{type(error).__name__}: {error}"[:200]) from None
        return data


class TarSource:
    """The members of a tar archive, plain or compressed, in its own order; their number is known only at its end."""

    count: int | None = None

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits

    @staticmethod
    def recognises(path: Path) -> bool:
        """Return whether a file is a tar archive, by its content."""
        with suppress(*_TAR_DAMAGE), closing(ForwardStream(path, _MAX_HEADER_BYTES)) as stream, _open_tar(stream):
            return True
        return False

    def blocks(self, size: int) -> Iterator[MemoryBlock]:
        return gather_blocks(self._inputs(), size, stamp_files([self._path]))

    def files(self) -> Iterator[SourceFile]:
        """Yield the members that are regular files and not hidden, up to any damage."""
        with suppress(*_TAR_DAMAGE), closing(ForwardStream(self._path, _MAX_HEADER_BYTES)) as stream:
            for path, archive, member in self._members(stream):
                content = archive.extractfile(member) if member.isreg() and not member.issparse() else None
                if content and not _is_hidden(path):
                    start, opener = content.read(HEAD_BYTES), partial(self._open, path)
                    yield SourceFile(path, path, self._path, member.size, start, opener)

    @contextmanager
    def _open(self, wanted: str) -> Iterator[IO[bytes]]:
        """Open a member, by reading the archive from its beginning."""
        with closing(ForwardStream(self._path, _MAX_HEADER_BYTES)) as stream:
            found = next((found for found in self._members(stream) if found[0] == wanted), None)
            if found is None:
                raise tarfile.ReadError("the archive has changed")
            # The caller reads it in parts.
            stream.budget = found[2].size + _MAX_HEADER_BYTES
            yield cast("IO[bytes]", found[1].extractfile(found[2]))

    def _members(self, stream: ForwardStream) -> Iterator[tuple[str, tarfile.TarFile, tarfile.TarInfo]]:
        """Yield path, archive and header of each member that is not a folder; its bytes must be read at once."""
        archive, used, count = _open_tar(stream), dict[str, int](), 0
        while member := archive.next():
            # tarfile would keep all members and all global headers in memory.
            archive.members.clear()  # type: ignore[attr-defined]  # the stubs leave it out
            archive.pax_headers = {}
            if not member.isdir():
                count += 1
                self._limits.require_count(count)
                yield safe_name(member.name, used), archive, member
            stream.budget = _MAX_HEADER_BYTES

    def _inputs(self) -> Iterator[Input]:
        count = 0
        try:
            with closing(ForwardStream(self._path, _MAX_HEADER_BYTES)) as stream:
                for path, archive, member in self._members(stream):
                    count += 1
                    stream.budget = self._limits.file_bytes
                    yield _input_of(path, partial(self._read, archive, member))
                # The checksum of gzip comes after the last member.
                stream.read(stream.budget)
        except _TAR_DAMAGE as error:
            raise SourceError(
                f"`ingestion.source` must be a whole tar archive (got {self._path}, damaged or cut off after "
                f"{count:,} files: {error}). Copy or download it again."
            ) from None
        if count == 0:
            raise invalid_source("hold at least one file", f"{self._path}, empty")

    def _read(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
        max_bytes = self._limits.file_bytes
        if member.issym() or member.islnk():
            raise UnusableImageError(Reason.LINK, f"points to {member.linkname[:200]!a}")
        if not member.isfile() or member.issparse():
            raise UnusableImageError(Reason.NOT_A_FILE, "a device, a pipe or a sparse file")
        if member.size > max_bytes:
            raise UnusableImageError(Reason.TOO_LARGE, f"{member.size:,} bytes, limit {max_bytes:,}")
        stream = archive.extractfile(member)
        return stream.read() if stream else b""


class _StrictMember(tarfile.TarInfo):
    """A member whose header is checked: tarfile takes a damaged or missing header for the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            member = super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the stubs leave it out
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None
        if member.size < 0:
            # tarfile would seek backwards, and loop for ever.
            raise tarfile.ReadError(f"a header claims {member.size:,} bytes")
        return member


def _open_tar(stream: ForwardStream) -> tarfile.TarFile:
    return tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:", tarinfo=_StrictMember)
