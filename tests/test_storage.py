import os

import pandas as pd
import pytest

from kedro_dcgan.datasets import AtomicDataset
from kedro_dcgan.errors import DiskFullError
from kedro_dcgan.storage import atomic_file, atomic_folder, remove_leftovers, require_disk_space


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
