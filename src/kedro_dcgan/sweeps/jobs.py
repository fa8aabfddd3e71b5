"""One training of a sweep, and its files: a folder with the generator, the history and a grid of samples per tick."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.errors import DataError
from kedro_dcgan.model.sampling import grid_columns
from kedro_dcgan.model.saved import TrainedGenerator, read_generator, write_generator
from kedro_dcgan.model.synthetic_marks import MarkedPicture
from kedro_dcgan.reports.pictures import SampleGrid, make_grid
from kedro_dcgan.storage import atomic_file, atomic_folder
from kedro_dcgan.sweeps.space import Values
from kedro_dcgan.training.checkpoints import CheckpointFolder, TrainingStart
from kedro_dcgan.training.fast.execution import Calibration
from kedro_dcgan.training.health import verdict
from kedro_dcgan.training.in_process import Follow, distance_name, train_in_process
from kedro_dcgan.training.plan import Plan, plan_training
from kedro_dcgan.training.results import checkpoints_of, history_of, snapshot


@dataclass(frozen=True)
class Job:
    """A training of a sweep: the key of its tracked run, its name, its searched values and all its parameters."""

    key: str
    name: str
    values: Values
    training: TrainingParameters


@dataclass(frozen=True)
class JobTick:
    """A tick of a job: its history and its newest picture so far, and its distances by validation, from 1.

    `distance` is that of the best generator so far, `is_collapsed` whether it has collapsed.
    """

    plan: Plan
    images_seen: int
    history: pd.DataFrame
    picture: Path | None
    distances: Mapping[int, float]
    distance: float | None
    is_collapsed: bool
    health: str

    @property
    def is_last(self) -> bool:
        """Whether the training is finished."""
        return self.images_seen >= self.plan.total_images


@dataclass(frozen=True)
class SweepFolder:
    """The files of the trainings of all sweeps of a project."""

    path: Path

    def of(self, key: str) -> "JobFolder":
        """Return the folder of a job."""
        return JobFolder(self.path / "trainings" / key)


@dataclass(frozen=True)
class JobFolder:
    """The files of a job."""

    path: Path

    @property
    def checkpoints(self) -> CheckpointFolder:
        """Its checkpoints, until it ends."""
        return CheckpointFolder(self.path / "checkpoints")

    def save_grid(self, images_seen: int, grid: MarkedPicture) -> Path:
        """Store the grid of a tick; return its file."""
        path = self.path / "frames" / f"{images_seen:012d}.png"
        with atomic_file(path) as file:
            file.write_bytes(grid.png())
        return path

    def grids(self) -> list[SampleGrid]:
        """Read the grids of all ticks."""
        files = sorted((self.path / "frames").glob("[0-9]*.png"))
        return [SampleGrid(int(file.stem), np.asarray(Image.open(file, formats=["PNG"]))) for file in files]

    def save(self, generator: TrainedGenerator, history: pd.DataFrame) -> None:
        """Store the results of a finished job."""
        with atomic_folder(self.path / "generator") as folder:
            write_generator(folder, generator)
        with atomic_file(self.path / "history.jsonl") as file:
            history.to_json(file, orient="records", lines=True)

    def remove_checkpoints(self) -> None:
        """Remove the checkpoints of a job that will not resume."""
        shutil.rmtree(self.checkpoints.root, ignore_errors=True)

    def has_results(self) -> bool:
        """Return whether the job has finished on this machine."""
        return (self.path / "history.jsonl").is_file()

    def distance(self) -> float | None:
        """Return the distance of the best generator; None if it has collapsed, or the job has not finished here."""
        facts = self.read()[0].facts if self.has_results() else {}
        return None if facts.get("is_collapsed", True) else float(facts["validation"])

    def read(self) -> tuple[TrainedGenerator, pd.DataFrame]:
        """Return the best generator of a finished job and its history."""
        try:
            history = pd.read_json(self.path / "history.jsonl", lines=True)
        except (OSError, ValueError) as error:
            raise DataError(f"`{self.path / 'history.jsonl'}` must be readable ({error}). Sweep again.") from None
        return read_generator(self.path / "generator"), history


@dataclass
class Trainer:
    """Trains the jobs of a sweep in this process. Similar trainings are calibrated once."""

    images: PreparedImages
    folder: SweepFolder
    should_stop: Callable[[], bool]
    follow: Follow
    _calibrations: dict[str, Calibration] = field(default_factory=dict)

    def ticks(self, job: Job) -> Iterator[JobTick]:
        """Train a job, from its checkpoint if there is one; store its results at the end.

        Raises:
            TrainingError: if a loss is not finite, or memory runs out.
        """
        images = self.images
        training = job.training.for_images(images.count("train"), images.class_counts())
        plan, files = plan_training(images, training), self.folder.of(job.key)
        newest = files.checkpoints.newest(plan.training_id, plan.total_images)
        start = TrainingStart(plan, training, newest, job.key)
        distance, similar = distance_name(images, training), _calibration_key(plan, training)
        known = self._calibrations.get(similar)
        with train_in_process(images, files.checkpoints, start, self.should_stop, self.follow, known) as running:
            self._calibrations[similar] = running.calibration
            for tick in running.ticks:
                picture = None
                if tick.samples is not None:
                    grid = make_grid(tick.samples.numpy(), grid_columns(training.grid_images, plan.generator))
                    picture = files.save_grid(tick.images_seen, MarkedPicture.of_tick(grid, plan.training_id))
                history = history_of(tick, distance)
                for checkpoint in checkpoints_of(start, tick, self.should_stop()):
                    files.checkpoints.save(checkpoint)
                if tick.images_seen >= plan.total_images:
                    generator = snapshot(start, running.calibration, tick, images)
                    result = {"validation": tick.kept.validation, "is_collapsed": tick.kept.is_collapsed}
                    files.save(replace(generator, facts={**generator.facts, **result}), history)
                if tick.images_seen:
                    validated = [one.validation for one in tick.records if one.validation is not None]
                    yield JobTick(
                        plan=plan,
                        images_seen=tick.images_seen,
                        history=history,
                        picture=picture,
                        distances=dict(enumerate(validated, start=1)),
                        distance=tick.kept.validation,
                        is_collapsed=tick.kept.is_collapsed,
                        health=verdict(tick.records),
                    )


def _calibration_key(plan: Plan, training: TrainingParameters) -> str:
    """Return a text that is equal for trainings whose calibration is the same."""
    penalties, discriminator = training.penalties, training.discriminator
    every = penalties.r1_every if penalties.has_r1 else 0
    steps = f"{training.batch_size} {training.loss} {every} {discriminator.steps} {discriminator.update}"
    return f"{plan.generator} {plan.discriminator} {steps} {training.augmentation} {training.precision}"
