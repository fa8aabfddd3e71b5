import gzip
import hashlib
import re
import subprocess
import sys
import tarfile
import time
import zipfile

import hostile
import pytest
from hostile import INNOCENT

from kedro_dcgan.errors import SourceError
from kedro_dcgan.sources import Limits, memory, open_source
from kedro_dcgan.sources.names import OwnNames

LIMITS = Limits(file_bytes=1_000_000, files=1000)
TARS = (".tar", ".tar.gz", ".tar.xz", ".tar.bz2")
PICTURE, OTHER = hostile.png(1), hostile.png(2)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The folder of the archive, which is where temporary files would go, too; nothing else is in `tmp_path`."""
    (tmp_path / "root").mkdir()
    monkeypatch.chdir(tmp_path / "root")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "root"))
    return tmp_path / "root"


def blocks(path, size=2, limits=LIMITS):
    return open_source(path.name, path.parent, limits).blocks(size)


def read(path, size=2, limits=LIMITS, into=None):
    """Return the inputs by path, gathered in `into`; check that nothing was written and that no path is dangerous."""

    def snapshot():
        status = {file: file.lstat() for file in path.parents[1].rglob("*")}
        return {file: (of.st_mode, of.st_size, of.st_mtime_ns) for file, of in status.items()}

    before, found = snapshot(), {} if into is None else into
    try:
        for block in blocks(path, size, limits):
            for item in block.read():
                assert item.path not in found
                assert not re.search(r"\\|^[A-Za-z]:|(^|/)(\.{0,2})(/|$)", item.path)
                found[item.path] = item
    finally:
        assert snapshot() == before
    return found


def refused(path, limits=LIMITS):
    """Return why an archive is refused, in one line, and what was read of it before."""
    found = {}
    with pytest.raises(SourceError, match=r"^`[^\n]*\.$") as caught:
        read(path, 1, limits, into=found)
    return str(caught.value), found


def reasons(found):
    return {path: item.problem and str(item.problem.reason) for path, item in found.items()}


def lying_bzip2(path, size):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(INNOCENT, PICTURE)
        archive.writestr("bomb.png", bytes(size), zipfile.ZIP_BZIP2)
    return hostile._patch_last_member(path, size=10)


def member(kind=b"0", size=None, data=b"", name="h.png"):
    """Return a member of a tar as it is written; its header claims `size`."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data) if size is None else size
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


def tar_of(path, members):
    """Write a tar of INNOCENT and then `members`, gzipped where the name says so."""
    with gzip.open(path, "wb", 1) if path.suffix == ".gz" else path.open("wb") as stream:
        stream.write(member(data=PICTURE, name=INNOCENT))
        for part in members:
            stream.write(part)
        stream.write(bytes(1024))
    return path


def grown_headers():
    """Yield 120 members, each with a new global header and a name of half a megabyte: a thousandth of that, gzipped."""
    for number in range(120):
        record = b"450000 key%06d=%s\n" % (number, b"x" * 449_982)
        yield member(b"g", data=record) + member(b"L", data=b"%d%s\0" % (number, b"y" * 450_000)) + member()


