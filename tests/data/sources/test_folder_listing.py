import errno
import os
import re
import socket
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from folders import items, open_folder, reasons, write

from kedro_dcgan.data.sources import Limits, folder
from kedro_dcgan.errors import SourceError


def test_folder_lists_nested_names_in_byte_order(tmp_path):
    names = [b"B.png", b"a.png", b"a/1.png", b"a/b/c/2.png", b"a0.png", "ä/3.png".encode(), b"\xff.png"]
    write(tmp_path, *reversed(names))
    found = items(open_folder(tmp_path), size=2)
    assert [item.path.encode() for item in found] == [*names[:-1], b"\\xff.png"]
    assert [item.label for item in found] == [None, None, "a", "a/b/c", None, "ä", None]
    assert found[2].data == b"content of 1.png"


@pytest.mark.parametrize("order", [sorted, lambda entries, key: sorted(entries, key=key, reverse=True)])
def test_folder_order_does_not_depend_on_the_file_system(tmp_path, monkeypatch, order):
    write(tmp_path, *(f"{letter}/{number}.png" for letter in "cab" for number in (2, 10, 1)))
    as_listed = [(block.paths, block.fingerprint()) for block in open_folder(tmp_path).blocks(4)]
    real = os.scandir

    @contextmanager
    def scandir(path):
        with real(path) as entries:
            yield order(entries, key=lambda entry: entry.name)

    monkeypatch.setattr(folder.os, "scandir", scandir)
    assert [(block.paths, block.fingerprint()) for block in open_folder(tmp_path).blocks(4)] == as_listed


def test_hidden_files_and_folders_are_skipped(tmp_path):
    write(tmp_path, "a.png", ".hidden.png", ".git/b.png", "c/.DS_Store", "c/.d/e.png")
    hidden = dict.fromkeys([".hidden.png", ".git", "c/.DS_Store", "c/.d"], "hidden")
    assert reasons(tmp_path) == {"a.png": None, **hidden}


def test_links_are_listed_and_not_followed(tmp_path):
    root = tmp_path / "root"
    write(tmp_path, "outside/secret.png", "root/a.png")
    (root / "file.png").symlink_to(tmp_path / "outside/secret.png")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "dangling.png").symlink_to("nowhere")
    (root / "loop").symlink_to(".")
    found = {item.path: item for item in items(open_folder(root))}
    assert sorted(found) == ["a.png", "dangling.png", "file.png", "folder", "loop"]
    assert found.pop("a.png").problem is None
    assert {(item.problem.reason, item.data) for item in found.values()} == {("link", b"")}
    assert found["dangling.png"].problem.detail == "points to nowhere"


def test_pipes_and_sockets_are_listed_and_not_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    monkeypatch.chdir(tmp_path)  # a socket's path may not be long
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket.png")
    # Opening the pipe for writing blocks until it is opened for reading.
    writer = threading.Thread(target=lambda: os.close(os.open(tmp_path / "pipe.png", os.O_WRONLY)), daemon=True)
    writer.start()
    assert reasons(tmp_path) == {"pipe.png": "not_a_file", "socket.png": "not_a_file"}
    writer.join(0.2)
    assert writer.is_alive()
    os.close(os.open(tmp_path / "pipe.png", os.O_RDONLY | os.O_NONBLOCK))


def test_folder_named_like_an_image_is_listed_and_read(tmp_path):
    write(tmp_path, "a.JPG/b.png")
    assert reasons(tmp_path) == {"a.JPG": "not_a_file", "a.JPG/b.png": None}


def test_names_that_are_not_utf8_are_escaped(tmp_path):
    write(tmp_path, b"caf\xe9.jpg", b"d\xff/e.jpg")
    (first, second) = items(open_folder(tmp_path))
    assert (first.path, first.data) == ("caf\\xe9.jpg", b"content of caf\xe9.jpg")
    assert (second.path, second.label, second.problem) == ("d\\xff/e.jpg", "d\\xff", None)


def test_names_that_are_escaped_alike_get_different_paths(tmp_path):
    names = [b"\\xff.png", b"\xff.png", b"\\\\xff.png", b"a\\/b.png"]
    write(tmp_path, *names)
    found = {item.data: item.path for item in items(open_folder(tmp_path))}
    assert found[b"content of \xff.png"] == "\\xff.png"
    assert found[b"content of \\xff.png"] == "\\\\xff.png"
    assert found[b"content of b.png"] == "a\\\\/b.png"
    assert len(set(found.values())) == len(names)


def test_tree_may_be_deeper_than_the_recursion_limit(tmp_path):
    folders = [tmp_path]
    for _ in range(1100):
        folders.append(folders[-1] / "d")
        folders[-1].mkdir()
    write(folders[-1], "a.png")
    (found,) = items(open_folder(tmp_path))
    assert found.path == "d/" * 1100 + "a.png"
    # pytest removes folders recursively.
    (folders[-1] / "a.png").unlink()
    for path in reversed(folders[1:]):
        path.rmdir()


def test_folder_rejects_too_many_files(tmp_path):
    write(tmp_path, *(f"{number}/a.png" for number in range(11)))
    assert open_folder(tmp_path, Limits(1000, files=11)).count == 11
    with pytest.raises(SourceError, match=r"`ingestion\.max_files` 10 files"):
        open_folder(tmp_path, Limits(1000, files=10))


def test_folder_without_permission_is_skipped(readable_by_some, become_nobody):
    write(readable_by_some, "a.png", "lost+found/b.png", "c/d.png", "e.jpg/f.png")
    for name in ("lost+found", "e.jpg"):
        (readable_by_some / name).chmod(0)
    become_nobody()
    found = {item.path: item.problem for item in items(open_folder(readable_by_some))}
    assert list(found) == ["a.png", "c/d.png", "e.jpg", "lost+found"]
    for name in ("lost+found", "e.jpg"):
        assert (found[name].reason, found[name].detail) == ("unreadable", "Permission denied")
    assert (found["a.png"], found["c/d.png"]) == (None, None)


def test_source_folder_without_permission_is_rejected(readable_by_some, become_nobody):
    write(readable_by_some, "a.png")
    readable_by_some.chmod(0o311)
    become_nobody()
    with pytest.raises(SourceError, match="Permission denied"):
        open_folder(readable_by_some)


def test_path_that_is_too_long_is_skipped(tmp_path, monkeypatch):
    write(tmp_path, "a.png")
    monkeypatch.chdir(tmp_path)
    # Longer than the system accepts in one call: create and remove it step by step.
    for _ in range(20):
        Path("d" * 250).mkdir()
        os.chdir("d" * 250)
    try:
        first, deep = items(open_folder(tmp_path))
    finally:
        for _ in range(20):
            os.chdir("..")
            Path("d" * 250).rmdir()
    assert (first.path, first.problem) == ("a.png", None)
    assert (deep.problem.reason, deep.problem.detail) == ("unreadable", "File name too long")
    assert re.fullmatch(r"(d{250}/)+d{250}", deep.path)


def test_disk_that_is_removed_while_it_is_listed_is_rejected(tmp_path, monkeypatch):
    write(tmp_path, "a.png", "b/c.png")
    real = os.scandir

    def scandir(path):
        if os.fsencode(path).endswith(b"b/"):
            raise OSError(errno.ESTALE, "Stale file handle")
        return real(path)

    monkeypatch.setattr(folder.os, "scandir", scandir)
    with pytest.raises(SourceError, match="Stale file handle"):
        open_folder(tmp_path)
