"""Writes hostile archives, and ordinary ones to compare with.

Each function returns the path that it wrote. The suffix chooses the kind of archive: .zip, .tar, .tar.gz, .tar.xz. All
but `good` and `empty` begin with an ordinary picture, `INNOCENT`, so that a test can check whether it is still read.
"""

import io
import stat
import struct
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

INNOCENT = "innocent.png"
BAD_NAMES = {
    "traversal": "../traversal.png",
    "traversal_inside": "folder/../../traversal.png",
    "absolute": "/etc/x.png",
    "windows_drive": "C:\\x.png",
    "windows_traversal": "..\\traversal.png",
    # Its path begins with that of a folder named target, but it is not in that folder.
    "sibling_prefix": "../target-x.png",
}
_LOCAL, _CENTRAL = b"PK\x03\x04", b"PK\x01\x02"
# Field -> its offsets in the local and the central header of a member, and its type.
_FIELDS = {"flags": (6, 8, "<H"), "method": (8, 10, "<H"), "crc": (14, 16, "<I"), "size": (22, 24, "<I")}
_TERABYTE = 1 << 40


def png(seed: int, size: int = 64) -> bytes:
    """Return a small picture of coloured clouds, different for each seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC).save(stream, "PNG")
    return stream.getvalue()


def good(path: Path, files: dict[str, bytes]) -> Path:
    """Write an ordinary archive of `files`, without `INNOCENT`."""
    return _write(path, list(files.items()))


def empty(path: Path) -> Path:
    """Write an archive without members."""
    return _write(path, [])


def bad_name(path: Path, kind: str, image: bytes) -> Path:
    """Write an archive in which the picture is named `BAD_NAMES[kind]`."""
    return _write(path, [_innocent(), (BAD_NAMES[kind], image)])


def same_name_twice(path: Path, first: bytes, second: bytes) -> Path:
    """Write an archive with two members named twice.png."""
    return _write(path, [_innocent(), ("twice.png", first), ("twice.png", second)])


def many_members(path: Path, count: int = 20_000) -> Path:
    """Write an archive of `count` members of a few bytes, named 00000.png and so on, after `INNOCENT`."""
    return _write(path, [_innocent(), *((f"{number:05}.png", str(number).encode()) for number in range(count))])


def nested(path: Path, image: bytes) -> Path:
    """Write an archive that holds the archive inner.zip, in which there is inner.png."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("inner.png", image)
    return _write(path, [_innocent(), ("inner.zip", inner.getvalue())])


def truncated(path: Path) -> Path:
    """Write an archive of `INNOCENT` and 0.png to 9.png, without the second half of its bytes."""
    _write(path, [_innocent(), *((f"{number}.png", png(number)) for number in range(10))])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def zip_symlink(path: Path, target: str = "../outside.png") -> Path:
    """Write a zip whose link.png is a symbolic link to `target`."""
    link = zipfile.ZipInfo("link.png")
    link.create_system = 3  # Unix: without it the mode means nothing
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    _write(path, [_innocent()])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, target)
    return path


def zip_bomb(path: Path, size: int = 1 << 30) -> Path:
    """Write a zip whose bomb.png is `size` zero bytes (a whole number of MB), compressed to a thousandth."""
    return _zip_of_zeros(path, size, claimed_size=size)


def zip_lying_size(path: Path, size: int = 50 << 20, claimed_size: int = 10) -> Path:
    """Write a zip whose bomb.png claims 10 bytes in both headers, and has 50 MB."""
    return _zip_of_zeros(path, size, claimed_size)


def zip_overlapping(path: Path, count: int = 500, size: int = 900_000) -> Path:
    """Write a zip whose directory has `count` members named bomb.png, all the same `size` zero bytes."""
    _write(path, [_innocent(), ("bomb.png", bytes(size))])
    data = path.read_bytes()
    end = data.rindex(b"PK\5\6")
    entry = data[data.rindex(_CENTRAL) : end]
    counts, length, start = data[end : end + 8], *struct.unpack_from("<II", data, end + 12)
    record = counts + struct.pack("<HHIIH", count + 1, count + 1, length + (count - 1) * len(entry), start, 0)
    path.write_bytes(data[:end] + entry * (count - 1) + record)
    return path


def zip_wrong_crc(path: Path, image: bytes) -> Path:
    """Write a zip whose wrong.png, a whole picture, does not match its checksum."""
    _write(path, [_innocent(), ("wrong.png", image)])
    return _patch_last_member(path, crc=zlib.crc32(image) ^ 1)


