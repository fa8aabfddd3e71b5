"""A folder of numbered PNG files."""

from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import AbstractDataset
from PIL import Image

from kedro_dcgan.storage import atomic_folder


class ImageFolderDataset(AbstractDataset[np.ndarray, np.ndarray]):
    """Keeps uint8 images `(N, C, H, W)` as `00000.png`, `00001.png` and so on.

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
        """Write all images; the folder takes its place when they are complete."""
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
