"""Sample grids over time: one PNG a tick, named by the images seen. They become the progress GIF."""

from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import AbstractDataset
from PIL import Image

from kedro_dcgan.atomic import atomic_file
from kedro_dcgan.images.grid import SampleGrid


class SampleFramesDataset(AbstractDataset[list[SampleGrid], list[SampleGrid]]):
    """Adds frames with each save; loads them all, oldest first.

    Time only goes forward: saving a frame removes those of the same and of later moments, so a
    training that starts again leaves nothing of the one before.

    Example:
        >>> import tempfile
        >>> dataset = SampleFramesDataset(path=tempfile.mkdtemp())
        >>> for images_seen in (0, 640, 1280, 640):
        ...     dataset.save([SampleGrid(images_seen, np.zeros((4, 4), dtype=np.uint8))])
        >>> [frame.images_seen for frame in dataset.load()]
        [0, 640]
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def save(self, data: list[SampleGrid]) -> None:
        """Write the frames."""
        for frame in data:
            for later in self._frames():
                if int(later.stem) >= frame.images_seen:
                    later.unlink()
            with atomic_file(self.path / f"{frame.images_seen:012d}.png") as temporary:
                Image.fromarray(frame.picture).save(temporary)

    def load(self) -> list[SampleGrid]:
        """Read all frames."""
        return [SampleGrid(int(file.stem), np.asarray(Image.open(file))) for file in self._frames()]

    def _frames(self) -> list[Path]:
        return sorted(file for file in self.path.glob("*.png") if file.stem.isdigit())

    def _exists(self) -> bool:
        return bool(self._frames())

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}
