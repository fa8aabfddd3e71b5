import os
import shutil
import signal
import socket
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from kedro_dcgan.datasets import ImageSourceDataset
from kedro_dcgan.errors import SourceError
from kedro_dcgan.sources import Limits
from kedro_dcgan.sources import folder as folder_module

LIMITS = Limits(file_bytes=1000, files=2000)


def open_folder(path, limits=LIMITS):
    return ImageSourceDataset(path).load().open(".", limits)


def items(source, size=100):
    return [item for block in source.blocks(size) for item in block.read()]


def reasons(path, limits=LIMITS):
    return {item.path: item.problem and item.problem.reason for item in items(open_folder(path, limits))}


def write(root, *names):
    for name in names:
        path = root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content of " + os.fsencode(path.name))


@pytest.fixture(autouse=True)
def alarm():
    """Whoever opens a pipe, waits: fail instead of hanging."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it hangs"))
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture
def readable_by_some():
    """A folder that nobody may enter: root, who may read everything, becomes nobody where the test begins to read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        if os.getuid() == 0:
            os.seteuid(0)


def become_nobody():
    if os.getuid() == 0:
        os.seteuid(65534)


def test_folder_lists_nested_names_in_the_order_of_their_bytes(tmp_path):
    names = [b"B.png", b"a.png", b"a/1.png", b"a/b/c/2.png", b"a0.png", "ä/3.png".encode(), b"\xff.png"]
    write(tmp_path, *reversed(names))
    found = items(open_folder(tmp_path), size=2)
    assert [item.path.encode() for item in found] == [*names[:-1], b"\\xff.png"]
    assert [item.label for item in found] == [None, None, "a", "a/b/c", None, "ä", None]
    assert found[2].data == b"content of 1.png"


@pytest.mark.parametrize("order", [sorted, lambda entries, key: sorted(entries, key=key, reverse=True)])
def test_folder_is_the_same_in_whatever_order_the_disk_lists_it(tmp_path, monkeypatch, order):
    write(tmp_path, *(f"{letter}/{number}.png" for letter in "cab" for number in (2, 10, 1)))
    as_listed = [(block.paths, block.fingerprint()) for block in open_folder(tmp_path).blocks(4)]
    real = os.scandir

    @contextmanager
    def scandir(path):
        with real(path) as entries:
            yield order(entries, key=lambda entry: entry.name)

    monkeypatch.setattr(folder_module.os, "scandir", scandir)
    assert [(block.paths, block.fingerprint()) for block in open_folder(tmp_path).blocks(4)] == as_listed


def test_folder_names_what_is_hidden_and_does_not_look_into_it(tmp_path):
    write(tmp_path, "a.png", ".hidden.png", ".git/b.png", "c/.DS_Store", "c/.d/e.png")
    hidden = dict.fromkeys([".hidden.png", ".git", "c/.DS_Store", "c/.d"], "hidden")
    assert reasons(tmp_path) == {"a.png": None, **hidden}


def test_folder_names_links_and_follows_none(tmp_path):
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


