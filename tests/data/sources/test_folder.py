import os
import shutil
import time
from pathlib import Path

import pytest
from folders import items, open_folder, reasons, write

from kedro_dcgan.data.sources import folder as folder_module
from kedro_dcgan.errors import SourceError


def test_file_over_the_limit_is_skipped(tmp_path):
    (tmp_path / "just.png").write_bytes(bytes(1000))
    (tmp_path / "over.png").write_bytes(bytes(1001))
    just, over = items(open_folder(tmp_path))
    assert just.data == bytes(1000)
    assert (over.problem.reason, over.problem.detail, over.data) == ("too_large", "1,001 bytes, limit 1,000", b"")


def test_file_without_permission_is_skipped(readable_by_some, become_nobody):
    write(readable_by_some, "a.png", "b.png", "c.png")
    (readable_by_some / "b.png").chmod(0)
    become_nobody()
    assert reasons(readable_by_some) == {"a.png": None, "b.png": "unreadable", "c.png": None}


@pytest.mark.parametrize(
    ("replace", "reason"),
    [
        (os.mkfifo, "not_a_file"),
        (lambda path: path.symlink_to("/etc/passwd"), "unreadable"),
        (Path.mkdir, "not_a_file"),
        (lambda path: path.write_bytes(bytes(1001)), "too_large"),
        (lambda path: None, "unreadable"),
    ],
    ids=["pipe", "link", "folder", "large", "nothing"],
)
def test_file_that_was_replaced_is_not_read(tmp_path, replace, reason):
    write(tmp_path, "a.png", "b.png", "c.png")
    source = open_folder(tmp_path)
    (tmp_path / "b.png").unlink()
    replace(tmp_path / "b.png")
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    first, second, third = items(source)
    assert (first.problem, second.problem.reason, second.data, third.problem) == (None, reason, b"", None)
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_file_that_grows_while_it_is_read_is_skipped(tmp_path, monkeypatch):
    write(tmp_path, "a.png")
    source, real = open_folder(tmp_path), os.fstat

    def fstat(descriptor):
        status = real(descriptor)
        with (tmp_path / "a.png").open("ab") as stream:
            stream.write(b"more")
        return status

    monkeypatch.setattr(folder_module.os, "fstat", fstat)
    (found,) = items(source)
    assert (found.problem.reason, found.data) == ("unreadable", b"")


@pytest.mark.parametrize("leave", [False, True], ids=["removed", "unmounted"])
def test_folder_that_is_removed_half_way_ends_the_run(tmp_path, leave):
    root = tmp_path / "disk"
    write(root, "a.png", "b.png")
    first, second = open_folder(root).blocks(1)
    assert [item.problem for item in first.read()] == [None]
    shutil.rmtree(root)
    if leave:
        root.mkdir()  # the mount point
    with pytest.raises(SourceError, match=r"disk`.*No such file or directory"):
        list(second.read())


def test_fingerprint_changes_with_size_and_time_only(tmp_path):
    write(tmp_path, "a.png", "b.png")
    first, second = open_folder(tmp_path).blocks(1)
    path, seen = tmp_path / "a.png", [first.fingerprint()]
    status, other = path.stat(), second.fingerprint()
    list(first.read())
    write(tmp_path, "c.png")
    assert [first.fingerprint()] == seen
    os.utime(path, ns=(0, status.st_mtime_ns + 1))
    seen.append(first.fingerprint())
    path.write_bytes(b"longer than before, by some bytes")
    os.utime(path, ns=(0, status.st_mtime_ns))
    seen.append(first.fingerprint())
    path.unlink()
    seen.append(first.fingerprint())
    assert len(set(seen)) == 4
    assert second.fingerprint() == other


@pytest.mark.parametrize("change", ["permission", "copy over it", "copy in its place"])
def test_fingerprint_changes_even_if_size_and_time_do_not(tmp_path, change):
    write(tmp_path, "a.png")
    (block,), path = open_folder(tmp_path).blocks(1), tmp_path / "a.png"
    before, status = block.fingerprint(), path.stat()
    time.sleep(0.02)  # file systems store times in steps of some milliseconds
    if change == "permission":
        path.chmod(0o600)
    else:
        target = path if change == "copy over it" else tmp_path / "new"
        target.write_bytes(b"CONTENT OF a.png")
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        target.replace(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert block.fingerprint() != before
