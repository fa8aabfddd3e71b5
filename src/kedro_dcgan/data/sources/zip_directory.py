"""The directory at the end of a zip archive, read an entry at a time: a list of them all takes a kilobyte a member.

The format: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3 to 4.5; numbers are little-endian.
"""

import os
import struct
from collections.abc import Iterator
from typing import IO, NamedTuple
from zipfile import BadZipFile

# Signature, flags, method, CRC, compressed size, size, lengths of name, extra and comment, mode, where the header is.
_ENTRY = struct.Struct("<4s4x2H4x3I3H6xHI")
# Signature, size and position of the directory.
_END, _END_64 = struct.Struct("<4s8x2I2x"), struct.Struct("<4s36x2Q")
# Signature, this disk, number of disks.
_LOCATOR_64 = struct.Struct("<4sI8xI")
_IN_EXTRA = 0xFFFFFFFF
_UTF_8 = 0x800


class Directory(NamedTuple):
    """Where the entries are; `shift` is what was put before the archive, from where it counts its positions."""

    start: int
    end: int
    shift: int


class Entry(NamedTuple):
    """What the directory says of a member; sizes in bytes, `header` is the position of the member's own header."""

    name: str
    flags: int
    method: int
    crc: int
    compressed_size: int
    size: int
    mode: int
    header: int


def find_directory(stream: IO[bytes]) -> Directory:
    """Find the directory of an archive.

    Raises:
        BadZipFile: if there is none: the archive was cut off.
    """
    size = stream.seek(0, os.SEEK_END)
    # Behind the last record there may be a comment.
    first = max(size - _END.size - 0xFFFF, 0)
    stream.seek(first)
    tail = stream.read(_END.size + 0xFFFF)
    found = tail.rfind(b"PK\5\6", 0, max(len(tail) - _END.size + 4, 0))
    if found < 0:
        raise BadZipFile("it has no directory at its end")
    end, (_, length, claimed) = first + found, _END.unpack_from(tail, found)
    large = _large_end(stream, end - _LOCATOR_64.size - _END_64.size)
    if large:
        end, length, claimed = large
    if length > end:
        raise BadZipFile("its directory begins before the file")
    return Directory(end - length, end, end - length - claimed)


def read_entries(stream: IO[bytes], directory: Directory) -> Iterator[tuple[int, Entry]]:
    """Yield the entries and their positions.

    Raises:
        BadZipFile: if one is damaged.
    """
    stream.seek(directory.start)
    while (position := stream.tell()) < directory.end:
        entry = read_entry(stream, directory.shift)
        if stream.tell() > directory.end:
            raise BadZipFile("its directory is damaged")
        yield position, entry


def read_entry(stream: IO[bytes], shift: int) -> Entry:
    """Read the entry that a stream is at, and go to the next one.

    Raises:
        BadZipFile: if it is damaged.
    """
    start = stream.read(_ENTRY.size)
    if len(start) < _ENTRY.size or not start.startswith(b"PK\1\2"):
        raise BadZipFile("its directory is damaged")
    _, flags, method, crc, *sizes, name_length, extra_length, comment_length, mode, header = _ENTRY.unpack(start)
    raw, extra = stream.read(name_length), stream.read(extra_length)
    stream.seek(comment_length, os.SEEK_CUR)
    compressed_size, size = sizes
    if _IN_EXTRA in (size, compressed_size, header):
        size, compressed_size, header = _large(extra, (size, compressed_size, header))
    return Entry(decode_name(raw, flags), flags, method, crc, compressed_size, size, mode, header + shift)


def decode_name(raw: bytes, flags: int) -> str:
    """Return a member's name as text; what is no UTF-8, but says so, becomes surrogates."""
    return raw.decode("utf-8" if flags & _UTF_8 else "cp437", "surrogateescape")


def _large_end(stream: IO[bytes], position: int) -> tuple[int, int, int] | None:
    """Read the end of an archive of over 65,535 members or 4 GB: its position, and the directory's size and place."""
    if position < 0:
        return None
    stream.seek(position)
    end, locator = stream.read(_END_64.size), stream.read(_LOCATOR_64.size)
    if not (end.startswith(b"PK\6\6") and locator.startswith(b"PK\6\7")):
        return None
    _, disk, disks = _LOCATOR_64.unpack(locator)
    if disk or disks > 1:
        raise BadZipFile("it is one part of several")
    _, length, claimed = _END_64.unpack(end)
    return position, length, claimed


def _large(extra: bytes, values: tuple[int, ...]) -> list[int]:
    """Return the values, those that did not fit into their fields from the extra field 1."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1:
            rest = extra[4 : 4 + length]
            large = iter(struct.unpack(f"<{len(rest) // 8}Q", rest[: len(rest) // 8 * 8]))
            return [next(large, value) if value == _IN_EXTRA else value for value in values]
        extra = extra[4 + length :]
    return list(values)
