"""The progress of a training: its sample grids, and animations of them as GIF and MP4."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from kedro.io import AbstractDataset
from PIL import Image

from kedro_dcgan.errors import DataError
from kedro_dcgan.reports.pictures import Animation, SampleFrames, SampleGrid
from kedro_dcgan.storage import atomic_file

_CURRENT = "current.json"


class AnimationDataset(AbstractDataset[Animation, Any]):
    """Writes a GIF that repeats, and shows its last picture for longer.

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
        """Refuse to load the animation."""
        raise DataError(f"`{self.path}` must not be loaded (it is write-only). Load `sample_frames` for the pictures.")

    def _exists(self) -> bool:
        return self.path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.path)}


class VideoDataset(AnimationDataset):
    """Writes an MP4 that shows its last picture for longer.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "progress.mp4"
        >>> pictures = [np.full((5, 7), level, dtype=np.uint8) for level in (0, 99, 200)]
        >>> VideoDataset(filepath=path).save(Animation(pictures, frames_per_second=2))
        >>> import av
        >>> with av.open(str(path)) as video:
        ...     sum(1 for _ in video.decode(video=0))  # the last one is shown for 1.5 seconds more
        6
    """

    def save(self, data: Animation) -> None:
        """Write the file."""
        # A lazy import: only the export needs it, and every command imports this module.
        import av

        rest = [data.pictures[-1]] * round(self.REST_SECONDS * data.frames_per_second)
        height, width = _even(data.pictures[0]).shape[:2]
        with atomic_file(self.path) as temporary, av.open(str(temporary), "w") as video:
            rate = Fraction(data.frames_per_second).limit_denominator(1000)
            # Nearly lossless, because viewers look at single pictures. All players support yuv420p.
            stream = video.add_stream("libx264", rate=rate, options={"crf": "12", "preset": "slow"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for picture in [*data.pictures, *rest]:
                video.mux(stream.encode(av.VideoFrame.from_ndarray(_even(picture), format="rgb24")))
            video.mux(stream.encode(None))


def _even(picture: np.ndarray) -> np.ndarray:
    """Convert to RGB, and pad odd sides, which the format does not allow, with black."""
    colour = picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)
    return np.pad(colour, [(0, colour.shape[0] % 2), (0, colour.shape[1] % 2), (0, 0)])


class SampleFramesDataset(AbstractDataset[SampleFrames, list[SampleGrid]]):
    """Adds the new frames of a training with each save; loads all frames of the current one up to its `images_seen`.

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
        """Read the frames of the training that was saved last, oldest first."""
        current = json.loads((self.path / _CURRENT).read_text(encoding="utf-8"))
        return self.of(current["training_id"], current["images_seen"])

    def file_of(self, training_id: str, images_seen: int) -> Path:
        """Return the path of a frame."""
        return self.path / training_id / f"{images_seen:012d}.png"

    def of(self, training_id: str, images_seen: int) -> list[SampleGrid]:
        """Read the frames of a training up to `images_seen`."""
        files = sorted(self.path.glob(f"{training_id}/[0-9]*.png"))
        frames = [SampleGrid(int(file.stem), np.asarray(Image.open(file))) for file in files]
        return [frame for frame in frames if frame.images_seen <= images_seen]

    def _exists(self) -> bool:
        return (self.path / _CURRENT).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}
