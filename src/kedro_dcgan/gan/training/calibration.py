"""Chooses precision, threads, algorithms and execution of a training by timing its own steps on this machine.

What is asked for by name is obeyed. The rest is timed on copies of the training. Nothing is timed with
`training.deterministic`, or where a training is over before it pays off: it runs in float32 on all cores.
"""

import gc
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from kedro_dcgan.errors import in_short
from kedro_dcgan.gan.autotune import Tuning, tune, use_algorithms
from kedro_dcgan.gan.devices import Compute, hardware_of, has_bfloat16
from kedro_dcgan.gan.memory import free_bytes, training_bytes
from kedro_dcgan.gan.networks import Discriminator, Generator
from kedro_dcgan.gan.ranks import ALONE
from kedro_dcgan.gan.sampling import sample_latents
from kedro_dcgan.gan.specs import DiscriminatorSpec, GeneratorSpec
from kedro_dcgan.gan.threads import fewest_fast_threads, most_threads
from kedro_dcgan.gan.training.execution import Calibration, Precision, execute, steps_until_recorded
from kedro_dcgan.gan.training.plan import Plan
from kedro_dcgan.gan.training.state import Execution, start
from kedro_dcgan.gan.training.step import Step, cycle_of
from kedro_dcgan.parameters import TrainingParameters

logger = logging.getLogger(__name__)

# A training must be this many cycles of steps long to be timed.
_LEAST_CYCLES = 100
# Seconds that a way to run is timed for, at the least: the clock of a GPU takes a while to rise.
_LEAST_SECONDS = {"cuda": 1.0}
_SECONDS = 0.15
_LEAST_TIMED, _ROUNDS = 2, 2
# Executions other than eager, and how many seconds a training must take for them to be tried: capturing takes a
# second, compiling a minute or two.
_OTHERS: dict[str, dict[Execution, float]] = {
    "cuda": {"graphed": 60, "compiled and graphed": 3600},
    "cpu": {"compiled": 3600},
    "mps": {},
}
# Less than this is what timings vary by.
_LEAST_GAIN = 1.03
# Algorithms of convolutions are timed on this many images at most.
_MOST_TUNED = 64
_DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def calibrate(plan: Plan, training: TrainingParameters) -> Calibration:
    """Return how a new training runs on this machine; log what was timed in one line."""
    device = plan.compute.device
    cores = plan.compute.threads or most_threads()
    asked: Precision = "float32" if training.precision == "auto" else training.precision
    threads = cores if training.threads == "auto" else training.threads
    chosen = Calibration(device.type, hardware_of(device), asked, threads)
    is_short = plan.total_batches < _LEAST_CYCLES * cycle_of(training)
    if training.deterministic or is_short:
        chosen = replace(chosen, validation_threads=cores)
        return chosen if training.compile is not True else _Measurement(plan, training, chosen).compiled()
    if plan.compute.ranks.count > 1 or not _has_room(plan, training):
        return replace(chosen, precision=_faster_precision(plan, training, asked))
    return _Measurement(plan, training, chosen).result()


def calibrate_steps(
    generator: GeneratorSpec, discriminator: DiscriminatorSpec, training: TrainingParameters, compute: Compute
) -> Calibration:
    """Return how steps run best here that belong to no training, as in profiles and benchmarks; nothing is compiled."""
    steps_to_spare = _LEAST_CYCLES * cycle_of(training)
    return calibrate(Plan(generator, discriminator, compute, steps_to_spare, 0, {}), training)


