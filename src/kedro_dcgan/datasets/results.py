"""Datasets of results: checkpoints, generators, samples and their animations, and cached reference statistics.

Every command imports this module, and most need no torch, which takes seconds to import. So imports are inside methods.
"""

import csv
import logging
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image

from kedro_dcgan.datasets.files import AtomicDataset, FileDataset, FolderDataset
from kedro_dcgan.errors import DataError, DiskFullError, in_short
from kedro_dcgan.reports.pictures import Animation, SampleFrames, SampleGrid, from_pixels
from kedro_dcgan.storage import atomic_file, atomic_folder
from kedro_dcgan.stored_files import Count, FolderName, StoredModel, read_json, require_file, write_json

if TYPE_CHECKING:
    from kedro_dcgan.evaluation.reference import ReferenceCache
    from kedro_dcgan.model.saved import TrainedGenerator
    from kedro_dcgan.training.checkpoints import Checkpoint, CheckpointFolder

logger = logging.getLogger(__name__)


class CheckpointsDataset(FolderDataset):
    """Adds the checkpoints of a tick, usually none; loads a `CheckpointFolder`, which may be empty.

    If the disk is full, training continues with a warning, unless the checkpoint ends the run.
    """

    def load(self) -> "CheckpointFolder":
        from kedro_dcgan.training.checkpoints import CheckpointFolder

        return CheckpointFolder(self.path)

    def save(self, data: "list[Checkpoint]") -> None:
        for checkpoint in data:
            try:
                self.load().save(checkpoint)
            except DiskFullError as error:
                if checkpoint.must_be_saved:
                    raise
                logger.warning("NOT SAVED: %s Training continues.", error)


class TrainedGeneratorDataset(FolderDataset):
    """A trained generator in a folder of two files."""

    INDEX = "generator.json"

    def save(self, data: "TrainedGenerator") -> None:
        from kedro_dcgan.model.saved import write_generator

        with atomic_folder(self.path) as folder:
            write_generator(folder, data)

    def load(self) -> "TrainedGenerator":
        from kedro_dcgan.model.saved import read_generator

        return read_generator(self.path)


class TrainingRun(StoredModel):
    """The key of the run that trained a generator."""

    run: FolderName


class TrainingRunDataset(FileDataset):
    """The key of the MLflow run of a training, `{"run": key}`."""

    def save(self, data: dict[str, str]) -> None:
        with atomic_file(self.path) as temporary:
            write_json(temporary, data)

    def load(self) -> dict[str, str]:
        remedy = "Remove it: then results are not logged to MLflow until you train again: kedro run --pipelines=train."
        return read_json(self.path, TrainingRun, remedy).model_dump()


class EvaluationDataset(AtomicDataset):
    """An evaluation; loading it checks that it has what the export and the pages need."""

    TYPES: ClassVar[dict[str, type]] = {
        "generator": str, "images_seen": int, "verdict": str, "primary_metric": str, "metrics": dict, "numbers": list,
        "protocols": list,
    }  # fmt: skip

    def load(self) -> dict[str, Any]:
        loaded: dict[str, Any] = super().load()
        for key, needed in self.TYPES.items():
            if not isinstance(loaded, dict) or type(loaded.get(key)) is not needed or loaded[key] in ([], {}):
                raise DataError(
                    f"`{key}` in `{self.path}` must be given, as {needed.__name__} (it is not). "
                    "Evaluate again: kedro run --pipelines=evaluation,export."
                )
        return loaded


class ReferenceFeaturesDataset(FolderDataset):
    """A cache of reference statistics. Evaluation fills it; nothing is saved through the catalog."""

    def load(self) -> "ReferenceCache":
        from kedro_dcgan.evaluation.reference import ReferenceCache

        return ReferenceCache(self.path)


class ImageFolderDataset(FolderDataset):
    """Stores a stream of uint8 images `(C, H, W)` and the names of their classes as `00000.png`, `00001.png` and so on.

    `labels.csv` has the classes, if there are any, as `ingestion.labels` reads it.
    """

    DIGITS = 5

    def save(self, data: Iterable[tuple[np.ndarray, str]]) -> None:
        labels = []
        with atomic_folder(self.path) as folder:
            for number, (image, label) in enumerate(data):
                name = f"{number:0{self.DIGITS}d}.png"
                from_pixels(image).save(folder / name)
                if label:
                    labels.append((name, label))
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


class CurrentTraining(StoredModel):
    """The training that frames belong to, and its progress."""

    training_id: FolderName
    images_seen: Count


class SampleFramesDataset(FolderDataset):
    """Adds the new frames of a training with each save; loads all frames of the current one up to its `images_seen`."""

    INDEX = "current.json"

    def save(self, data: SampleFrames) -> None:
        for grid in data.grids:
            with atomic_file(self.file_of(data.training_id, grid.images_seen)) as temporary:
                Image.fromarray(grid.picture).save(temporary)
        with atomic_file(self.path / self.INDEX) as temporary:
            write_json(temporary, {"training_id": data.training_id, "images_seen": data.images_seen})

    def load(self) -> list[SampleGrid]:
        remedy = "Train again, or resume the training: kedro run --pipelines=train."
        current = read_json(self.path / self.INDEX, CurrentTraining, remedy)
        return self.of(current.training_id, current.images_seen)

    def file_of(self, training_id: str, images_seen: int) -> Path:
        return self.path / training_id / f"{images_seen:012d}.png"

    def of(self, training_id: str, images_seen: int) -> list[SampleGrid]:
        files = sorted(file for file in self.path.glob(f"{training_id}/*.png") if file.stem.isdecimal())
        frames = ((int(file.stem), file) for file in files)
        return [SampleGrid(seen, _open_picture(file)) for seen, file in frames if seen <= images_seen]


def _open_picture(file: Path) -> np.ndarray:
    """Return the pixels of a PNG file."""
    try:
        require_file(file, "")
        return np.asarray(Image.open(file, formats=["PNG"]))
    except (DataError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"`{file}` must be an intact picture ({in_short(error)}). Remove it and run again.") from None


class AnimationDataset(FileDataset):
    """Writes a GIF that loops, and holds its last frame for longer."""

    REST_SECONDS = 1.5

    def save(self, data: Animation) -> None:
        first, *others = [Image.fromarray(picture) for picture in data.pictures]
        durations = [round(1000 / data.frames_per_second)] * len(data.pictures)
        durations[-1] += round(1000 * self.REST_SECONDS)
        with atomic_file(self.path) as temporary:
            first.save(temporary, save_all=True, append_images=others, duration=durations, loop=0)


class VideoDataset(AnimationDataset):
    """Writes an MP4 that holds its last frame for longer."""

    def save(self, data: Animation) -> None:
        import av

        rest = [data.pictures[-1]] * round(self.REST_SECONDS * data.frames_per_second)
        # Odd sides, which the format does not allow, are padded with black.
        height, width = (side + side % 2 for side in data.pictures[0].shape[:2])
        with atomic_file(self.path) as temporary, av.open(str(temporary), "w") as video:
            rate = Fraction(data.frames_per_second).limit_denominator(1000)
            # Nearly lossless, because viewers look at single frames. All players support yuv420p.
            stream = video.add_stream("libx264", rate=rate, options={"crf": "12", "preset": "slow"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for picture in [*data.pictures, *rest]:
                padded = np.zeros((height, width, 3), dtype=np.uint8)
                padded[: picture.shape[0], : picture.shape[1]] = picture if picture.ndim == 3 else picture[:, :, None]
                video.mux(stream.encode(av.VideoFrame.from_ndarray(padded, format="rgb24")))
            video.mux(stream.encode(None))