def test_folder_names_pipes_and_sockets_and_never_opens_them(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    monkeypatch.chdir(tmp_path)  # a socket's path may not be long
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket.png")
    # Whoever opens the pipe to write waits until it is opened to read.
    writer = threading.Thread(target=lambda: os.close(os.open(tmp_path / "pipe.png", os.O_WRONLY)), daemon=True)
    writer.start()
    assert reasons(tmp_path) == {"pipe.png": "not_a_file", "socket.png": "not_a_file"}
    writer.join(0.2)
    assert writer.is_alive()
    os.close(os.open(tmp_path / "pipe.png", os.O_RDONLY | os.O_NONBLOCK))


def test_folder_names_a_folder_that_is_called_as_an_image_and_reads_what_is_in_it(tmp_path):
    write(tmp_path, "a.JPG/b.png")
    assert reasons(tmp_path) == {"a.JPG": "not_a_file", "a.JPG/b.png": None}


def test_folder_escapes_names_that_are_not_utf8(tmp_path):
    write(tmp_path, b"caf\xe9.jpg", b"d\xff/e.jpg")
    (first, second) = items(open_folder(tmp_path))
    assert (first.path, first.data) == ("caf\\xe9.jpg", b"content of caf\xe9.jpg")
    assert (second.path, second.label, second.problem) == ("d\\xff/e.jpg", "d\\xff", None)


def test_folder_reads_trees_deeper_than_python_may_recurse(tmp_path):
    folders = [tmp_path]
    for _ in range(1100):
        folders.append(folders[-1] / "d")
        folders[-1].mkdir()
    write(folders[-1], "a.png")
    (found,) = items(open_folder(tmp_path))
    assert found.path == "d/" * 1100 + "a.png"
    # pytest removes folders by recursion.
    (folders[-1] / "a.png").unlink()
    for folder in reversed(folders[1:]):
        folder.rmdir()


def test_folder_leaves_out_files_over_the_limit(tmp_path):
    (tmp_path / "just.png").write_bytes(bytes(1000))
    (tmp_path / "over.png").write_bytes(bytes(1001))
    just, over = items(open_folder(tmp_path))
    assert just.data == bytes(1000)
    assert (over.problem.reason, over.problem.detail, over.data) == ("too_large", "1,001 bytes, limit 1,000", b"")


def test_folder_refuses_too_many_files(tmp_path):
    write(tmp_path, *(f"{number}/a.png" for number in range(11)))
    assert open_folder(tmp_path, Limits(1000, files=11)).count == 11
    with pytest.raises(SourceError, match=r"`ingestion\.max_files` 10 files"):
        open_folder(tmp_path, Limits(1000, files=10))


def test_folder_goes_on_after_a_file_that_may_not_be_read(readable_by_some):
    write(readable_by_some, "a.png", "b.png", "c.png")
    (readable_by_some / "b.png").chmod(0)
    become_nobody()
    assert reasons(readable_by_some) == {"a.png": None, "b.png": "unreadable", "c.png": None}


def test_folder_refuses_a_folder_that_may_not_be_listed(readable_by_some):
    write(readable_by_some, "a/b.png")
    (readable_by_some / "a").chmod(0)
    become_nobody()
    with pytest.raises(SourceError, match=r"/a` must be a folder that may be listed \(Permission denied\)"):
        open_folder(readable_by_some)


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
def test_folder_does_not_read_what_took_the_place_of_a_file(tmp_path, replace, reason):
    write(tmp_path, "a.png", "b.png", "c.png")
    source = open_folder(tmp_path)
    (tmp_path / "b.png").unlink()
    replace(tmp_path / "b.png")
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    first, second, third = items(source)
    assert (first.problem, second.problem.reason, second.data, third.problem) == (None, reason, b"", None)
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_folder_leaves_out_a_file_that_grows_while_it_is_read(tmp_path, monkeypatch):
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
def test_folder_that_goes_half_way_ends_the_run(tmp_path, leave):
    root = tmp_path / "disk"
    write(root, "a.png", "b.png")
    first, second = open_folder(root).blocks(1)
    assert [item.problem for item in first.read()] == [None]
    shutil.rmtree(root)
    if leave:
        root.mkdir()  # the mount point
    with pytest.raises(SourceError, match=r"disk` must be there .* \(it has gone: No such file or directory\)"):
        list(second.read())


def test_folder_fingerprint_changes_with_size_and_time_and_with_nothing_else(tmp_path):
    write(tmp_path, "a.png", "b.png")
    first, second = open_folder(tmp_path).blocks(1)
    path, seen = tmp_path / "a.png", [first.fingerprint()]
    status, other = path.stat(), second.fingerprint()
    path.chmod(0o600)
    os.utime(path, ns=(0, status.st_mtime_ns))
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


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: None, "nothing there"),
        (lambda path: path.symlink_to("nowhere"), "nothing there"),
        (lambda path: path.write_bytes(b"text"), "another kind of file"),
        (os.mkfifo, "another kind of file"),
        (lambda path: (path / "empty").mkdir(parents=True), "empty"),
    ],
    ids=["nothing", "dangling", "file", "pipe", "folder"],
)
def test_source_says_what_is_wrong_with_a_path(tmp_path, make, problem):
    make(tmp_path / "images")
    with pytest.raises(SourceError, match=rf"^`ingestion.source` must [^\n]*images, {problem}\)[^\n]*$"):
        ImageSourceDataset(tmp_path).load().open("images", LIMITS)


@pytest.mark.parametrize("name", ["~no_such_user/images", "x" * 5000])
def test_source_refuses_a_name_that_cannot_be_a_path(tmp_path, name):
    with pytest.raises(SourceError, match=r"^`ingestion.source` must be a folder[^\n]*$"):
        ImageSourceDataset(tmp_path).load().open(name, LIMITS)


def test_source_writes_the_embedded_digits_once(tmp_path):
    assert ImageSourceDataset(tmp_path).load().open("data/01_raw/digits", LIMITS).count == 1797
    first = tmp_path / "data/01_raw/digits/0/0000.png"
    written = first.stat().st_mtime_ns
    assert Image.open(first).size == (8, 8)
    (again, *_) = ImageSourceDataset(tmp_path).load().open("data/01_raw/digits", LIMITS).blocks(10)
    assert (again.paths[0], first.stat().st_mtime_ns) == ("0/0000.png", written)
