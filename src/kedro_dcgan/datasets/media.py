"""An animated GIF."""

from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset
from PIL import Image

from kedro_dcgan.errors import DataError
from kedro_dcgan.images.grid import Animation
from kedro_dcgan.storage import atomic_file


class AnimationDataset(AbstractDataset[Animation, Any]):
    """Writes pictures as a GIF that plays for ever and rests on its last picture.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "progress.gif"
        >>> import numpy as np
        >>> pictures = [np.full((4, 4), level, dtype=np.uint8) for level in (0, 99, 200)]
        >>> AnimationDataset(filepath=path).save(Animation(pictures, frames_per_second=10))
        >>> Image.open(path).n_frames
        3
    """

    REST_SECONDS = 1.5

    def __init__(self, filepath: str | Path) -> None:
        self.path = Path(filepath)

    def save(self, data: Animation) -> None:
        """Write the file."""
        first, *others = [Image.fromarray(picture) for picture in data.pictures]
        durations = [round(1000 / data.frames_per_second)] * len(data.pictures)
        durations[-1] += round(1000 * self.REST_SECONDS)
        with atomic_file(self.path) as temporary:
            first.save(temporary, save_all=True, append_images=others, duration=durations, loop=0)

    def load(self) -> NoReturn:
        """Refuse: it is made to be looked at."""
        raise DataError(f"`{self.path}` is only written. Load `sample_frames` for the pictures.")

    def _exists(self) -> bool:
        return self.path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.path)}
