import dataclasses
import itertools
import shutil
import tracemalloc
import zipfile
from types import SimpleNamespace

import hostile
import pytest
from archives import PICTURE, blocks, read, reasons, refused

from kedro_dcgan.data.sources import Limits, open_source

FILES = {"ä/1.png": PICTURE, "b.png": b"", "c/": b"", "c/3.png": b"plain" * 9}


@pytest.fixture
def small_fields(monkeypatch):
    """Make zipfile write what it would write for archives of more than 4 GB or 65,535 members."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 3)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)


def write(path, compression=zipfile.ZIP_DEFLATED, prefix=b"", comment=b"", as_stream=False):
    """Write FILES, behind a prefix, as in a self-extracting archive, or as a stream, with sizes behind the data."""
    with path.open("wb") as file:
        file.write(prefix)
        target = SimpleNamespace(write=file.write, flush=file.flush) if as_stream else file
        with zipfile.ZipFile(target, "w", compression) as archive:
            for name, data in FILES.items():
                archive.writestr(name, data)
            archive.comment = comment
    return path


def lying(path, at, of, value):
    """Write `value` where it is `at` in the last `of`."""
    data = bytearray(path.read_bytes())
    start = data.rindex(of) + at
    data[start : start + len(value)] = value
    path.write_bytes(data)
    return path


FORMS = {
    "stored": {"compression": zipfile.ZIP_STORED},
    "deflated": {},
    "behind a program": {"prefix": b"MZ" * 1000},
    "with a comment": {"comment": b"words " * 1000},
    "with the longest comment": {"comment": b"x" * 65535},
    "as a stream": {"as_stream": True},
}


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize("form", FORMS)
def test_zip_is_read_in_all_its_forms(root, request, form, large):
    if large:
        request.getfixturevalue("small_fields")
    path = write(root / "x.zip", **FORMS[form])
    assert (b"PK\6\6" in path.read_bytes()) == large
    found = read(path)
    assert {item.path: (item.data, item.problem) for item in found.values()} == {
        name: (data, None) for name, data in FILES.items() if not name.endswith("/")
    }
    with zipfile.ZipFile(path) as oracle:
        assert all(oracle.read(name) == item.data for name, item in found.items())


DAMAGE = {
    "another name": (26 + 4, b"PK\3\4", b"x"),
    "no header": (0, b"PK\3\4", b"x"),
    "header outside": (42, b"PK\1\2", b"\xfe\xff\xff\xff"),
    "larger": (24, b"PK\1\2", b"\xff"),
    "smaller": (24, b"PK\1\2", b"\1"),
    "cut short": (20, b"PK\1\2", b"\1"),
}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("case", DAMAGE)
def test_zip_with_a_damaged_member_gives_the_others(root, case, compression):
    path = lying(write(root / "x.zip", compression), *DAMAGE[case])
    found = read(path)
    assert reasons(found) == {"b.png": None, "c/3.png": "corrupt", "ä/1.png": None}
    assert found["ä/1.png"].data == PICTURE


@pytest.mark.parametrize(
    ("flag", "reason"), [(1, "unreadable"), (1 << 5, "unreadable"), (1 << 6, "unreadable"), (1 << 3, None)]
)
def test_zip_does_not_read_what_is_encrypted(root, flag, reason):
    path = lying(write(root / "x.zip"), 8, b"PK\1\2", bytes([flag]))
    assert reasons(read(path))["c/3.png"] == reason


BROKEN = {
    "signature": (0, b"PK\1\2", b"x"),
    "directory before the file": (12, b"PK\5\6", b"\xff\xff\xff\0"),
    "name past the end": (28, b"PK\1\2", b"\xff\xff"),
    "more bytes than there are": (20, b"PK\1\2", b"\0\0\xff"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_zip_with_a_damaged_directory_is_refused(root, case):
    assert "must be a whole zip archive" in refused(lying(write(root / "x.zip"), *BROKEN[case]))[0]


def test_zip_in_parts_is_refused(root, small_fields):
    path = lying(write(root / "x.zip"), 16, b"PK\6\7", b"\2")
    assert "it is one part of several" in refused(path)[0]


def test_zip_of_members_that_overlap_is_refused(root):
    path = hostile.zip_overlapping(root / "x.zip")
    with zipfile.ZipFile(path) as archive:
        assert sum(member.file_size for member in archive.infolist()) > 3000 * path.stat().st_size
    assert ": they overlap). " in refused(path)[0]
    assert len(read(hostile.zip_overlapping(root / "once.zip", count=1))) == 2


def test_zip_names_that_are_no_utf8_are_escaped(root):
    path = hostile.good(root / "x.zip", {"aä.png": b"plain"})
    path.write_bytes(path.read_bytes().replace("ä".encode(), b"\xe4\xe4"))
    ((found,),) = [list(block.read()) for block in blocks(path)]
    assert (found.path, found.data) == ("a\\xe4\\xe4.png", b"plain")


def test_zip_without_a_name_is_read(root):
    assert read(hostile.good(root / "x.zip", {"": PICTURE}))["unnamed"].data == PICTURE


def test_zip_counts_no_folders(root):
    folders = {f"{number}/": b"" for number in range(9)}
    assert len(read(hostile.good(root / "y.zip", {**folders, "a": b""}), limits=Limits(9, 1))) == 1


def test_zip_of_many_members_takes_little_memory_and_none_where_it_is_read(root):
    path = hostile.many_members(root / "x.zip")
    shutil.copy2(path, root / "copy.zip")
    tracemalloc.start()
    source = open_source(path.name, root, Limits(1000, 100_000))
    _, opened = tracemalloc.get_traced_memory()
    (block,) = itertools.islice(source.blocks(10), 1)
    # As a process does that has not opened the archive itself.
    block = dataclasses.replace(block, archive=root / "copy.zip")
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    assert len(list(block.read())) == 10
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert source.count == 20_001
    assert opened < 8_000_000
    assert peak - before < 500_000


def test_zip_of_too_many_members_is_refused_before_they_are_listed(root):
    path = hostile.many_members(root / "x.zip")
    tracemalloc.start()
    refused(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
