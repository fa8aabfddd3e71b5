"""A training in this process: from a plan and a checkpoint to an iterator of ticks, and its validation."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.evaluation.distances import Gaussian, frechet_distance
from kedro_dcgan.evaluation.features import EfficientNetLite0Features
from kedro_dcgan.evaluation.protocol import short_count
from kedro_dcgan.model.networks import Generator
from kedro_dcgan.model.sampling import generate, sample_inputs
from kedro_dcgan.training.checkpoints import CheckpointFolder, TrainingStart, restore
from kedro_dcgan.training.costs import name_lack_of_memory
from kedro_dcgan.training.data import Batch, batch_indices, batches_on, classes_to_balance
from kedro_dcgan.training.devices import Compute, deterministic_algorithms, keep_freed_memory
from kedro_dcgan.training.distributed.layers import spread_over_ranks
from kedro_dcgan.training.fast.calibration import calibration_of
from kedro_dcgan.training.fast.cuda_graphs import CapturedSteps
from kedro_dcgan.training.fast.execution import Calibration, set_up
from kedro_dcgan.training.health import DIVERSITY_SAMPLES
from kedro_dcgan.training.loop import Tick, Training, TrainingCallbacks
from kedro_dcgan.training.plan import Plan
from kedro_dcgan.training.state import TrainingState, create_state
from kedro_dcgan.training.threads import fast_threads, most_threads, torch_threads

# Wraps the iterator of batch indices. The second argument is the number of images seen before.
Follow = Callable[[Iterator[np.ndarray], int], Iterator[np.ndarray]]

# More validation images cost time and hardly change which generator is best.
_MOST_VALIDATION_IMAGES, _VALIDATION_BATCH, _VALIDATION_SIZE = 2000, 50, 64


@dataclass(frozen=True)
class RunningTraining:
    """A training that starts, or resumes, at `begin` images after `seconds`, its calibration and its ticks."""

    begin: int
    seconds: float
    is_finished: bool
    calibration: Calibration
    ticks: Iterator[Tick]


@contextmanager
def train_in_process(
    images: PreparedImages,
    stored: CheckpointFolder,
    start: TrainingStart,
    should_stop: Callable[[], bool],
    follow: Follow,
    known: Calibration | None = None,
) -> Iterator[RunningTraining]:
    """Train in this process, from scratch or a checkpoint; TrainingError if a loss is not finite or memory runs out.

    A new training with the calibration of an earlier, similar one, `known`, measures nothing.
    """
    plan, training, device, started = start.plan, start.training, start.plan.compute.device, time.perf_counter()
    if device.type == "cpu":
        keep_freed_memory()
    with deterministic_algorithms(training.deterministic), name_lack_of_memory(device, training):
        # Read the checkpoint. Choose precision, threads and execution for this machine, or keep the stored choice.
        stored_state = restore(stored, start)
        calibration, to_store = (
            (known, known) if known and not stored_state else calibration_of(stored_state, plan, training)
        )
        validate = None
        if plan.compute.ranks.is_first and distance_name(images, training):
            validate, threads = _validation(images, training, plan, calibration.validation_threads)
            to_store = replace(to_store, validation_threads=to_store.validation_threads or threads)
        compute = replace(plan.compute, precision=calibration.precision)

        # Build the networks, and restore their state.
        state = _build(plan, training, compute, stored_state)
        set_up(state, calibration, to_store)

        # Train on the remaining batches.
        real = torch.from_numpy(images.take("train", np.arange(min(DIVERSITY_SAMPLES, images.count("train")))))
        callbacks = TrainingCallbacks(real, validate, should_stop)
        run = CapturedSteps(compute) if "graphed" in calibration.execution else None
        batches = _remaining_batches(images, training, plan, state.images_seen, follow)
        # The time limit includes the calibration.
        ticks = Training(state, training, compute, callbacks, run, started).ticks(batches, plan.total_images)
        with torch_threads(calibration.threads):
            used = replace(calibration, validation_threads=to_store.validation_threads)
            ends = state.is_finished(training, plan.total_images)
            yield RunningTraining(state.images_seen, state.seconds, ends, used, ticks)


def _build(
    plan: Plan, training: TrainingParameters, compute: Compute, stored_state: Mapping[str, Any] | None
) -> TrainingState:
    state = create_state(plan.generator, plan.discriminator, training, compute)
    spread_over_ranks(state, training, compute.ranks)
    if stored_state:
        state.load_state_dict(dict(stored_state))
    return state


def _remaining_batches(
    images: PreparedImages, training: TrainingParameters, plan: Plan, images_seen: int, follow: Follow
) -> Iterator[Batch]:
    """Return the batches that are left, with this rank's rows, on the device."""
    numbers = range(images_seen // training.batch_size, plan.total_batches)
    balanced = classes_to_balance(images, training)
    order = batch_indices(images.count("train"), training.batch_size, numbers, training.seed, balanced)
    indices = follow(order, images_seen)
    of_rank = (plan.compute.ranks.rows_of(batch, training.gradient_accumulation) for batch in indices)
    return batches_on(plan.compute.device, images, of_rank)


def distance_name(images: PreparedImages, training: TrainingParameters) -> str | None:
    """Return the name of the validation distance; None if validation is off or has fewer than two images."""
    if training.images_per_validation is None or images.count("validation") < 2:
        return None
    return f"fd_efflite0_{_VALIDATION_SIZE}_{short_count(training.validation_samples)}_validation"


def _validation(
    images: PreparedImages, training: TrainingParameters, plan: Plan, threads: int | None
) -> tuple[Callable[[Generator], float], int]:
    """Return the Fréchet distance of generators to the validation split as a function, and its CPU threads.

    All generators get the same inputs. Without `threads`, the fastest number is chosen by timing.
    """
    device, count = plan.compute.device, min(images.count("validation"), _MOST_VALIDATION_IMAGES)
    extract = EfficientNetLite0Features(_VALIDATION_SIZE, device)
    inputs = sample_inputs(training.validation_samples, plan.generator, training.seed)
    batches = torch.from_numpy(images.take("validation", np.arange(count))).split(_VALIDATION_BATCH)
    if device.type != "cpu":
        threads = threads or most_threads()
    with torch_threads(threads) if threads else fast_threads(partial(extract, batches[0])) as chosen:
        reference = Gaussian.of_features(torch.cat([extract(batch) for batch in batches]))

    def measure(generator: Generator) -> float:
        with torch_threads(chosen):
            samples = generate(generator, inputs.split(_VALIDATION_BATCH))
            generated = Gaussian.of_features(torch.cat([extract(batch) for batch in samples]))
            return frechet_distance(generated, reference)

    return measure, chosen
