"""Shards of prepared images: `.npy` files, memory-mapped, with an index that holds their hashes.

index.json                {"format": 1, "image_size": 32, "channels": 1, "digest": "…", "splits": {"train": [{"file": "train-00000.npy", "count": 1258, "sha256": "…"}]}}
train-00000.npy …         uint8 (N, channels, image_size, image_size)
"""  # noqa: E501  (the index is shown as it is)

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import AbstractDataset

from kedro_dcgan.datasets.atomic import atomic_folder
from kedro_dcgan.errors import DataError
from kedro_dcgan.images.shards import PreparedImages, ShardStream

FORMAT = 1


class PreparedImagesDataset(AbstractDataset[ShardStream, PreparedImages]):
    """Stores a stream of shards in a folder; opens them again as memory maps.

    Example:
        >>> import tempfile, pathlib, numpy as np
        >>> from kedro_dcgan.images.shards import Shard
        >>> dataset = PreparedImagesDataset(path=pathlib.Path(tempfile.mkdtemp()) / "images")
        >>> shard = Shard("train", np.zeros((3, 1, 16, 16), dtype=np.uint8))
        >>> dataset.save(ShardStream(16, 1, "0123", iter([shard])))
        >>> dataset.load().count("train")
        3
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def save(self, data: ShardStream) -> None:
        """Write the shards as they come; the folder takes its place when the last one is written."""
        splits: dict[str, list[dict[str, Any]]] = {}
        with atomic_folder(self.path) as folder:
            for shard in data.shards:
                entries = splits.setdefault(shard.split, [])
                file = folder / f"{shard.split}-{len(entries):05d}.npy"
                np.save(file, shard.images, allow_pickle=False)
                entries.append({"file": file.name, "count": len(shard.images), "sha256": _sha256(file)})
            index = {
                "format": FORMAT,
                "image_size": data.image_size,
                "channels": data.channels,
                "digest": data.digest,
                "splits": splits,
            }
            (folder / "index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")

    def load(self) -> PreparedImages:
        """Check every shard against its hash and map it.

        Raises:
            DataError: if a shard is missing or damaged, or the index is of another format.
        """
        if not self._exists():
            raise DataError(f"`{self.path}` must hold prepared images (it does not). {_REMEDY}")
        index = json.loads((self.path / "index.json").read_text(encoding="utf-8"))
        if index["format"] != FORMAT:
            raise DataError(f"`{self.path}` must be of format {FORMAT} (got {index['format']}). {_REMEDY}")
        splits = {
            split: [self._open(entry["file"], entry["sha256"]) for entry in entries]
            for split, entries in index["splits"].items()
        }
        return PreparedImages(index["image_size"], index["channels"], index["digest"], splits)

    def _open(self, name: str, sha256: str) -> np.ndarray:
        # The index is data: only a plain name may be opened, never a path out of the folder.
        file = self.path / Path(name).name
        if not file.is_file() or _sha256(file) != sha256:
            problem = "damaged" if file.exists() else "missing"
            raise DataError(f"the shard `{file}` must be as it was written (it is {problem}). {_REMEDY}")
        return np.load(file, mmap_mode="r", allow_pickle=False)

    def _exists(self) -> bool:
        return (self.path / "index.json").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}


_REMEDY = "Make the shards anew: kedro run --pipelines=ingestion,preprocessing."


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