def calibration_of(stored: Mapping[str, Any] | None, plan: Plan, training: TrainingParameters) -> Calibration:
    """Return how a training runs that is resumed from a stored state: as it did before, on the same kind of device.

    What is asked for by name is obeyed; a machine with fewer cores uses all that it has. Several ranks capture nothing.
    """
    before = stored and stored.get("calibration")
    if not before:
        return calibrate(plan, training)
    former = Calibration(**before)
    precision = former.precision if training.precision == "auto" else training.precision
    if former.device != plan.compute.device.type or precision != former.precision:
        return calibrate(plan, training.model_copy(update={"precision": precision}))
    cores = plan.compute.threads or most_threads()
    threads = min(former.threads, cores) if training.threads == "auto" else training.threads
    if threads < former.threads:
        logger.info("  %d threads instead of %d: sums are added in another order from here", threads, former.threads)
    hardware = hardware_of(plan.compute.device)
    return replace(
        former,
        hardware=hardware,
        threads=threads,
        validation_threads=former.validation_threads and min(former.validation_threads, cores),
        execution="eager" if plan.compute.ranks.count > 1 else former.execution,
        images_per_second=former.images_per_second if hardware == former.hardware else None,
    )


class _Measurement:
    def __init__(self, plan: Plan, training: TrainingParameters, chosen: Calibration) -> None:
        self._plan, self._training, self._chosen = plan, training, chosen
        self._found: dict[str, float] = {}
        self._is_cpu = plan.compute.device.type == "cpu"

    def result(self) -> Calibration:
        """Choose one thing after the other, each with what was chosen before."""
        before = torch.get_num_threads()
        started = time.perf_counter()
        try:
            if self._is_cpu:
                self._choose_threads()
            self._choose_precision_and_algorithms()
            self._choose_execution()
        finally:
            torch.set_num_threads(before)
        found = " · ".join(f"{name} {speed:,.0f}" for name, speed in self._found.items())
        chosen = f"{self._chosen}{f', {self._chosen.execution}' if self._chosen.execution != 'eager' else ''}"
        logger.info("  calibrated in %.1f s, images/s: %s · chosen: %s", time.perf_counter() - started, found, chosen)
        return self._chosen

    def compiled(self) -> Calibration:
        """Choose nothing but to compile, if that can be done for one rank."""
        if self._plan.compute.ranks.count == 1 and _has_room(self._plan, self._training):
            self._choose_execution()
        return self._chosen

    def _choose_threads(self) -> None:
        if self._training.threads == "auto" and self._chosen.threads > 1:
            trial = _Trial(self._plan, self._training, self._chosen)
            threads, speeds = fewest_fast_threads(trial.images_per_second, self._chosen.threads)
            self._found |= {_named(replace(self._chosen, threads=n)): speed for n, speed in speeds.items()}
            self._chosen = replace(self._chosen, threads=threads)
        torch.set_num_threads(self._chosen.threads)

    def _choose_precision_and_algorithms(self) -> None:
        asked, device = self._training.precision, self._plan.compute.device.type
        precisions = _candidates(device) if asked == "auto" else [asked]
        algorithms = {}
        if self._is_cpu:
            # Penalties are computed in float32, whatever the precision.
            tunings = _tune(self._plan, self._training, ["float32", *precisions])
            algorithms = {network: dict(tuning.algorithms) for network, tuning in tunings.items()}
        ways = [replace(self._chosen, precision=one, algorithms=algorithms) for one in precisions]
        trials = [_Trial(self._plan, self._training, way) for way in ways]
        speeds = [0.0 for _ in ways]
        for _ in range(_ROUNDS):
            # By turns, since a machine's speed changes with time. The best counts: others only disturb.
            speeds = [max(speed, trial.images_per_second()) for speed, trial in zip(speeds, trials, strict=True)]
        self._found |= {_named(way): speed for way, speed in zip(ways, speeds, strict=True)}
        place = len(ways) - 1 if speeds[-1] > _LEAST_GAIN * speeds[0] else 0
        self._chosen = replace(ways[place], images_per_second=speeds[place])

    def _choose_execution(self) -> None:
        wanted, others, speed = self._training.compile, _OTHERS[self._chosen.device], self._chosen.images_per_second
        ways: list[Execution] = []
        if wanted is True:
            ways = list(others)[-1:]
        elif wanted and speed:
            ways = [way for way, least_seconds in others.items() if self._plan.total_images / speed >= least_seconds]
        for way in ways:
            tried = self._try(replace(self._chosen, execution=way))
            if tried:
                self._found[way] = tried
            if tried and (wanted is True or tried > _LEAST_GAIN * (self._chosen.images_per_second or 0.0)):
                self._chosen = replace(self._chosen, execution=way, images_per_second=tried)

    def _try(self, way: Calibration) -> float | None:
        try:
            return _Trial(self._plan, self._training, way).images_per_second()
        except Exception as error:  # Compilers fail in many ways, and all of them are survived.
            logger.warning("  steps cannot be %s here, and are not (%s)", way.execution, in_short(error))
            return None
        finally:
            # The next copy, and the training itself, want the memory of this one.
            gc.collect()
            if way.device == "cuda":
                torch.cuda.empty_cache()


