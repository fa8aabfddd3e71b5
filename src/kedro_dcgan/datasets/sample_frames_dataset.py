"""Sample grids over time: a folder a training, a PNG a tick, named by the images seen. They become the progress GIF."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import AbstractDataset
from PIL import Image

from kedro_dcgan.images.grid import SampleFrames, SampleGrid
from kedro_dcgan.storage import atomic_file

_CURRENT = "current.json"


class SampleFramesDataset(AbstractDataset[SampleFrames, list[SampleGrid]]):
    """Adds frames with each save; loads those of the training that was saved last, oldest first, up to where it is.

    Example:
        >>> import tempfile
        >>> dataset = SampleFramesDataset(path=tempfile.mkdtemp())
        >>> def save(training_id, images_seen):
        ...     grid = SampleGrid(images_seen, np.zeros((4, 4), dtype=np.uint8))
        ...     dataset.save(SampleFrames(training_id, images_seen, [grid]))
        >>> for training_id, images_seen in (("a", 0), ("a", 640), ("a", 1280), ("b", 0), ("a", 640)):
        ...     save(training_id, images_seen)
        >>> [frame.images_seen for frame in dataset.load()]
        [0, 640]
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def save(self, data: SampleFrames) -> None:
        """Write the frames."""
        for grid in data.grids:
            with atomic_file(self.file_of(data.training_id, grid.images_seen)) as temporary:
                Image.fromarray(grid.picture).save(temporary)
        current = {"training_id": data.training_id, "images_seen": data.images_seen}
        with atomic_file(self.path / _CURRENT) as temporary:
            temporary.write_text(json.dumps(current) + "\n", encoding="utf-8")

    def load(self) -> list[SampleGrid]:
        """Read the frames of the training that was saved last."""
        current = json.loads((self.path / _CURRENT).read_text(encoding="utf-8"))
        return self.of(current["training_id"], current["images_seen"])

    def file_of(self, training_id: str, images_seen: int) -> Path:
        """Return where a frame is."""
        return self.path / training_id / f"{images_seen:012d}.png"

    def of(self, training_id: str, images_seen: int) -> list[SampleGrid]:
        """Read the frames of a training up to a moment."""
        files = sorted(self.path.glob(f"{training_id}/[0-9]*.png"))
        frames = [SampleGrid(int(file.stem), np.asarray(Image.open(file))) for file in files]
        return [frame for frame in frames if frame.images_seen <= images_seen]

    def _exists(self) -> bool:
        return (self.path / _CURRENT).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}
