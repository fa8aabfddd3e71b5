import errno
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kedro.io.core import DatasetError
from mounts import mounted, read_only, small_disk
from safetensors import SafetensorError
from safetensors.numpy import save_file

from kedro_dcgan import storage
from kedro_dcgan.datasets import AtomicDataset
from kedro_dcgan.errors import DataError, DiskFullError, SourceError
from kedro_dcgan.storage import (
    atomic_file,
    atomic_folder,
    remove_leftovers,
    report_write_errors,
    require_disk_space,
    require_writable,
)


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_atomic_file_keeps_the_old_file_after_an_error(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(FileExistsError), atomic_file(path) as temporary:
        temporary.write_text("half")
        path.mkdir()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_atomic_folder_replaces_all_of_the_old_one_or_nothing(tmp_path):
    path = tmp_path / "folder"
    for content in ("old", "new"):
        with atomic_folder(path) as temporary:
            (temporary / content).write_text(content)
    assert names(path) == ["new"]
    with pytest.raises(ZeroDivisionError), atomic_folder(path) as temporary:
        _ = 1 / 0
    assert names(path) == ["new"]
    assert names(tmp_path) == ["folder"]


def test_leftovers_of_killed_processes_are_removed_and_nothing_else(tmp_path):
    leftovers = (".file.7.incomplete.txt", ".folder.7.incomplete", ".folder.8.retired")
    other = (".file.incomplete.txt", ".other.7.incomplete.txt", ".shards.incomplete", "file.txt", "folder")
    for name in (*leftovers, *other):
        (tmp_path / name).mkdir() if "folder" in name else (tmp_path / name).touch()
    for name in ("file.txt", "folder", "shards"):
        remove_leftovers(tmp_path / name)
    assert sorted(names(tmp_path)) == sorted(other)


def test_a_folder_is_restored_if_its_replacement_was_killed_halfway(tmp_path):
    (tmp_path / ".folder.7.retired").mkdir()
    (tmp_path / ".folder.7.retired/kept.txt").touch()
    remove_leftovers(tmp_path / "folder")
    assert names(tmp_path / "folder") == ["kept.txt"]


def test_atomic_dataset_does_not_change_a_hard_linked_file(tmp_path):
    # DVC may link its cache into the workspace: writing in place would change the cache.
    path, cached = tmp_path / "table.parquet", tmp_path / "cached"
    dataset = AtomicDataset(path, "pandas.ParquetDataset")
    dataset.save(pd.DataFrame({"a": [1]}))
    os.link(path, cached)
    before = cached.read_bytes()
    dataset.save(pd.DataFrame({"a": [2]}))
    assert cached.read_bytes() == before
    assert dataset.load()["a"].tolist() == [2]


def test_too_little_disk_space_is_an_error_before_anything_is_written(tmp_path):
    path = tmp_path / "a/new/folder"
    require_disk_space(path, 1000, "two letters")
    with pytest.raises(DiskFullError, match=r"two letters.*1,000,000,000,000 MB"):
        require_disk_space(path, 10**18, "two letters")
    assert names(tmp_path) == []


def write_parts(path, content):
    with atomic_folder(path) as folder:
        for name in ("a.npy", "index.json", "z.npy"):
            (folder / name).write_text(content)
        (folder / content).mkdir()
        (folder / content / "1.png").touch()


RENAME = Path.rename


def rename_as_in_a_container(number):
    """Return `Path.rename` where folders cannot be renamed: mount points (EBUSY) or parts of an image (EXDEV)."""

    def rename(path, target):
        if path.is_dir():
            raise OSError(number, os.strerror(number), str(path))
        return RENAME(path, target)

    return rename


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EXDEV])
def test_a_folder_that_cannot_be_renamed_gets_its_new_files(tmp_path, monkeypatch, number):
    path = tmp_path / "shards"
    write_parts(path, "old")
    monkeypatch.setattr(Path, "rename", rename_as_in_a_container(number))
    write_parts(path, "new")
    assert sorted(names(path)) == ["a.npy", "index.json", "new", "z.npy"]
    assert (path / "index.json").read_text() == "new"
    assert names(path / "new") == ["1.png"]
    assert names(tmp_path) == ["shards"]


