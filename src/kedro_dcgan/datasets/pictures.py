"""Datasets of pictures: samples, the frames of a training, and animations of them."""

import base64
import csv
import math
import platform
import shutil
from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from kedro_datasets._typing import ImagePreview
from PIL import Image

from kedro_dcgan.datasets.files import FileDataset, FolderDataset
from kedro_dcgan.errors import DataError, in_short
from kedro_dcgan.experiments import checkpoint_folder
from kedro_dcgan.model.synthetic_marks import MarkedPicture, SyntheticMark
from kedro_dcgan.reports.pictures import Animation, SampleFrames, SampleGrid, from_pixels
from kedro_dcgan.storage import atomic_file, atomic_folder
from kedro_dcgan.stored_files import Count, FolderName, StoredModel, read_json, require_file, write_json


class ImageFolderDataset(FolderDataset):
    """Stores a stream of generated images, uint8 `(C, H, W)`, with their marks, as `00000.png`, `00001.png` and so on.

    `labels.csv` has the classes, if there are any, as `ingestion.labels` reads it.
    """

    DIGITS = 5

    def save(self, data: Iterable[tuple[np.ndarray, SyntheticMark]]) -> None:
        labels = []
        with atomic_folder(self.path) as folder:
            for number, (image, mark) in enumerate(data):
                name = f"{number:0{self.DIGITS}d}.png"
                (folder / name).write_bytes(MarkedPicture(from_pixels(image), mark).png())
                if mark.label:
                    labels.append((name, mark.label))
            if labels:
                with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
                    csv.writer(file).writerows([("path", "label"), *labels])

    def load(self) -> np.ndarray:
        # Names get longer after the 100,000th image.
        files = sorted(self.path.glob("*.png"), key=lambda file: (len(file.name), file.name))
        pixels = [_open_picture(file) for file in files]
        if len({image.shape for image in pixels}) != 1:
            raise DataError(f"`{self.path}` must hold PNG files of one size (it does not). Export them again.")
        return np.stack([image[None] if image.ndim == 2 else image.transpose(2, 0, 1) for image in pixels])


class MarkedPictureDataset(FileDataset):
    """A PNG file of generated images only, with their mark, which Kedro-Viz shows."""

    def save(self, data: MarkedPicture) -> None:
        with atomic_file(self.path) as temporary:
            temporary.write_bytes(data.png())

    def load(self) -> np.ndarray:
        return _open_picture(self.path)

    def preview(self) -> ImagePreview:
        return ImagePreview(base64.b64encode(self.path.read_bytes()).decode())


_REMEDY = "Train again, or resume the training: kedro run --pipelines=train."


class CurrentTraining(StoredModel):
    """The training that frames belong to, and its progress."""

    training_id: FolderName
    images_seen: Count


