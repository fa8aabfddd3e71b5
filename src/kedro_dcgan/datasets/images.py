"""Kedro datasets of images: sources, shards of prepared images, the selection for training, folders of PNG files.

They only name a place: `kedro_dcgan.data` defines what is stored there, and reads and writes it.
"""

import os
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from kedro.io import AbstractDataset
from PIL import Image

from kedro_dcgan.data.shard_writer import Scan, write_scan
from kedro_dcgan.data.shards import (
    ImageShards,
    PreparedImages,
    read_image_shards,
    read_prepared_images,
    write_prepared_images,
)
from kedro_dcgan.data.sources import ImageSources
from kedro_dcgan.errors import SourceError
from kedro_dcgan.storage import atomic_folder


class ImageSourceDataset(AbstractDataset[None, ImageSources]):
    """Loads as an opener of sources; relative paths start at `path`.

    Example:
        >>> import tempfile, pathlib
        >>> from kedro_dcgan.data.sources import Limits
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "a.png").write_bytes(b"not really an image")
        >>> ImageSourceDataset(path=folder).load().open(".", Limits(1000, 10)).count
        1
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._sources = ImageSources(Path(os.path.normpath(self.path)))

    def load(self) -> ImageSources:
        """Return the opener."""
        return self._sources

    def save(self, data: None) -> NoReturn:
        """Refuse to write: sources are read-only."""
        raise SourceError("image sources are read-only. Remove this dataset from the outputs of the node.")

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}


class ImageShardsDataset(AbstractDataset[Scan, ImageShards]):
    """Stores a scan as shards; a scan that was killed resumes after its last finished shard.

    Example:
        >>> import tempfile, pathlib
        >>> from kedro_dcgan.data.scan import ImageRecord, Preparation, ScannedBlock
        >>> from kedro_dcgan.data.transforms import Crop
        >>> dataset = ImageShardsDataset(path=pathlib.Path(tempfile.mkdtemp()) / "shards")
        >>> preparation = Preparation(16, 1, "lanczos", Crop(), (255, 255, 255), 1, 1000, 1000)
        >>> scanned = ScannedBlock([ImageRecord("a.png", row=0)], np.zeros((1, 1, 16, 16), dtype=np.uint8), "")
        >>> dataset.save(Scan("here", preparation, 128, 1, lambda: iter([]), lambda blocks, done: iter([scanned])))
        >>> dataset.load().rows(np.array([0])).shape
        (1, 1, 16, 16)
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def save(self, data: Scan) -> None:
        """Run the scan and write its shards."""
        write_scan(data, self.path)

    def load(self) -> ImageShards:
        """Map the shards."""
        return read_image_shards(self.path)

    def _exists(self) -> bool:
        return (self.path / "index.json").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}


class PreparedImagesDataset(AbstractDataset[PreparedImages, PreparedImages]):
    """Stores the row numbers of each split in `path`; the pixels stay in the folder `shards` beside it.

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
        """Write the row numbers."""
        write_prepared_images(data, self.path)

    def load(self) -> PreparedImages:
        """Check the shards and map them."""
        return read_prepared_images(self.path, self.shards)

    def _exists(self) -> bool:
        return (self.path / "index.json").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path), "shards": str(self.shards)}


class ImageFolderDataset(AbstractDataset[np.ndarray, np.ndarray]):
    """Stores uint8 images `(N, C, H, W)` as `00000.png`, `00001.png` and so on.

    Example:
        >>> import tempfile, pathlib
        >>> dataset = ImageFolderDataset(path=pathlib.Path(tempfile.mkdtemp()) / "samples")
        >>> dataset.save(np.zeros((2, 1, 4, 4), dtype=np.uint8))
        >>> dataset.load().shape
        (2, 1, 4, 4)
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def save(self, data: np.ndarray) -> None:
        """Write all images into a new folder, which then replaces the old one."""
        with atomic_folder(self.path) as folder:
            for number, image in enumerate(data):
                pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
                Image.fromarray(np.ascontiguousarray(pixels)).save(folder / f"{number:05d}.png")

    def load(self) -> np.ndarray:
        """Read all images."""
        pixels = [np.asarray(Image.open(file)) for file in sorted(self.path.glob("*.png"))]
        return np.stack([image[None] if image.ndim == 2 else image.transpose(2, 0, 1) for image in pixels])

    def _exists(self) -> bool:
        return self.path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}