class _Trial:
    """A copy of a training, to be timed."""

    def __init__(self, plan: Plan, training: TrainingParameters, way: Calibration) -> None:
        self._training, self._device, self._is_warm = training, plan.compute.device, False
        compute = replace(plan.compute, precision=way.precision, ranks=ALONE)
        state = start(plan.generator, plan.discriminator, training, compute)
        for name, algorithms in way.algorithms.items():
            use_algorithms(getattr(state, name), algorithms)
        execute(state, way.execution)
        self._step = Step(state, training, compute)
        shape = (training.batch_size, plan.generator.channels, plan.generator.image_size, plan.generator.image_size)
        self._images = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(self._device) * 2 - 1
        # Whole cycles, for steps with a penalty take longer.
        cycle = cycle_of(training)
        self._steps = cycle * math.ceil(_LEAST_TIMED / cycle)
        self._warm_up = steps_until_recorded(training) if "graphed" in way.execution else self._steps

    def images_per_second(self) -> float:
        """Take steps for a while, at first after some to warm up, and return their speed."""
        if not self._is_warm:
            self._take(self._warm_up)
            self._is_warm = True
        while True:
            seconds = self._take(self._steps)
            if seconds >= _LEAST_SECONDS.get(self._device.type, _SECONDS):
                return self._steps * self._training.batch_size / seconds
            self._steps *= 2

    def _take(self, steps: int) -> float:
        started = _now(self._device)
        for _ in range(steps):
            self._step(self._images)
        return _now(self._device) - started


def _tune(plan: Plan, training: TrainingParameters, precisions: list[Precision]) -> dict[str, Tuning]:
    count = min(training.images_at_once, _MOST_TUNED)
    latents = sample_latents(count, plan.generator, 0)
    images = torch.zeros(count, plan.generator.channels, plan.generator.image_size, plan.generator.image_size)
    dtypes = [_DTYPES[one] for one in precisions]
    return {
        "generator": tune(Generator(plan.generator), latents, dtypes),
        "discriminator": tune(Discriminator(plan.discriminator), images, dtypes),
    }


def _faster_precision(plan: Plan, training: TrainingParameters, asked: Precision) -> Precision:
    """Return the precision in which the convolutions are faster, where no copy of the training can be timed."""
    device, ranks = plan.compute.device, plan.compute.ranks
    if training.precision != "auto" or len(_candidates(device.type)) == 1:
        return asked
    if device.type != "cpu":
        # Devices that have bfloat16 have it in their matrix units.
        return "bfloat16"
    is_faster = False
    if ranks.is_first:
        tunings = _tune(plan, training, ["float32", "bfloat16"]).values()
        seconds = [sum(tuning.seconds[dtype] for tuning in tunings) for dtype in _DTYPES.values()]
        is_faster = seconds[0] > _LEAST_GAIN * seconds[1]
    # Ranks must agree.
    return "bfloat16" if ranks.any(is_faster, device) else "float32"


def _candidates(device: str) -> list[Precision]:
    # Without hardware for it, bfloat16 is imitated, slowly.
    return ["float32", "bfloat16"] if has_bfloat16(device) else ["float32"]


def _named(way: Calibration) -> str:
    return str(way) if way.device == "cpu" else way.precision


def _has_room(plan: Plan, training: TrainingParameters) -> bool:
    # Two copies are timed by turns.
    device = plan.compute.device
    return 2 * training_bytes(plan.generator, plan.discriminator, training.images_at_once, device) <= free_bytes(device)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