class SampleFramesDataset(FolderDataset):
    """Adds the new frames of a training with each save; loads all frames of the current one up to its `images_seen`.

    The frames of a training that may resume are also kept beside its checkpoints, in the folder `checkpoints` next to
    `path`: DVC may remove `path`, and other trainings use it.
    """

    INDEX = "current.json"

    def __init__(
        self, path: str | Path, checkpoints: str = "checkpoints", metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(path, metadata)
        self._checkpoints = checkpoint_folder(self.path.with_name(checkpoints))

    def save(self, data: SampleFrames) -> None:
        own, kept = self.path / data.training_id, self._kept(data.training_id)
        # A training that starts again draws its frames again.
        for folder in (own, kept) if data.grids else ():
            for file in _frames(folder, first=data.grids[0].images_seen):
                file.unlink()
        for grid in data.grids:
            with atomic_file(own / f"{grid.images_seen:012d}.png") as temporary:
                temporary.write_bytes(MarkedPicture.of_tick(grid.picture, data.training_id).png())
        if not data.may_resume:
            shutil.rmtree(kept, ignore_errors=True)
        else:
            _copy_missing(own, kept)
            _copy_missing(kept, own)
        with atomic_file(self.path / self.INDEX) as temporary:
            write_json(temporary, {"training_id": data.training_id, "images_seen": data.images_seen})
        self._remove_others(data.training_id)

    def load(self) -> list[SampleGrid]:
        current = self._current()
        files = _frames(self.path / current.training_id, last=current.images_seen)
        if not files:
            raise DataError(f"`{self.path}` must hold frames of the current training (it holds none). {_REMEDY}")
        return [SampleGrid(int(file.stem), _open_picture(file)) for file in files]

    def training_id(self) -> str:
        """Return the id of the training that the frames are of."""
        return self._current().training_id

    def file_of(self, training_id: str, images_seen: int) -> Path:
        return self.path / training_id / f"{images_seen:012d}.png"

    def earlier_files(self, training_id: str, images_seen: int) -> list[Path]:
        """Return the frames of a training up to a checkpoint."""
        return _frames(self._kept(training_id), last=images_seen) or _frames(self.path / training_id, last=images_seen)

    def _current(self) -> CurrentTraining:
        return read_json(self.path / self.INDEX, CurrentTraining, _REMEDY)

    def _kept(self, training_id: str) -> Path:
        return self._checkpoints / training_id / "frames"

    def _remove_others(self, training_id: str) -> None:
        # The same training leaves the same files, also after others.
        for folder in {file.parent for file in self.path.glob("*/*.png")} - {self.path / training_id}:
            if (self._checkpoints / folder.name).is_dir():
                _copy_missing(folder, self._kept(folder.name))
            for file in _frames(folder):
                file.unlink()
            with suppress(OSError):
                folder.rmdir()


def _frames(folder: Path, first: int = 0, last: float = math.inf) -> list[Path]:
    files = sorted(file for file in folder.glob("*.png") if file.stem.isdecimal())
    return [file for file in files if first <= int(file.stem) <= last]


def _copy_missing(source: Path, target: Path) -> None:
    for file in _frames(source):
        if not (target / file.name).exists():
            with atomic_file(target / file.name) as temporary:
                shutil.copyfile(file, temporary)


def _open_picture(file: Path) -> np.ndarray:
    """Return the pixels of a PNG file."""
    try:
        require_file(file, "")
        return np.asarray(Image.open(file, formats=["PNG"]))
    except (DataError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"`{file}` must be an intact picture ({in_short(error)}). Remove it and run again.") from None


class AnimationDataset(FileDataset):
    """Writes a GIF that loops, and holds its last frame for longer."""

    def save(self, data: Animation) -> None:
        first, *others = [Image.fromarray(picture) for picture in data.pictures]
        durations = [round(1000 / data.frames_per_second)] * len(data.pictures)
        durations[-1] += round(1000 * data.rest_seconds)
        with atomic_file(self.path) as temporary:
            first.save(temporary, save_all=True, append_images=others, duration=durations, loop=0)


class VideoDataset(AnimationDataset):
    """Writes an MP4 that holds its last frame for longer. Equal pictures give equal files, with any number of cores."""

    # Otherwise the number of processors decides; and with AVX-512, x264 reads memory that was never written.
    ENCODER = "threads=2:asm=sse2" if platform.machine() in ("x86_64", "AMD64") else "threads=2"

    def save(self, data: Animation) -> None:
        import av

        rest = [data.pictures[-1]] * round(data.rest_seconds * data.frames_per_second)
        # Odd sides, which the format does not allow, are padded with black.
        height, width = (side + side % 2 for side in data.pictures[0].shape[:2])
        with atomic_file(self.path) as temporary, av.open(str(temporary), "w") as video:
            rate = Fraction(data.frames_per_second).limit_denominator(1000)
            # Nearly lossless, because viewers look at single frames. All players support yuv420p.
            options = {"crf": "12", "preset": "slow", "x264-params": self.ENCODER}
            stream = video.add_stream("libx264", rate=rate, options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for picture in [*data.pictures, *rest]:
                padded = np.zeros((height, width, 3), dtype=np.uint8)
                padded[: picture.shape[0], : picture.shape[1]] = picture if picture.ndim == 3 else picture[:, :, None]
                video.mux(stream.encode(av.VideoFrame.from_ndarray(padded, format="rgb24")))
            video.mux(stream.encode(None))