def zip_encrypted(path: Path, image: bytes) -> Path:
    """Write a zip whose secret.png is flagged as encrypted."""
    _write(path, [_innocent(), ("secret.png", image)])
    return _patch_last_member(path, flags=1)


def tar_symlink(path: Path, target: str = "../outside.png") -> Path:
    """Write a tar whose link.png is a symbolic link to `target`."""
    return _write_tar(path, [_member(*_innocent()), _member("link.png", kind=tarfile.SYMTYPE, linkname=target)])


def tar_hardlink(path: Path, target: str = "../outside.png") -> Path:
    """Write a tar whose link.png is a hard link to `target`."""
    return _write_tar(path, [_member(*_innocent()), _member("link.png", kind=tarfile.LNKTYPE, linkname=target)])


def tar_through_symlink(path: Path, image: bytes) -> Path:
    """Write a tar with the link folder -> .. and, behind it, the picture folder/through.png."""
    link = _member("folder", kind=tarfile.SYMTYPE, linkname="..")
    return _write_tar(path, [_member(*_innocent()), link, _member("folder/through.png", image)])


def tar_devices(path: Path) -> Path:
    """Write a tar with a character device, a block device and a FIFO: character.png, block.png, fifo.png."""
    zero, disk = {"devmajor": 1, "devminor": 5}, {"devmajor": 8, "devminor": 0}
    devices = [
        _member("character.png", kind=tarfile.CHRTYPE, **zero),
        _member("block.png", kind=tarfile.BLKTYPE, **disk),
        _member("fifo.png", kind=tarfile.FIFOTYPE),
    ]
    return _write_tar(path, [_member(*_innocent()), *devices])


def tar_terabyte_member(path: Path, image: bytes) -> Path:
    """Write a tar whose last member, huge.png, has 1 TB by its pax header."""
    huge = _member("huge.png", image, pax_headers={"size": str(_TERABYTE)})
    return _write_tar(path, [_member(*_innocent()), huge])


def tar_terabyte_header(path: Path) -> Path:
    """Write an uncompressed tar that ends in a pax header that claims a size of 1 TB."""
    header = tarfile.TarInfo("header")
    header.type, header.size = tarfile.XHDTYPE, _TERABYTE
    name, data = _innocent()
    info, stream = _member(name, data)
    padding = -len(data) % tarfile.BLOCKSIZE
    # TarFile would add a header of its own, and the end of the archive.
    path.write_bytes(info.tobuf() + stream.read() + bytes(padding) + header.tobuf(tarfile.GNU_FORMAT))
    return path


def _innocent() -> tuple[str, bytes]:
    return INNOCENT, png(123_456)


def _write(path: Path, files: list[tuple[str, bytes]]) -> Path:
    if path.suffix != ".zip":
        return _write_tar(path, [_member(name, data) for name, data in files])
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.filterwarnings("ignore", message="Duplicate name")
        for name, data in files:
            # With a name in place of a ZipInfo, writestr() would add the current time.
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return path


def _member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object
) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, io.BytesIO(data)


def _write_tar(path: Path, members: list[tuple[tarfile.TarInfo, io.BytesIO]]) -> Path:
    compression = {".gz": "gz", ".tgz": "gz", ".xz": "xz", ".bz2": "bz2"}.get(path.suffix, "")
    with tarfile.open(path, f"w:{compression}") as archive:
        for info, stream in members:
            archive.addfile(info, stream)
    return path


def _zip_of_zeros(path: Path, size: int, claimed_size: int) -> Path:
    megabytes, block = size >> 20, bytes(1 << 20)
    crc = 0
    for _ in range(megabytes):
        crc = zlib.crc32(block, crc)
    # A flushed piece of deflated data does not refer to earlier data, so it can be repeated, which is fast.
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    piece = deflater.compress(block) + deflater.flush(zlib.Z_FULL_FLUSH)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(*_innocent())
        archive.writestr(zipfile.ZipInfo("bomb.png"), piece * megabytes + deflater.flush())
    return _patch_last_member(path, method=zipfile.ZIP_DEFLATED, crc=crc, size=claimed_size)


def _patch_last_member(path: Path, **values: int) -> Path:
    with zipfile.ZipFile(path) as archive:
        local = archive.infolist()[-1].header_offset
    data = bytearray(path.read_bytes())
    central = data.rindex(_CENTRAL)
    assert data[local:].startswith(_LOCAL)
    for field, value in values.items():
        in_local, in_central, form = _FIELDS[field]
        struct.pack_into(form, data, local + in_local, value)
        struct.pack_into(form, data, central + in_central, value)
    path.write_bytes(data)
    return path
