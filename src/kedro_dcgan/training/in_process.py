"""A training in this process: from a plan and a checkpoint to an iterator of ticks."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.training.checkpoints import CheckpointFolder, TrainingStart, restore
from kedro_dcgan.training.costs import name_lack_of_memory
from kedro_dcgan.training.data import batch_indices, batches_on
from kedro_dcgan.training.devices import deterministic_algorithms, keep_freed_memory
from kedro_dcgan.training.distributed.layers import spread_over_ranks
from kedro_dcgan.training.fast.calibration import calibration_of
from kedro_dcgan.training.fast.execution import Calibration, runner_of, set_up
from kedro_dcgan.training.health import DIVERSITY_SAMPLES
from kedro_dcgan.training.loop import Tick, Training, TrainingCallbacks
from kedro_dcgan.training.plan import Plan
from kedro_dcgan.training.state import create_state
from kedro_dcgan.training.threads import torch_threads
from kedro_dcgan.training.validation import Validation

# Wraps the iterator of batch indices; the second argument is the number of images trained before.
Follow = Callable[[Iterator[np.ndarray], int], Iterator[np.ndarray]]


@dataclass(frozen=True)
class RunningTraining:
    """A training that begins, or resumes, at `begin` images: its calibration and its ticks."""

    begin: int
    calibration: Calibration
    ticks: Iterator[Tick]


@contextmanager
def train_in_process(
    images: PreparedImages,
    stored: CheckpointFolder,
    training: TrainingParameters,
    start: TrainingStart,
    should_stop: Callable[[], bool],
    follow: Follow,
) -> Iterator[RunningTraining]:
    """Train in this process, from scratch or from the checkpoint to resume from.

    Raises:
        TrainingError: if a loss is not finite, or memory runs out.
    """
    plan, device, is_first = start.plan, start.plan.compute.device, start.plan.compute.ranks.is_first
    if device.type == "cpu":
        keep_freed_memory()
    with deterministic_algorithms(training.deterministic), name_lack_of_memory(device, training):
        # Read the checkpoint. Choose precision, threads and execution for this machine, or keep the stored choice.
        stored_state = _stored_state(stored, training, start)
        calibration, kept = calibration_of(stored_state, plan, training)
        validation = Validation.of(images, training, plan, calibration.validation_threads) if is_first else None
        if validation and not kept.validation_threads:
            kept = replace(kept, validation_threads=validation.threads)
        compute = replace(plan.compute, precision=calibration.precision)

        # Build the networks, and restore their state.
        state = create_state(plan.generator, plan.discriminator, training, compute)
        spread_over_ranks(state, training, compute.ranks)
        if stored_state:
            state.load_state_dict(dict(stored_state))
        set_up(state, calibration, kept)

        # Train on the remaining batches.
        shown = torch.from_numpy(images.take("train", np.arange(min(DIVERSITY_SAMPLES, images.count("train")))))
        callbacks = TrainingCallbacks(shown, validation.measure if validation else None, should_stop)
        loop = Training(state, training, compute, callbacks, runner_of(state, compute))
        ticks = loop.ticks(_remaining_batches(images, training, plan, state.images_seen, follow), plan.total_images)
        with torch_threads(calibration.threads):
            yield RunningTraining(state.images_seen, calibration, ticks)


def _remaining_batches(
    images: PreparedImages, training: TrainingParameters, plan: Plan, images_seen: int, follow: Follow
) -> Iterator[Tensor]:
    # Batches of this rank's rows, on the device.
    numbers = range(images_seen // training.batch_size, plan.total_batches)
    indices = follow(batch_indices(images.count("train"), training.batch_size, numbers, training.seed), images_seen)
    ranks = plan.compute.ranks
    own = (ranks.rows_of_batch(batch, training.gradient_accumulation) for batch in indices)
    return batches_on(plan.compute.device, images, "train")(own)


def _stored_state(
    stored: CheckpointFolder, training: TrainingParameters, start: TrainingStart
) -> Mapping[str, Any] | None:
    ranks = start.plan.compute.ranks
    # The first rank goes first: it sets damaged checkpoints aside.
    if not ranks.is_first:
        distributed.barrier()
    state = restore(stored, start, training.resume)
    if ranks.count > 1 and ranks.is_first:
        distributed.barrier()
    return state
