"""Train the DCGAN; yield results at each tick."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.errors import Interrupted, StopRequest, stop_on_signal
from kedro_dcgan.experiments import experiment_name
from kedro_dcgan.model.sampling import grid_columns
from kedro_dcgan.model.saved import TrainedGenerator
from kedro_dcgan.pipelines.training.console import Console, stop_message
from kedro_dcgan.progress import Bar, progress_bar
from kedro_dcgan.reports.pictures import SampleFrames, SampleGrid, make_grid
from kedro_dcgan.training.budget import resolve_budget
from kedro_dcgan.training.checkpoints import Checkpoint, CheckpointFolder, TrainingStart, choose_checkpoint
from kedro_dcgan.training.costs import flops_per_image
from kedro_dcgan.training.distributed.multi_process import train_in_processes
from kedro_dcgan.training.in_process import RunningTraining, distance_name, train_in_process
from kedro_dcgan.training.loop import Tick
from kedro_dcgan.training.plan import plan_training
from kedro_dcgan.training.results import checkpoints_of, history_of, snapshot

TickResults = tuple[TrainedGenerator, dict[str, str], pd.DataFrame, SampleFrames, list[Checkpoint]]


def start_training(
    images: PreparedImages, resume_checkpoint: CheckpointFolder, training: TrainingParameters
) -> TrainingStart:
    """Resolve the parameters and the plan, and choose the checkpoint to resume from and the tracked run.

    A training that resumes stays in its run. A longer training, or one with changed parameters, gets a new run. In
    an experiment of DVC, parameters are changed on purpose, so the last training need not be finished.

    Raises:
        ParameterError, DataError: if the parameters do not fit the images or the machine.
        TrainingError: if another training is not finished.
    """
    training = training.for_images(images.count("train"), images.class_counts())
    may_differ = experiment_name() is not None
    training, chosen = resolve_budget(images, training, resume_checkpoint, may_differ)
    plan = plan_training(images, training)
    header = choose_checkpoint(resume_checkpoint, plan, training.resume, may_differ)
    is_same = (
        header is not None
        and (header.training_id, header.total_images) == (plan.training_id, plan.total_images)
        and header.minutes == training.minutes
    )
    former = header.run_key if header and is_same else None
    return TrainingStart(plan, training, header, former or uuid.uuid4().hex, chosen)


def train_generator(
    images: PreparedImages, resume_checkpoint: CheckpointFolder, training_start: TrainingStart
) -> Iterator[TickResults]:
    """Yield at each tick the best generator so far, the key of its run, the history, samples, and a checkpoint if due.

    SIGINT and SIGTERM end training with a checkpoint.

    Raises:
        TrainingError: if a loss is not finite, memory runs out, or a rank dies.
        Interrupted: after a signal, when everything is saved.
    """
    start, training = training_start, training_start.training
    distance, columns = distance_name(images, training), grid_columns(training.grid_images, start.plan.generator)
    newest, kept = start.resume_from, stop_message(True, start.resume_from, training)
    with stop_on_signal(at_once=kept) as request, _running(images, resume_checkpoint, start, request) as (run, bar):
        console = Console(start.plan, training, run, distance)
        grids: list[SampleGrid] = []
        for tick in run.ticks:
            if tick.samples is not None:
                grids.append(SampleGrid(tick.images_seen, make_grid(tick.samples.numpy(), columns)))
            # The untrained generator is sampled, but must not replace a good one.
            if tick.images_seen:
                console.show(tick)
                bar.total = expected_images(tick, start.plan.total_images, training.minutes)
                yield (
                    snapshot(start, run.calibration, tick, images),
                    {"run": str(start.run_key)},
                    history_of(tick, distance),
                    SampleFrames(start.plan.training_id, tick.images_seen, grids),
                    checkpoints_of(start, tick, request.is_set()),
                )
                # The results of this tick are now on disk, among them a checkpoint if one was due.
                newest = resume_checkpoint.newest(start.plan.training_id, start.plan.total_images)
                request.at_once, grids = stop_message(True, newest, training), []
        if request.signal_number is not None:
            raise Interrupted(request.signal_number, stop_message(False, newest, training))
    console.summarise()


def expected_images(tick: Tick, total_images: int, minutes: float | None) -> int:
    """Return how many images a training will have seen at its end, if its mean speed stays the same."""
    if tick.ends_early:
        return tick.images_seen
    if minutes is None:
        return total_images
    return min(total_images, round(tick.images_seen / tick.seconds * 60 * minutes))


@contextmanager
def _running(
    images: PreparedImages, stored: CheckpointFolder, start: TrainingStart, request: StopRequest
) -> Iterator[tuple[RunningTraining, Bar]]:
    flops = flops_per_image(start.plan.generator, start.plan.discriminator, start.training)
    with progress_bar("training", start.plan.total_images, flops=flops) as bar:

        def follow(batches: Iterator[np.ndarray], done: int) -> Iterator[np.ndarray]:
            bar.begin_at(done)
            for batch in batches:
                yield batch
                bar.update(len(batch))

        arguments = (images, stored, start, request.is_set)
        training = (
            train_in_process(*arguments, follow)
            if start.training.devices == 1
            else train_in_processes(*arguments, bar.reach)
        )
        with training as run:
            if start.training.minutes and run.calibration.images_per_second:
                left = 60 * start.training.minutes - run.seconds
                expected = run.begin + run.calibration.images_per_second * left
                bar.total = min(start.plan.total_images, round(expected))
            yield run, bar
