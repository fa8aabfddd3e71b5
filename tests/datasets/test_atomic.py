import os

import pandas as pd
import pytest

from kedro_dcgan.datasets import AtomicDataset
from kedro_dcgan.datasets.atomic import atomic_file, atomic_folder


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


def test_atomic_folder_replaces_the_old_one_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder"
    for content in ("old", "new"):
        with atomic_folder(path) as temporary:
            (temporary / content).write_text(content)
    assert names(path) == ["new"]
    with pytest.raises(ZeroDivisionError), atomic_folder(path) as temporary:
        _ = 1 / 0
    assert names(path) == ["new"]
    assert names(tmp_path) == ["folder"]


def test_atomic_dataset_leaves_a_hard_linked_cache_object_alone(tmp_path):
    # DVC may link its cache into the workspace: writing in place would change the cache.
    path, cached = tmp_path / "table.parquet", tmp_path / "cached"
    dataset = AtomicDataset(path, "pandas.ParquetDataset")
    dataset.save(pd.DataFrame({"a": [1]}))
    os.link(path, cached)
    before = cached.read_bytes()
    dataset.save(pd.DataFrame({"a": [2]}))
    assert cached.read_bytes() == before
    assert dataset.load()["a"].tolist() == [2]
