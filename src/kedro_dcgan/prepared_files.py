"""Prepared images on disk, for whoever reads them: the selection that training sees, and the shards that it is of.

index.json    {"format": 2, "digest": "…", "shards": [{"file": "00000.npy", "sha256": "…"}], "splits": {"train": "train.npy", …}}
train.npy …   int64 (N,): row numbers, counted over all shards, in the order of the images' content hashes

The shards are as `datasets/images.py` writes them.
"""  # noqa: E501  (the index is shown as it is)

import shlex
from pathlib import Path
from typing import Any

import numpy as np

from kedro_dcgan.data.shards import PreparedImages, StoredShard
from kedro_dcgan.errors import DataError
from kedro_dcgan.integrity import damaged, read_index, require_sha256

IMAGES_FORMAT, SHARDS_FORMAT = 2, 3


def read_prepared_images(path: Path, shards_folder: Path) -> PreparedImages:
    """Check every shard against its hash, once in a process, and map it.

    Raises:
        DataError: if a shard is missing, damaged or another one, or the index is of another format.
    """
    index = read_index(path / "index.json", IMAGES_FORMAT, _REMEDY)
    stored = read_shard_index(shards_folder)
    hashes = {entry["file"]: entry["sha256"] for entry in stored["shards"]}
    if any(hashes.get(entry["file"]) != entry["sha256"] for entry in index["shards"]):
        raise DataError(
            f"`{path}` must be of the shards at hand (it is of others). "
            "Select anew: kedro run --pipelines=preprocessing."
        )
    remedy = remake(stored["source"])
    shards = [open_shard(shards_folder, file, sha256, remedy, check=True) for file, sha256 in hashes.items()]
    # As with shards, only a plain name may be opened.
    rows = {split: np.load(path / Path(file).name) for split, file in index["splits"].items()}
    place = str(path), str(shards_folder)
    return PreparedImages(
        index["image_size"], index["channels"], index["digest"], shards, rows, stored["source"], place
    )


def read_shard_index(folder: Path) -> dict[str, Any]:
    """Read the index of a folder of shards.

    Raises:
        DataError: if it is not there, damaged or of another format.
    """
    return read_index(
        folder / "index.json", SHARDS_FORMAT, "Make the shards: kedro run --pipelines=ingestion,preprocessing."
    )


def open_shard(folder: Path, name: str, sha256: str, remedy: str, check: bool = False) -> StoredShard:
    """Map a shard, after a check of its hash where that is asked for.

    Raises:
        DataError: if it is missing or damaged.
    """
    # The index is data: only a plain name may be opened, never a path out of the folder.
    file = folder / Path(name).name
    if check:
        require_sha256(file, sha256, remedy)
    try:
        return StoredShard(file.name, sha256, _map(file))
    except FileNotFoundError:
        raise damaged(file, remedy, "missing") from None
    except (ValueError, EOFError, OSError):
        raise damaged(file, remedy) from None


def remake(source: str) -> str:
    """Return what to do where shards are damaged."""
    command = f"kedro run --pipelines=ingestion,preprocessing --params {shlex.quote(f'ingestion.source={source}')}"
    return f"Make the shards anew, with the other options of the first time: {command}"


def _map(file: Path) -> np.ndarray:
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except ValueError:
        # An empty shard cannot be mapped, only read.
        return np.load(file, allow_pickle=False)


_REMEDY = "Make them: kedro run --pipelines=ingestion,preprocessing."
