"""A training in this process, which may be one rank of several."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import distributed

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.model.describe import name_lack_of_memory
from kedro_dcgan.training.checkpoints import CheckpointFolder, TrainingStart, restore
from kedro_dcgan.training.data import batch_indices, batches_on
from kedro_dcgan.training.devices import deterministic_algorithms, keep_freed_memory
from kedro_dcgan.training.fast.calibration import calibration_of
from kedro_dcgan.training.fast.execution import Calibration, set_up
from kedro_dcgan.training.health import COMPARED
from kedro_dcgan.training.loop import Surroundings, Tick, Training
from kedro_dcgan.training.state import create_state
from kedro_dcgan.training.threads import torch_threads
from kedro_dcgan.training.validation import Validation

# Wraps the batches' indices, of which the first so many images' have been trained on before.
Follow = Callable[[Iterator[np.ndarray], int], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Run:
    """A training that resumes at `begin` images, its calibration, and its ticks."""

    begin: int
    calibration: Calibration
    ticks: Iterator[Tick]


@contextmanager
def training_here(
    images: PreparedImages,
    stored: CheckpointFolder,
    training: TrainingParameters,
    start: TrainingStart,
    is_asked_to_stop: Callable[[], bool],
    follow: Follow,
) -> Iterator[Run]:
    """Train in this process, from scratch or from the checkpoint to resume from.

    Raises:
        TrainingError: if a loss is not finite, or memory runs out.
    """
    plan = start.plan
    device, ranks = plan.compute.device, plan.compute.ranks
    if device.type == "cpu":
        keep_freed_memory()
    with deterministic_algorithms(training.deterministic), name_lack_of_memory(device, training):
        before = _stored_state(stored, training, start)
        calibration, kept = calibration_of(before, plan, training)
        validation = None
        if ranks.is_first:
            validation = Validation.of(images, training, plan, calibration.validation_threads)
        if validation and not kept.validation_threads:
            kept = replace(kept, validation_threads=validation.threads)
        plan = replace(plan, compute=replace(plan.compute, precision=calibration.precision))
        state = create_state(plan.generator, plan.discriminator, training, plan.compute)
        if before:
            state.load_state_dict(dict(before))
        set_up(state, calibration, kept)
        shown = torch.from_numpy(images.take("train", np.arange(min(COMPARED, images.count("train")))))
        around = Surroundings(shown, validation.measure if validation else None, is_asked_to_stop)
        numbers = range(state.images_seen // training.batch_size, plan.total_batches)
        indices = follow(
            batch_indices(images.count("train"), training.batch_size, numbers, training.seed), state.images_seen
        )
        own = (ranks.rows_of_batch(batch, training.gradient_accumulation) for batch in indices)
        batches = batches_on(device, images, "train")(own)
        ticks = Training(state, training, plan.compute, around).ticks(batches, plan.total_images)
        with torch_threads(calibration.threads):
            yield Run(state.images_seen, calibration, ticks)


def _stored_state(
    stored: CheckpointFolder, training: TrainingParameters, start: TrainingStart
) -> Mapping[str, Any] | None:
    ranks = start.plan.compute.ranks
    # The first rank comes before the others: it sets aside what is damaged.
    if not ranks.is_first:
        distributed.barrier()
    before = restore(stored, start, training.resume)
    if ranks.count > 1 and ranks.is_first:
        distributed.barrier()
    return before