@pytest.mark.parametrize("kind", ["folder of the same disk", "other disk"])
def test_a_mount_point_gets_its_new_files_and_keeps_those_of_its_disk(tmp_path, kind):
    path = tmp_path / "a folder" / "shards"
    (tmp_path / "volume").mkdir()
    path.mkdir(parents=True)
    mount = small_disk(path, 10**6) if kind == "other disk" else mounted(path, "--bind", source=tmp_path / "volume")
    with mount:
        for name in ("lost+found", ".snapshot"):
            (path / name).mkdir()
        for content in ("old", "new"):
            write_parts(path, content)
            expected = [".snapshot", "a.npy", "index.json", content, "lost+found", "z.npy"]
            assert sorted(names(path)) == sorted(expected)
            assert (path / "z.npy").read_text() == content
        with pytest.raises(ZeroDivisionError), atomic_folder(path) as temporary:
            # It must fit on the disk that it is for.
            assert temporary.parent == path
            _ = 1 / 0
        assert sorted(names(path)) == sorted(expected)
        assert names(path.parent) == ["shards"]

        # A killed process leaves its folder on that disk.
        (path / ".shards.7.incomplete").mkdir()
        remove_leftovers(path)
        assert sorted(names(path)) == sorted(expected)


def test_a_mixture_of_old_and_new_files_has_no_index(tmp_path, monkeypatch):
    path = tmp_path / "shards"
    write_parts(path, "old")
    monkeypatch.setattr(Path, "rename", rename_as_in_a_container(errno.EBUSY))
    moved = []

    def killed_at_the_end(source, target):
        moved.append(target.name)
        if len(moved) == 4:
            raise KeyboardInterrupt
        RENAME(source, target)

    monkeypatch.setattr(storage.shutil, "move", killed_at_the_end)
    with pytest.raises(KeyboardInterrupt):
        write_parts(path, "new")
    assert moved[-1] == "index.json"
    assert sorted(names(path)) == ["a.npy", "new", "z.npy"]


def test_a_mounted_file_is_replaced(tmp_path):
    path, volume = tmp_path / "page.html", tmp_path / "volume.html"
    path.touch()
    volume.touch()
    with mounted(path, "--bind", source=volume):
        with atomic_file(path) as temporary:
            temporary.write_text("new")
        assert path.read_text() == "new"
    assert volume.read_text() == "new"
    assert sorted(names(tmp_path)) == ["page.html", "volume.html"]


def test_weights_that_fill_a_disk_are_an_error_in_one_line_and_the_old_ones_stay(tmp_path):
    with small_disk(tmp_path, 200_000):
        path = tmp_path / "generator"
        write_parts(path, "old")
        with pytest.raises(DiskFullError, match="No space left") as raised, atomic_folder(path) as folder:
            save_file({"weight": np.zeros(10**5)}, folder / "generator.safetensors")
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)
        assert names(tmp_path) == ["generator"]
        assert (path / "index.json").read_text() == "old"


def wrapped(error):
    outer = DatasetError("Failed while saving data")
    outer.__cause__ = error
    return outer


def explained(error):
    outer = SourceError("the source must be readable")
    outer.__context__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "kind", "fact"),
    [
        (
            SafetensorError("I/O error: No space left on device (os error 28)"),
            DiskFullError,
            "",
        ),
        (wrapped(OSError(errno.ENOSPC, "full")), DiskFullError, "No space left"),
        (OSError(errno.EDQUOT, "quota"), DiskFullError, "quota"),
        (OSError(errno.EROFS, "read-only", "/here/data"), DataError, "`/here/data/x` must be writable (Read-only"),
        (
            PermissionError(errno.EACCES, "denied", "/here/data/.x"),
            DataError,
            "must be writable (Permission",
        ),
        (OSError(errno.ESTALE, "stale", "/here/data/.x"), DataError, "`/here/data/x` must be writable (Stale"),
        (explained(PermissionError(errno.EACCES, "denied", "/here/data/1.jpg")), SourceError, "the source"),
        # Not this disk's fault.
        (PermissionError(errno.EACCES, "denied", "/photos/1.jpg"), PermissionError, "/photos/1.jpg"),
        (PermissionError(errno.EACCES, "denied", b"/photos/\xff.jpg"), PermissionError, "photos"),
        (SafetensorError("invalid dtype"), SafetensorError, "dtype"),
        (ValueError("7"), ValueError, "7"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_errors_of_a_disk_are_told_from_others(error, kind, fact):
    with pytest.raises(kind) as raised, report_write_errors(Path("/here/data/x")):
        raise error
    assert type(raised.value) is kind
    assert fact in str(raised.value)


def test_a_read_only_disk_is_an_error_that_names_the_folder(tmp_path):
    path = tmp_path / "data/shards"
    path.parent.mkdir()
    with read_only(tmp_path / "data"):
        for write in (atomic_file, atomic_folder):
            with pytest.raises(DataError, match=r"data/shards` must be writable \(Read-only"), write(path) as temporary:
                temporary.write_text("new")
        with pytest.raises(DataError, match=r"data/shards` must be writable \(Read-only"):
            require_writable(path, path.parent / ".locks")


def test_a_name_that_is_too_long_is_an_error_that_names_it(tmp_path):
    path = tmp_path / ("x" * 240)
    with pytest.raises(DataError, match=r"x{240}` must be writable \(File name too long"), atomic_folder(path):
        pass
