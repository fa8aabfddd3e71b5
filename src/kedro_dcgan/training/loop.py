"""The training loop as an iterator of ticks. It holds no path, no file, no logger and no tracker."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.errors import TrainingError
from kedro_dcgan.model.describe import flops_per_image
from kedro_dcgan.model.networks import Generator
from kedro_dcgan.model.sampling import generate_all, sample_latents, to_model_range
from kedro_dcgan.model.saved import snapshot_weights
from kedro_dcgan.training.devices import Compute
from kedro_dcgan.training.ema import recalibrate
from kedro_dcgan.training.health import COMPARED, are_alike, diagnose, diversity
from kedro_dcgan.training.losses import LOSSES
from kedro_dcgan.training.records import KeptGenerator, TickRecord
from kedro_dcgan.training.state import TrainingState
from kedro_dcgan.training.step import Step

# On a GPU a look at the losses makes the host wait for the device; elsewhere it costs nothing.
_STEPS_BETWEEN_LOOKS = 64


@dataclass(frozen=True)
class Tick:
    """What training has to show at a moment: values, which going on does not change.

    `records` are those of all ticks so far. `samples` are uint8 `(grid_images, C, H, W)`, always of the same latents;
    there are none where training was asked to stop between two ticks. `kept` is the best generator so far, and
    `checkpoint`, if one is due, `TrainingState.state_dict`. `validation_seconds` is what measuring has taken so far.
    """

    images_seen: int
    records: tuple[TickRecord, ...]
    samples: Tensor | None
    kept: KeptGenerator
    checkpoint: Mapping[str, Any] | None
    validation_seconds: float

    @property
    def record(self) -> TickRecord | None:
        """The record of this moment: there is none before the first step, nor between two ticks."""
        is_of_now = self.records and self.records[-1].images_seen == self.images_seen
        return self.records[-1] if is_of_now else None


@dataclass(frozen=True)
class Surroundings:
    """What training is given and asked by whoever runs it.

    `real_images` are uint8 images that the samples' diversity is compared with; `measure` gives the distance
    of a generator to the validation split; `is_asked_to_stop` is looked at after each step (of several ranks,
    when they look at their losses).
    """

    real_images: Tensor
    measure: Callable[[Generator], float] | None = None
    is_asked_to_stop: Callable[[], bool] = lambda: False


class Training:
    """A training on its way: `ticks` goes on from where `state` is.

    Of several ranks all take the steps; the first one measures, and has the ticks.
    """

    def __init__(
        self, state: TrainingState, training: TrainingParameters, compute: Compute, surroundings: Surroundings
    ) -> None:
        self._state, self._training, self._compute, self._around = state, training, compute, surroundings
        spec = state.generator.spec
        self._fixed_latents = sample_latents(max(training.grid_images, COMPARED), spec, training.seed)
        wanted = training.ema.recalibration if training.ema.half_life else 0
        self._calibration_latents = sample_latents(wanted, spec, training.seed + 1) if wanted else None
        self._validation_seconds = 0.0
        self._flops = flops_per_image(spec, state.discriminator.spec, training)

    def ticks(self, batches: Iterable[Tensor], total_images: int) -> Iterator[Tick]:
        """Train on `batches` of uint8 images `(N, C, H, W)` on the device, the last of which makes `total_images`.

        There is a tick before the first step, at each multiple of `images_per_tick`, and at the end; one where nothing
        is left to do.

        Raises:
            TrainingError: after a step with a loss that is not finite.
        """
        state, is_first = self._state, self._compute.ranks.is_first
        step = Step(state, self._training, self._compute)
        if is_first and not 0 < state.images_seen < total_images:
            yield self._moment(None if state.images_seen else self._samples(), is_checkpoint=False)
        stopwatch = _Stopwatch(state)
        for batch in batches:
            state.means.add(step(to_model_range(batch)))
            is_last = state.images_seen >= total_images
            is_tick = is_last or self._passes(self._training.images_per_tick)
            may_look = is_tick or self._may_look()
            is_stopped = self._is_stopped(may_look)
            if may_look or is_stopped:
                self._require_finite_losses()
            if is_tick:
                if is_first:
                    yield self._tick(stopwatch.images_per_second(), is_last, is_stopped)
                else:
                    state.means.take()
                stopwatch = _Stopwatch(state)
            elif is_stopped and is_first:
                self._settle()
                yield self._moment(None, is_checkpoint=True)
            if is_stopped:
                return

    def _tick(self, images_per_second: float, is_last: bool, is_stopped: bool) -> Tick:
        state, training = self._state, self._training
        self._settle()
        samples = self._samples()
        spread = diversity(samples, self._around.real_images)
        distance, is_best = self._validate(is_last, are_alike(spread))
        is_checkpoint = is_last or is_stopped or is_best or self._is_due(training.images_per_checkpoint)
        record = TickRecord(
            images_seen=state.images_seen,
            **state.means.take(),
            diversity=spread,
            validation=distance,
            images_per_second=images_per_second,
            gigaflops_per_second=images_per_second * self._flops / 1e9,
            health="",
        )
        health = diagnose([*state.records, record], is_critic=LOSSES[training.loss].boundary is None)
        state.records.append(replace(record, health=health))
        return self._moment(samples, is_checkpoint)

    def _moment(self, samples: Tensor | None, is_checkpoint: bool) -> Tick:
        state = self._state
        return Tick(
            state.images_seen,
            tuple(state.records),
            None if samples is None else samples[: self._training.grid_images],
            state.best or KeptGenerator(snapshot_weights(state.shown_generator), state.images_seen),
            state.state_dict() if is_checkpoint else None,
            self._validation_seconds,
        )

    def _validate(self, is_last: bool, is_collapsed: bool) -> tuple[float | None, bool]:
        state, every = self._state, self._training.images_per_validation
        if self._around.measure is None or every is None or not (is_last or self._is_due(every)):
            return None, False
        started = time.perf_counter()
        distance = self._around.measure(state.shown_generator)
        self._validation_seconds += time.perf_counter() - started
        is_best = state.best is None or state.best.is_worse_than(distance, is_collapsed)
        if is_best:
            weights = snapshot_weights(state.shown_generator)
            state.best = KeptGenerator(weights, state.images_seen, distance, is_collapsed)
        return distance, is_best

    def _settle(self) -> None:
        # Nothing that is not finite is shown or kept, and no average with statistics that are not its own.
        self._require_finite_weights()
        state, parts = self._state, self._training.gradient_accumulation
        if state.ema_generator and self._calibration_latents is not None:
            recalibrate(state.ema_generator, self._calibration_latents, self._training.batch_size // parts)

    def _samples(self) -> Tensor:
        return generate_all(self._state.shown_generator, self._fixed_latents)

    def _passes(self, every: int) -> bool:
        # Whether the last batch has made or passed a multiple: it does not matter where training has begun.
        return self._state.images_seen // every > (self._state.images_seen - self._training.batch_size) // every

    def _is_due(self, every: int) -> bool:
        # Whether a multiple has been passed since the last tick.
        last = self._state.records[-1].images_seen if self._state.records else 0
        return self._state.images_seen // every > last // every

    def _may_look(self) -> bool:
        return self._compute.device.type == "cpu" or self._state.means.unseen >= _STEPS_BETWEEN_LOOKS

    def _is_stopped(self, may_look: bool) -> bool:
        # Several ranks have to ask each other, and that is a look.
        ranks, is_asked = self._compute.ranks, self._around.is_asked_to_stop()
        return (may_look or ranks.count == 1) and ranks.any(is_asked, self._compute.device)

    def _require_finite_losses(self) -> None:
        fault = self._state.means.look()
        if fault:
            steps_ago, network, value = fault
            number = self._state.images_seen // self._training.batch_size - steps_ago
            raise TrainingError(
                f"the {network}'s loss must stay finite (got {value} in step {number:,}, at "
                f"{number * self._training.batch_size / 1000:.1f} kimg). {_REMEDY}"
            )

    def _require_finite_weights(self) -> None:
        network = self._state.find_not_finite()
        if network:
            kimg = self._state.images_seen / 1000
            raise TrainingError(f"the {network}'s weights must stay finite (they do not at {kimg:.1f} kimg). {_REMEDY}")


_REMEDY = (
    "Lower `training.generator.learning_rate` and `training.discriminator.learning_rate`; what was saved before is "
    "as it was."
)


class _Stopwatch:
    def __init__(self, state: TrainingState) -> None:
        self._state, self._since, self._started = state, state.images_seen, time.perf_counter()

    def images_per_second(self) -> float:
        return (self._state.images_seen - self._since) / (time.perf_counter() - self._started)
