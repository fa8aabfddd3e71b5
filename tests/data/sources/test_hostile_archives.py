import gzip
import subprocess
import sys
import tarfile
import zipfile

import hostile
import pytest
from archives import PICTURE, TARS, read, reasons, refused
from hostile import INNOCENT


def lying_bzip2(path, size):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(INNOCENT, PICTURE)
        archive.writestr("bomb.png", bytes(size), zipfile.ZIP_BZIP2)
    return hostile._patch_last_member(path, size=10)


def member(kind=b"0", size=None, data=b"", name="h.png"):
    """Return the bytes of a tar member whose header claims `size`."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data) if size is None else size
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


def tar_of(path, members):
    """Write a tar of INNOCENT and then `members`, gzipped if the suffix is .gz."""
    with gzip.open(path, "wb", 1) if path.suffix == ".gz" else path.open("wb") as stream:
        stream.write(member(data=PICTURE, name=INNOCENT))
        for part in members:
            stream.write(part)
        stream.write(bytes(1024))
    return path


def grown_headers():
    """Yield 120 members, each with a global header and a name of half a megabyte, which gzip to a thousandth."""
    for number in range(120):
        record = b"450000 key%06d=%s\n" % (number, b"x" * 449_982)
        yield member(b"g", data=record) + member(b"L", data=b"%d%s\0" % (number, b"y" * 450_000)) + member()


def sparse_file(numbers):
    """Yield a sparse file whose map of holes has `numbers` numbers."""
    record = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n25 GNU.sparse.realsize=1\n25 GNU.sparse.name=s.png\n"
    data = b"%d\n" % (numbers // 2) + b"0\n" * numbers
    yield member(b"x", data=record) + member(data=data)


ROWS = {
    "zip_symlink": (hostile.zip_symlink, ".zip", {"link.png": "link"}),
    "zip_bomb": (lambda path: hostile.zip_bomb(path, 5 << 20), ".zip", {"bomb.png": "too_large"}),
    "zip_lying_size": (hostile.zip_lying_size, ".zip", {"bomb.png": "corrupt"}),
    "zip_lying_bzip2": (lambda path: lying_bzip2(path, 1 << 20), ".zip", {"bomb.png": "unreadable"}),
    "zip_wrong_crc": (lambda path: hostile.zip_wrong_crc(path, PICTURE), ".zip", {"wrong.png": "corrupt"}),
    "zip_encrypted": (lambda path: hostile.zip_encrypted(path, PICTURE), ".zip", {"secret.png": "unreadable"}),
    "tar_symlink": (hostile.tar_symlink, ".tar", {"link.png": "link"}),
    "tar_hardlink": (hostile.tar_hardlink, ".tar", {"link.png": "link"}),
    "tar_through_symlink": (
        lambda path: hostile.tar_through_symlink(path, PICTURE),
        ".tar.gz",
        {"folder": "link", "folder/through.png": None},
    ),
    "tar_sparse": (lambda path: tar_of(path, sparse_file(2)), ".tar", {"s.png": "not_a_file"}),
    "tar_devices": (
        hostile.tar_devices,
        ".tar",
        {"character.png": "not_a_file", "block.png": "not_a_file", "fifo.png": "not_a_file"},
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_unusable_members_are_skipped_with_a_reason(root, case):
    write, suffix, expected = ROWS[case]
    found = read(write(root / f"x{suffix}"))
    assert reasons(found) == {INNOCENT: None, **expected}
    assert found[INNOCENT].data.startswith(b"\x89PNG")
    assert not any(item.data for item in found.values() if item.problem)
    assert case != "zip_bomb" or found["bomb.png"].problem.detail == "5,242,880 bytes, limit 1,000,000"


BROKEN = {
    "terabyte header": hostile.tar_terabyte_header,
    "terabyte member": lambda path: hostile.tar_terabyte_member(path, PICTURE),
    "back": lambda path: tar_of(path, [member(size=-512)]),
    "past all files": lambda path: tar_of(path, [member(size=1 << 80)]),
    "chain": lambda path: tar_of(path, [member(b"L", data=b"abc\0")] * 3000),
    "checksum": lambda path: tar_of(path, [b"x" + member()[1:], member()]),
    "sparse": lambda path: tar_of(path, sparse_file(1_000_000)),
}


@pytest.mark.parametrize("case", BROKEN)
def test_tar_with_a_hostile_header_is_rejected_after_the_members_before_it(root, case):
    message, found = refused(BROKEN[case](root / "x.tar"))
    assert "x.tar, damaged or cut off after " in message
    assert reasons(found).pop(INNOCENT) is None
    assert case != "terabyte member" or reasons(found)["huge.png"] == "too_large"


# A bzip2 file of a single block gives nothing if it is cut off.
@pytest.mark.parametrize("suffix", [".zip", *TARS[:-1]])
def test_archive_that_was_cut_off_is_rejected(root, suffix):
    message, found = refused(hostile.truncated(root / f"x{suffix}"))
    assert f"must be a whole {'zip' if suffix == '.zip' else 'tar'} archive (got {root / f'x{suffix}'}" in message
    assert len(found) < 11


@pytest.mark.parametrize("cut", [0, 512, 700, 1536])
def test_tar_that_was_cut_off_anywhere_is_rejected(root, cut):
    path = hostile.good(root / "x.tar", {"a.png": b"a" * 512, "b.png": b"b" * 512})
    assert len(read(path)) == 2
    path.write_bytes(path.read_bytes()[: 512 + cut])
    assert "whole tar archive" in refused(path)[0]


def test_tar_with_a_wrong_checksum_at_its_end_is_rejected(root):
    path = hostile.good(root / "x.tar.gz", {"a.png": PICTURE})
    path.write_bytes(path.read_bytes()[:-8] + bytes(8))
    assert "CRC" in refused(path)[0]


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_archive_of_too_many_members_is_rejected(root, suffix):
    message, found = refused(hostile.many_members(root / f"x{suffix}"))
    assert "at most `ingestion.max_files` 1,000 files" in message
    assert len(found) <= 1000


READ = """
import re, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, 1_500_000_000))
from kedro_dcgan.errors import SourceError
from kedro_dcgan.data.sources import Limits, open_source
peak = lambda: int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1000
before = peak()
for name in sys.argv[1:]:
    try:
        for block in open_source(name, Path.cwd(), Limits(1_000_000, 1000)).blocks(1):
            for item in block.read():
                print(item.path[:20])
    except SourceError:
        print("refused", name)
print(peak() - before)
"""


def test_bombs_take_no_memory(root):
    archives = [
        hostile.zip_bomb(root / "bomb.zip"),
        hostile.zip_lying_size(root / "lie.zip", 200 << 20),
        lying_bzip2(root / "bzip2.zip", 80 << 20),
        hostile.good(root / "bomb.tar.gz", {INNOCENT: PICTURE, "bomb.png": bytes(150 << 20)}),
        hostile.tar_terabyte_header(root / "header.tar"),
        hostile.tar_terabyte_member(root / "member.tar", PICTURE),
        tar_of(root / "grown.tar.gz", grown_headers()),
        tar_of(root / "sparse.tar.gz", sparse_file(5_000_000)),
    ]
    result = subprocess.run([sys.executable, "-c", READ, *archives], capture_output=True, text=True, check=True)
    *lines, megabytes = result.stdout.splitlines()
    assert lines.count(INNOCENT) == len(archives)
    assert sum(line.startswith("refused") for line in lines) == 3
    assert int(megabytes) < 50
