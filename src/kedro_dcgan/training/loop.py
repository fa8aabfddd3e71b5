"""The training loop: an iterator of ticks, whose snapshots the caller saves and shows. It does no I/O and no logging.

The clock is `images_seen`, the number of real images that all ranks have trained on.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.model.networks import Generator
from kedro_dcgan.model.sampling import generate_all, grid_inputs, sample_inputs, to_model_range
from kedro_dcgan.model.saved import snapshot_weights
from kedro_dcgan.training.costs import flops_per_image
from kedro_dcgan.training.data import Batch
from kedro_dcgan.training.devices import Compute
from kedro_dcgan.training.ema import recalibrate
from kedro_dcgan.training.health import COLLAPSED, DIVERSITY_SAMPLES, diagnose, diversity
from kedro_dcgan.training.losses import LOSSES
from kedro_dcgan.training.state import KeptGenerator, TickRecord, TrainingState
from kedro_dcgan.training.step import Runner, Step

# Reading the losses makes the host wait for a GPU. On a CPU it costs nothing: they are read after each step.
_GPU_STEPS_BETWEEN_READS = 64


@dataclass(frozen=True)
class Tick:
    """A snapshot of a training, which later steps do not modify.

    `records` are those of all ticks so far. `samples` are uint8 `(<= grid_images, C, H, W)`, always of the inputs
    `grid_inputs`, or None at a stop between two ticks and for a training that was already finished. `kept` is the best
    generator so far, or the current one before any validation. `checkpoint` is `TrainingState.state_dict`, if one is
    due. `ends_early`: this is the last tick, because `training.minutes` are over or `training.patience` is exhausted.
    `seconds` is the time that training has taken so far, `validation_seconds` the part of it for validation in this
    process.
    """

    images_seen: int
    records: tuple[TickRecord, ...]
    samples: Tensor | None
    kept: KeptGenerator
    checkpoint: Mapping[str, Any] | None
    ends_early: bool
    seconds: float
    validation_seconds: float

    @property
    def record(self) -> TickRecord | None:
        """The record of this tick; None before the first step, and at a stop between two ticks."""
        is_current = self.records and self.records[-1].images_seen == self.images_seen
        return self.records[-1] if is_current else None


@dataclass(frozen=True)
class TrainingCallbacks:
    """Real images, uint8 `(n, C, H, W)`, to compare the samples with, and functions that the loop calls.

    `validate` returns a generator's distance to the validation split. `should_stop` must keep returning True once it
    did: several ranks use its answer only when they read their losses.
    """

    real_images: Tensor
    validate: Callable[[Generator], float] | None = None
    should_stop: Callable[[], bool] = lambda: False


class Training:
    """Trains from `state.images_seen` on. All ranks take the steps; the first one validates and yields the ticks.

    `started`: when this process began, by `time.perf_counter`, so that its preparations count as training time.
    """

    def __init__(
        self,
        state: TrainingState,
        training: TrainingParameters,
        compute: Compute,
        callbacks: TrainingCallbacks,
        run: Runner | None = None,
        started: float | None = None,
    ) -> None:
        self._state, self._training, self._compute, self._callbacks = state, training, compute, callbacks
        self._step = Step(state, training, compute, run)
        self._steps_between_reads = 1 if compute.device.type == "cpu" else _GPU_STEPS_BETWEEN_READS
        config = state.generator.config
        count = training.ema.recalibration if training.ema.half_life else 0
        self._is_conditional = bool(config.classes)
        # The inputs of the grid and, from `_first_drawn` on, of the diversity; without classes, they are the same.
        grid = grid_inputs(training.grid_images, config, training.seed)
        drawn = sample_inputs(max(len(grid), DIVERSITY_SAMPLES), config, training.seed)
        self._fixed_inputs = torch.cat([grid, drawn]) if config.classes else drawn
        self._grid_images, self._first_drawn = len(grid), len(grid) if config.classes else 0
        self._recalibration_inputs = sample_inputs(count, config, training.seed + 1) if count else None
        self._flops = flops_per_image(config, state.discriminator.config, training)
        self._started, self._validation_seconds = started, 0.0

    def ticks(self, batches: Iterable[Batch], total_images: int) -> Iterator[Tick]:
        """Train on `batches` on the device; they must end at `total_images`.

        A new training yields a first tick before its first step. Then there is a tick at the first step at or after
        each multiple of `images_per_tick`, and at the end. A training that was already finished, or has ended early,
        yields one tick. Losses or weights that are not finite raise TrainingError.
        """
        state, training, ranks = self._state, self._training, self._compute.ranks
        is_new = state.images_seen == 0
        is_finished = state.is_finished(training, total_images)
        if ranks.is_first and (is_new or is_finished):
            yield self._make_tick(self._sample() if is_new else None, with_checkpoint=False)
        if is_finished:
            return
        begin, started = state.images_seen, time.perf_counter()
        began = (started if self._started is None else self._started) - state.seconds
        for batch in batches:
            # Take one step: update D and, every `discriminator.steps` steps, G and its EMA.
            classes = batch.classes if self._is_conditional else None
            state.means.add(self._step(to_model_range(batch.images), classes))
            state.seconds = time.perf_counter() - began
            is_last = state.images_seen >= total_images
            is_tick = is_last or state.images_seen % training.images_per_tick < training.batch_size

            # Stop if asked to, or if time is over. That is then the last tick.
            reads = is_tick or len(state.means.unread) >= self._steps_between_reads
            is_stopped, is_over = self._must_stop(reads)
            is_last, is_tick = is_last or is_over, is_tick or is_over

            # Read the losses (every 64 steps on a GPU), and fail if one is not finite.
            if reads or is_stopped:
                state.require_finite_losses(training.batch_size)

            # At a tick: sample, validate, record, and checkpoint if one is due. At a stop: checkpoint.
            if is_tick:
                if ranks.is_first:
                    speed = (state.images_seen - begin) / (time.perf_counter() - started)
                    yield self._measure(speed, is_last, is_stopped)
                else:
                    state.means.take()
                begin, started = state.images_seen, time.perf_counter()
                # Only the first rank validates, and so knows whether the patience is exhausted.
                if training.patience:
                    is_stopped |= ranks.any(ranks.is_first and state.ends_early(training), self._compute.device)
            elif is_stopped and ranks.is_first:
                yield self._checkpoint_at_stop()
            if is_stopped:
                return

    def _must_stop(self, reads: bool) -> tuple[bool, bool]:
        # Whether training stops after this step, and whether because time is over. If one rank must stop, all do. Ranks
        # ask each other only when they read the losses: they wait for it. The clock of the first one decides.
        ranks, device = self._compute.ranks, self._compute.device
        is_over = ranks.is_first and self._state.is_out_of_time(self._training)
        is_stopped = self._callbacks.should_stop() or is_over
        if ranks.count > 1:
            is_stopped = reads and ranks.any(is_stopped, device)
            is_over = is_stopped and ranks.any(is_over, device)
        return is_stopped, is_over

    def _measure(self, images_per_second: float, is_last: bool, is_stopped: bool) -> Tick:
        state, training, callbacks = self._state, self._training, self._callbacks
        last_tick = state.records[-1].images_seen if state.records else 0

        def is_due(every: int) -> bool:
            return is_last or state.images_seen // every > last_tick // every

        # Sample the generator, and compare the diversity of its samples with that of real images.
        self._state.require_finite_weights()
        self._recalibrate_average()
        samples = self._sample()
        spread = diversity(samples[self._first_drawn :], callbacks.real_images)

        # Validate the generator if that is due, and keep it if it is the best so far.
        distance, is_best = None, False
        if callbacks.validate and training.images_per_validation and is_due(training.images_per_validation):
            started = time.perf_counter()
            distance = callbacks.validate(state.shown_generator)
            self._validation_seconds += time.perf_counter() - started
            best, is_collapsed = state.best, spread < COLLAPSED
            is_best = best is None or (is_collapsed, distance) < (best.is_collapsed, best.validation)
            if is_best:
                weights = snapshot_weights(state.shown_generator)
                state.best = KeptGenerator(weights, state.images_seen, distance, is_collapsed)

        # Record the metrics and the health of the training.
        record = TickRecord(
            images_seen=state.images_seen,
            **state.means.take(),
            diversity=spread,
            validation=distance,
            images_per_second=images_per_second,
            gigaflops_per_second=images_per_second * self._flops / 1e9,
            health="",
            r1=None if state.adaptive_r1 is None else state.adaptive_r1.gamma.item(),
        )
        health = diagnose([*state.records, record], is_critic=LOSSES[training.loss].boundary is None)
        state.records.append(replace(record, health=health))
        is_ending = is_stopped or state.ends_early(training)
        return self._make_tick(samples, is_ending or is_best or is_due(training.images_per_checkpoint))

    def _checkpoint_at_stop(self) -> Tick:
        # Between two ticks: no samples and no record.
        self._state.require_finite_weights()
        self._recalibrate_average()
        return self._make_tick(None, with_checkpoint=True)

    def _make_tick(self, samples: Tensor | None, with_checkpoint: bool) -> Tick:
        state = self._state
        return Tick(
            images_seen=state.images_seen,
            records=tuple(state.records),
            samples=None if samples is None else samples[: self._grid_images],
            kept=state.best or KeptGenerator(snapshot_weights(state.shown_generator), state.images_seen),
            checkpoint=state.state_dict() if with_checkpoint else None,
            ends_early=state.ends_early(self._training),
            seconds=state.seconds,
            validation_seconds=self._validation_seconds,
        )

    def _sample(self) -> Tensor:
        return generate_all(self._state.shown_generator, self._fixed_inputs)

    def _recalibrate_average(self) -> None:
        # Only in the first rank, whose average is used: the next update of the average copies the statistics of G.
        inputs, parts = self._recalibration_inputs, self._training.gradient_accumulation
        if self._state.ema_generator and inputs is not None:
            recalibrate(self._state.ema_generator, inputs, self._training.batch_size // parts)