def sparse_file(numbers):
    """Yield a file with holes, whose map of them has so many numbers."""
    record = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n25 GNU.sparse.realsize=1\n25 GNU.sparse.name=s.png\n"
    data = b"%d\n" % (numbers // 2) + b"0\n" * numbers
    yield member(b"x", data=record) + member(data=data)


@pytest.mark.parametrize("suffix", [".zip", *TARS])
def test_archive_gives_what_a_folder_gives(root, suffix):
    files = {"a/1.png": PICTURE, "a/b/2.png": OTHER, "ä.png": b"text", "0.png": b"", ".x/3.png": b"", "a/.y": b""}
    for name, data in files.items():
        (root / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "folder" / name).write_bytes(data)
    folder, archive = read(root / "folder"), read(hostile.good(root / f"x{suffix}", files))

    def content(found):
        return {(hashlib.sha256(i.data).hexdigest(), i.label, i.path) for i in found.values() if not i.problem}

    assert len(content(folder)) == 4
    assert content(archive) == content(folder)
    assert {path for path, item in archive.items() if item.problem} == {".x/3.png", "a/.y"}
    assert suffix != ".zip" or list(archive) == sorted(archive)


@pytest.mark.parametrize("suffix", [".zip", *TARS])
def test_archive_is_known_by_its_content(root, suffix):
    for name in ("photos.jpg", "archive", "x-idx3-ubyte"):
        path = hostile.nested(root / f"x{suffix}", PICTURE).rename(root / name)
        # The archive in the archive is one file: a tar that ends in a zip is no zip.
        assert sorted(read(path)) == ["inner.zip", INNOCENT]


@pytest.mark.parametrize("suffix", [".zip", *TARS])
@pytest.mark.parametrize("kind", hostile.BAD_NAMES)
def test_archive_gives_members_names_of_our_own(root, suffix, kind):
    found = read(hostile.bad_name(root / f"x{suffix}", kind, PICTURE))
    own = {"traversal_inside": "folder/traversal.png", "absolute": "etc/x.png", "windows_drive": "x.png"}
    own["sibling_prefix"] = "target-x.png"
    assert found.keys() == {INNOCENT, own.get(kind, "traversal.png")}
    assert found[own.get(kind, "traversal.png")].data == PICTURE


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_archive_gives_every_member_another_name(root, suffix):
    found = read(hostile.same_name_twice(root / f"x{suffix}", PICTURE, OTHER))
    assert found["twice.png"].data == PICTURE
    assert found["twice.png#2"].data == OTHER
    names = ["/C:/x.png", "../C:D:/x.png", "..", "x.png#2", "a//./x.png", "a/" + "y" * 3000, "a/" + "y" * 3001]
    found = read(hostile.good(root / f"y{suffix}", {name: name.encode() for name in names}))
    assert set(found) >= {"x.png", "x.png#2", "x.png#2#2", "unnamed", "a/x.png"}
    assert [len(name) for name in found if "y" in name] == [1000, 1002]


def test_names_that_are_all_the_same_take_no_longer_than_others():
    own, start = OwnNames(), time.perf_counter()
    assert len({own.name("x.png") for _ in range(20_000)}) == 20_000
    assert time.perf_counter() - start < 5


def test_zip_without_a_name_is_read(root):
    assert read(hostile.good(root / "x.zip", {"": PICTURE}))["unnamed"].data == PICTURE


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
def test_archive_names_what_it_does_not_read_and_reads_the_rest(root, case):
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
def test_tar_with_a_hostile_header_is_refused_after_what_comes_before(root, case):
    message, found = refused(BROKEN[case](root / "x.tar"))
    assert "x.tar, damaged or cut off after " in message
    assert reasons(found).pop(INNOCENT) is None
    assert case != "terabyte member" or reasons(found)["huge.png"] == "too_large"


# Of a file that is a single block of bzip2, nothing can be read when it is cut off.
@pytest.mark.parametrize("suffix", [".zip", *TARS[:-1]])
def test_archive_that_was_cut_off_is_refused(root, suffix):
    message, found = refused(hostile.truncated(root / f"x{suffix}"))
    assert f"must be a whole {'zip' if suffix == '.zip' else 'tar'} archive (got {root / f'x{suffix}'}" in message
    assert len(found) < 11


@pytest.mark.parametrize("cut", [0, 512, 700, 1536])
def test_tar_that_was_cut_off_anywhere_is_refused(root, cut):
    path = hostile.good(root / "x.tar", {"a.png": b"a" * 512, "b.png": b"b" * 512})
    assert len(read(path)) == 2
    path.write_bytes(path.read_bytes()[: 512 + cut])
    assert "whole tar archive" in refused(path)[0]


def test_tar_with_a_wrong_checksum_at_its_end_is_refused(root):
    path = hostile.good(root / "x.tar.gz", {"a.png": PICTURE})
    path.write_bytes(path.read_bytes()[:-8] + bytes(8))
    assert "CRC" in refused(path)[0]


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_archive_of_too_many_members_is_refused(root, suffix):
    message, found = refused(hostile.many_members(root / f"x{suffix}"))
    assert "at most `ingestion.max_files` 1,000 files" in message
    assert len(found) <= 1000
    folders = {f"{number}/": b"" for number in range(9)}
    assert suffix != ".zip" or len(read(hostile.good(root / "y.zip", {**folders, "a": b""}), limits=Limits(9, 1))) == 1


@pytest.mark.parametrize("suffix", [".zip", *TARS])
def test_archive_without_files_is_refused(root, suffix):
    assert refused(hostile.empty(root / f"x{suffix}"))[0].startswith(
        f"`ingestion.source` must hold at least one file (got {root / f'x{suffix}'}, empty)"
    )


@pytest.mark.parametrize(("suffix", "begun"), [(".zip", False), (".zip", True), (".tar", True), (".tar.gz", True)])
@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_archive_that_changes_is_refused(root, suffix, begun, change):
    path = hostile.good(root / f"x{suffix}", {f"{number}.png": PICTURE for number in range(6)})
    other = hostile.good(root / f"y{suffix}", {f"{number}.png": OTHER for number in range(7)})
    of_source = blocks(path)
    if begun:
        assert [item.data for item in next(of_source).read()] == [PICTURE, PICTURE]
    other.replace(path) if change == "replaced" else path.unlink()
    with pytest.raises(SourceError, match=r"x\.(zip|tar|tar\.gz)` must stay as it is while it is read"):
        [list(block.read()) for block in of_source]


def test_archive_that_changes_while_a_block_is_read_is_refused(root):
    (block,) = blocks(hostile.good(root / "x.zip", {"1.png": PICTURE, "2.png": OTHER}))
    with pytest.raises(SourceError, match="must stay as it is"):
        [hostile.good(root / "x.zip", {"1.png": OTHER}) for _ in block.read()]


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("most_bytes", [16_000_000, 15_000, 1])
def test_archive_begins_a_block_after_every_so_many_inputs(root, monkeypatch, suffix, most_bytes):
    monkeypatch.setattr(memory, "_MOST_BYTES", most_bytes)
    path = hostile.good(root / f"x{suffix}", {f"{number:02}.png": hostile.png(number) for number in range(23)})
    sizes = [len(block.paths) for block in blocks(path, 5)]
    ends = {sum(sizes[: number + 1]) for number in range(len(sizes))}
    assert ends >= {5, 10, 15, 20, 23}
    assert max(sizes) == (5 if suffix == ".zip" or most_bytes > 1_000_000 else 1 if most_bytes == 1 else 3)
    assert len({block.fingerprint() for block in blocks(path, 5)}) == len(sizes)


READ = """
import re, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, 1_500_000_000))
from kedro_dcgan.errors import SourceError
from kedro_dcgan.sources import Limits, open_source
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


def test_archives_that_expand_take_no_memory(root):
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
