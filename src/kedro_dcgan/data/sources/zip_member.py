"""One member of a zip archive, read into memory under a cap and checked against what the directory says of it."""

import io
import os
import stat
import struct
import zlib
from typing import IO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile

from kedro_dcgan.data.sources.zip_directory import Entry, decode_name
from kedro_dcgan.data.verdicts import Reason
from kedro_dcgan.errors import UnusableImageError

# Signature, flags, lengths of name and extra: what else a header says, the directory says too.
_HEADER = struct.Struct("<4s2xH18x2H")
# Encrypted, a patch of another file, strongly encrypted.
_NOT_PLAIN = 1 | 1 << 5 | 1 << 6
_PIECE = 1 << 16


def read_member(stream: IO[bytes], entry: Entry, most_bytes: int) -> bytes:
    """Return the content of a member.

    Raises:
        UnusableImageError: if it is not read: a link, encrypted, too large.
        BadZipFile, zlib.error, ValueError: if it is damaged, or another one than the directory says.
    """
    _require_readable(entry, most_bytes)
    stream.seek(entry.header)
    start = stream.read(_HEADER.size)
    if len(start) < _HEADER.size or not start.startswith(b"PK\3\4"):
        raise BadZipFile("no header where the directory says")
    _, flags, name_length, extra_length = _HEADER.unpack(start)
    name = decode_name(stream.read(name_length), flags)
    if name != entry.name:
        raise BadZipFile(f"the directory has another name than the header {name[:100]!a}")
    stream.seek(extra_length, os.SEEK_CUR)
    data = _inflated(stream, entry) if entry.method == ZIP_DEFLATED else stream.read(entry.size)
    if len(data) != entry.size:
        raise BadZipFile(f"{'more' if len(data) > entry.size else 'less'} than {entry.size:,} bytes")
    if zlib.crc32(data) != entry.crc:
        raise BadZipFile("bad CRC-32")
    return data


def _require_readable(entry: Entry, most_bytes: int) -> None:
    if stat.S_ISLNK(entry.mode):
        raise UnusableImageError(Reason.LINK)
    if entry.flags & _NOT_PLAIN:
        raise UnusableImageError(Reason.UNREADABLE, "encrypted")
    # Others become who knows how much of a few bytes, or need who knows how much memory.
    if entry.method not in (ZIP_STORED, ZIP_DEFLATED):
        raise UnusableImageError(Reason.UNREADABLE, "compressed by another method than deflate: zip it again")
    if entry.size > most_bytes:
        raise UnusableImageError(Reason.TOO_LARGE, f"{entry.size:,} bytes, limit {most_bytes:,}")
    if entry.method == ZIP_STORED and entry.compressed_size != entry.size:
        raise BadZipFile(f"{entry.size:,} bytes are stored as {entry.compressed_size:,}")


def _inflated(stream: IO[bytes], entry: Entry) -> bytes:
    """Return the member, or its first bytes if there are more than the directory says."""
    inflater, data, left = zlib.decompressobj(-zlib.MAX_WBITS), io.BytesIO(), entry.compressed_size
    # One byte more than it may have, at most, tells that it has more.
    while data.tell() <= entry.size and not inflater.eof and (piece := stream.read(min(left, _PIECE))):
        left -= len(piece)
        data.write(inflater.decompress(piece, entry.size + 1 - data.tell()))
    return data.getvalue()
