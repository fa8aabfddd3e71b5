import zipfile
from types import SimpleNamespace

import hostile
import pytest
from archives import PICTURE, read, reasons, refused

from kedro_dcgan.data.sources import Limits

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


def patched(path, at, of, value):
    """Write `value` at the offset `at` after the last `of`."""
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
    assert {item.path: (item.data, item.problem) for item in read(path).values()} == {
        name: (data, None) for name, data in FILES.items() if not name.endswith("/")
    }


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
def test_damaged_member_is_skipped(root, case, compression):
    found = read(patched(write(root / "x.zip", compression), *DAMAGE[case]))
    assert reasons(found) == {"b.png": None, "c/3.png": "corrupt", "ä/1.png": None}
    assert found["ä/1.png"].data == PICTURE


def test_member_with_a_larger_size_and_the_right_checksum_is_skipped(root):
    # zipfile itself accepts it.
    path = hostile.good(root / "x.zip", {"a.png": b"plain"})
    assert reasons(read(patched(path, 24, b"PK\1\2", b"\6"))) == {"a.png": "corrupt"}


@pytest.mark.parametrize(
    ("flag", "reason"), [(1, "unreadable"), (1 << 5, "unreadable"), (1 << 6, "unreadable"), (1 << 3, None)]
)
def test_encrypted_member_is_skipped(root, flag, reason):
    path = patched(write(root / "x.zip"), 8, b"PK\1\2", bytes([flag]))
    assert reasons(read(path))["c/3.png"] == reason


BROKEN = {
    "signature": (0, b"PK\1\2", b"x"),
    "directory before the file": (12, b"PK\5\6", b"\xff\xff\xff\0"),
    "version of the future": (6, b"PK\1\2", b"\xff"),
    "more bytes than the file has": (20, b"PK\1\2", b"\0\0\xff"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_damaged_directory_is_rejected(root, case):
    assert "must be a whole zip archive" in refused(patched(write(root / "x.zip"), *BROKEN[case]))[0]


def test_archive_in_parts_is_rejected(root, small_fields):
    path = patched(write(root / "x.zip"), 16, b"PK\6\7", b"\2")
    assert "must be a whole zip archive" in refused(path)[0]


def test_overlapping_members_are_rejected(root):
    path = hostile.zip_overlapping(root / "x.zip")
    with zipfile.ZipFile(path) as archive:
        assert sum(member.file_size for member in archive.infolist()) > 3000 * path.stat().st_size
    assert "overlap" in refused(path)[0]
    assert len(read(hostile.zip_overlapping(root / "once.zip", count=1))) == 2


def test_invalid_utf8_in_a_name_is_rejected(root):
    path = hostile.good(root / "x.zip", {"aä.png": b"plain"})
    path.write_bytes(path.read_bytes().replace("ä".encode(), b"\xe4\xe4"))
    assert "must be a whole zip archive" in refused(path)[0]


def test_member_without_a_name_is_read(root):
    assert read(hostile.good(root / "x.zip", {"": PICTURE}))["unnamed"].data == PICTURE


def test_folders_do_not_count(root):
    folders = {f"{number}/": b"" for number in range(9)}
    assert len(read(hostile.good(root / "y.zip", {**folders, "a": b""}), limits=Limits(9, 1))) == 1
