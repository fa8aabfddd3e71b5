"""The dataset that training sees: which rows of the shards are in which split (`prepared_files` has the format)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import AbstractDataset

from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.prepared_files import IMAGES_FORMAT, read_prepared_images
from kedro_dcgan.storage import atomic_folder


class PreparedImagesDataset(AbstractDataset[PreparedImages, PreparedImages]):
    """Keeps the selection in `path`; the pixels stay in the folder `shards` beside it.

    Example:
        >>> import tempfile, pathlib
        >>> dataset = PreparedImagesDataset(path=pathlib.Path(tempfile.mkdtemp()) / "images", shards="shards")
        >>> dataset.save(PreparedImages(16, 1, "0123", [], {"train": np.arange(3)}))
        >>> np.load(dataset.path / "train.npy").tolist()
        [0, 1, 2]
    """

    def __init__(self, path: str | Path, shards: str) -> None:
        self.path = Path(path)
        self.shards = self.path.with_name(shards)

    def save(self, data: PreparedImages) -> None:
        """Write which rows are in which split."""
        with atomic_folder(self.path) as folder:
            for split, rows in data.rows.items():
                np.save(folder / f"{split}.npy", rows.astype(np.int64), allow_pickle=False)
            index = {
                "format": IMAGES_FORMAT,
                "image_size": data.image_size,
                "channels": data.channels,
                "digest": data.digest,
                "shards": [{"file": shard.file, "sha256": shard.sha256} for shard in data.shards],
                "splits": {split: f"{split}.npy" for split in data.rows},
            }
            (folder / "index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")

    def load(self) -> PreparedImages:
        """Check every shard against its hash, once in a process, and map it.

        Raises:
            DataError: if a shard is missing, damaged or another one, or the index is of another format.
        """
        return read_prepared_images(self.path, self.shards)

    def _exists(self) -> bool:
        return (self.path / "index.json").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path), "shards": str(self.shards)}
