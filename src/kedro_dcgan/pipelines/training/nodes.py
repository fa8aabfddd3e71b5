"""Train the DCGAN and hand over, tick by tick, what is to be kept."""

from collections.abc import Iterator
from dataclasses import fields
from functools import partial

import numpy as np
import pandas as pd
import torch

from kedro_dcgan.checkpoint_files import CheckpointFolder
from kedro_dcgan.gan.devices import deterministic_algorithms
from kedro_dcgan.gan.memory import name_lack_of_memory
from kedro_dcgan.gan.trained import TrainedGenerator, snapshot_weights
from kedro_dcgan.gan.training.batches import batches_on
from kedro_dcgan.gan.training.checkpoints import Checkpoint, CheckpointHeader, restore
from kedro_dcgan.gan.training.health import COMPARED, verdict
from kedro_dcgan.gan.training.loop import Surroundings, Tick, Training
from kedro_dcgan.gan.training.order import batch_indices
from kedro_dcgan.gan.training.plan import Plan, plan_training
from kedro_dcgan.gan.training.records import TickRecord
from kedro_dcgan.gan.training.state import TrainingState, start
from kedro_dcgan.images.grid import SampleFrames, SampleGrid, make_grid
from kedro_dcgan.images.shards import PreparedImages
from kedro_dcgan.interrupts import Interrupted, stop_on_signal
from kedro_dcgan.parameters import TrainingParameters
from kedro_dcgan.pipelines.training.console import Console
from kedro_dcgan.pipelines.training.validation import Validation
from kedro_dcgan.progress import track

TickResults = tuple[TrainedGenerator, pd.DataFrame, SampleFrames, list[Checkpoint]]


def train_generator(
    images: PreparedImages, resume_checkpoint: CheckpointFolder, training: TrainingParameters
) -> Iterator[TickResults]:
    """Yield at each tick the best generator so far, the history, the new samples, and a checkpoint if one is due.

    Goes on from the newest checkpoint of the same training. SIGINT and SIGTERM end it with a checkpoint.

    Raises:
        ParameterError, DataError: before the first tick, if the parameters do not fit the images or the machine.
        TrainingError: if another training is not finished, a loss is not finite, or memory runs out.
        Interrupted: after a signal, when all is saved.
    """
    plan = plan_training(images, training)
    with (
        stop_on_signal() as request,
        deterministic_algorithms(training.deterministic),
        name_lack_of_memory(plan.compute.device, training),
    ):
        state = _restored_state(resume_checkpoint, plan, training)
        validation = Validation.of(images, training, plan)
        console = Console(plan, training, state.images_seen)
        results = partial(_results, plan, training, state, validation)
        was_complete = state.images_seen >= plan.total_images
        surroundings = Surroundings(_some_images(images), validation.measure if validation else None, request.is_set)
        run = Training(state, training, plan.compute, surroundings)
        grids: list[SampleGrid] = []
        for tick in run.ticks(_batches(images, training, plan, state), plan.total_images):
            if tick.samples is not None:
                grids.append(SampleGrid(tick.images_seen, make_grid(tick.samples.numpy())))
            # The untrained generator is only looked at: it must not replace a good one.
            if tick.images_seen:
                console.show(tick)
                yield results(grids, _checkpoints(tick, plan, training, state, request.is_set()))
                grids = []
        if request.signal_number is not None:
            raise Interrupted(request.signal_number, console.goodbye(state))
        if was_complete:
            # Nothing was left to do, but what it had led to may be gone.
            yield results([], [])
    console.sum_up(state, validation)


def _restored_state(stored: CheckpointFolder, plan: Plan, training: TrainingParameters) -> TrainingState:
    state = start(plan.generator, plan.discriminator, training, plan.compute)
    before = restore(stored, plan, training)
    if before:
        state.load_state_dict(dict(before))
    return state


def _batches(
    images: PreparedImages, training: TrainingParameters, plan: Plan, state: TrainingState
) -> Iterator[torch.Tensor]:
    numbers = range(state.images_seen // training.batch_size, plan.total_batches)
    indices = batch_indices(images.count("train"), training.batch_size, numbers, training.seed)
    tracked = track(indices, "training", plan.total_images, done=state.images_seen)
    return batches_on(plan.compute.device, images, "train")(tracked)


def _results(
    plan: Plan,
    training: TrainingParameters,
    state: TrainingState,
    validation: Validation | None,
    grids: list[SampleGrid],
    checkpoints: list[Checkpoint],
) -> TickResults:
    best = state.best
    weights = best.weights if best else snapshot_weights(state.shown_generator)
    facts = {
        "seed": training.seed,
        "precision": plan.compute.precision,
        "device": plan.compute.device.type,
        "trained_images": state.images_seen,
        "verdict": verdict(state.records),
    }
    images_seen = best.images_seen if best else state.images_seen
    generator = TrainedGenerator(plan.generator, weights, str(plan.fingerprint["images"]), images_seen, facts)
    # There is none in a training that was stopped before its first tick, but there are its columns.
    columns = [column.name for column in fields(TickRecord)]
    history = pd.DataFrame([record.as_dict() for record in state.records], columns=columns)
    name = validation.name if validation else "validation"
    frames = SampleFrames(plan.training_id, state.images_seen, grids)
    return generator, history.rename(columns={"validation": name}), frames, checkpoints


def _checkpoints(
    tick: Tick, plan: Plan, training: TrainingParameters, state: TrainingState, is_stopped: bool
) -> list[Checkpoint]:
    if not tick.is_checkpoint:
        return []
    is_best = state.best is not None and state.best.images_seen == tick.images_seen
    header = CheckpointHeader(plan.training_id, tick.images_seen, plan.total_images, is_best, plan.fingerprint)
    must_be_saved = is_stopped or header.is_finished
    return [Checkpoint(header, state.state_dict(), training.checkpoints_kept, must_be_saved)]


def _some_images(images: PreparedImages) -> torch.Tensor:
    return torch.from_numpy(images.take("train", np.arange(min(COMPARED, images.count("train")))))
