"""Choose precision, threads, convolution algorithms and execution of a training by timing its own steps.

Explicit parameters win. `calibrate` decides about a new training:

- It has fewer than 100 cycles of steps, is deterministic, or needs emulated bfloat16: do not measure anything. Unless
  it is deterministic, leave the cores to other programs that they use.
- There are several ranks, or two copies of the training do not fit into memory: choose only the precision. On a CPU,
  time the convolutions alone; GPUs that have bfloat16 use it (`_without_copies`).
- Otherwise, time steps of copies: first threads, then algorithms and precision, then execution (`_Measurement`).

In the first case, `training.compile: true` still compiles. A resumed training keeps its stored calibration if device
and precision are the same (`calibration_of`).
"""

import gc
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.errors import in_short
from kedro_dcgan.model.networks import DiscriminatorConfig, GeneratorConfig
from kedro_dcgan.training.costs import free_bytes, is_lack_of_memory, training_bytes
from kedro_dcgan.training.devices import Compute, hardware_of, has_bfloat16
from kedro_dcgan.training.fast.autotune import tune_networks
from kedro_dcgan.training.fast.execution import Calibration, Precision, Trial
from kedro_dcgan.training.plan import Plan
from kedro_dcgan.training.state import Execution
from kedro_dcgan.training.step import cycle_of
from kedro_dcgan.training.threads import fewest_fast_threads, idle_threads, most_threads

logger = logging.getLogger(__name__)

# The minimum length of a training to time it, and the number of rounds.
_LEAST_CYCLES, _ROUNDS = 100, 3
# Execution modes other than eager, and the minimum length of a training, in seconds, to try them: capturing takes a
# second, compiling a minute or two.
_OTHERS: dict[str, dict[Execution, float]] = {
    "cuda": {"graphed": 60, "compiled and graphed": 3600},
    "cpu": {"compiled": 3600},
    "mps": {},
}
# Copies that are timed alternately, and how much more memory one takes than the lower bound (measured: 1.7 times).
_COPIES, _MOST_OF_LEAST = 2, 1.75
# Smaller gains are within the noise. bfloat16 also rounds more coarsely: it must win clearly.
_LEAST_GAIN, _LEAST_GAIN_OF_BFLOAT16 = 1.03, 1.05
_DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def calibrate(plan: Plan, training: TrainingParameters) -> Calibration:
    """Calibrate a new training; log the measurements in one line."""
    # Begin with the explicit parameters.
    device = plan.compute.device
    precision: Precision = "float32" if training.precision == "auto" else training.precision
    explicit = None if training.threads == "auto" else training.threads
    threads = explicit or plan.compute.threads or most_threads()
    chosen = Calibration(device.type, hardware_of(device), precision, threads, explicit)

    # Skip the measurements for short, deterministic and emulated trainings.
    is_emulated = precision == "bfloat16" and not has_bfloat16(device.type)
    if is_emulated:
        logger.warning("  bfloat16 is emulated on this %s, and slow: float32 is faster here", device.type.upper())
    if training.deterministic or is_emulated or plan.total_batches < _LEAST_CYCLES * cycle_of(training):
        if not (training.deterministic or explicit or plan.compute.threads) and device.type == "cpu":
            # Next to a busy program, as many threads as cores are ten times slower.
            threads = idle_threads()
        chosen = replace(chosen, threads=threads, validation_threads=threads)
        return _Measurement(plan, training, chosen).compiled() if training.compile is True else chosen

    # Time copies of the training, if they fit into memory.
    if plan.compute.ranks.count == 1 and _has_room(plan, training):
        try:
            return _Measurement(plan, training, chosen).result()
        except (MemoryError, RuntimeError) as error:
            if not is_lack_of_memory(error):
                raise
        free_memory(device)
    return _without_copies(plan, training, chosen)


def calibrate_steps(
    generator: GeneratorConfig, discriminator: DiscriminatorConfig, training: TrainingParameters, compute: Compute
) -> Calibration:
    """Calibrate steps outside a training, for profiles and benchmarks."""
    return calibrate(Plan(generator, discriminator, compute, _LEAST_CYCLES * cycle_of(training), 0, {}), training)


def calibration_of(
    stored: Mapping[str, Any] | None, plan: Plan, training: TrainingParameters
) -> tuple[Calibration, Calibration]:
    """Return the calibration that a resumed training runs with, and the one that its checkpoints store.

    Both are the stored one, if it is of the same kind of device. For this run only, explicit parameters win,
    threads are capped at the usable cores, and several ranks run eagerly.
    """
    before = stored and stored.get("calibration")
    if not before:
        fresh = calibrate(plan, training)
        return fresh, fresh
    former = Calibration(**before)
    precision = former.precision if training.precision == "auto" else training.precision
    if former.device != plan.compute.device.type or precision != former.precision:
        fresh = calibrate(plan, training.model_copy(update={"precision": precision}))
        return fresh, fresh
    cores, explicit = plan.compute.threads or most_threads(), None if training.threads == "auto" else training.threads
    threads = explicit or min(former.threads, cores)
    if threads != former.threads:
        logger.info("  threads: %d, not %d as before: results differ in the last bits", threads, former.threads)
    used = replace(
        former,
        hardware=hardware_of(plan.compute.device),
        threads=threads,
        validation_threads=explicit or (former.validation_threads and min(former.validation_threads, cores)),
        execution=former.execution if training.compile and plan.compute.ranks.count == 1 else "eager",
    )
    if training.compile is True and "compiled" not in used.execution:
        used = _Measurement(plan, training, used).compiled()
    # The stored speed only holds for the same cores, threads and execution.
    is_same = replace(used, validation_threads=former.validation_threads) == former and plan.compute.ranks.count == 1
    return (used if is_same else replace(used, images_per_second=None)), former


class _Measurement:
    """A greedy search: each choice builds on the earlier ones."""

    def __init__(self, plan: Plan, training: TrainingParameters, chosen: Calibration) -> None:
        self._plan, self._training, self._chosen, self._precisions = plan, training, chosen, [chosen]
        self._speeds: dict[str, float] = {}
        self._is_cpu = plan.compute.device.type == "cpu"

    def result(self) -> Calibration:
        """Choose threads, algorithms, precision and execution."""
        before, started = torch.get_num_threads(), time.perf_counter()
        try:
            if self._is_cpu:
                if self._training.threads == "auto" and self._chosen.threads > 1:
                    trial = Trial(self._plan, self._training, self._chosen)
                    threads, speeds = fewest_fast_threads(trial.images_per_second, self._chosen.threads)
                    self._speeds |= {str(replace(self._chosen, threads=n)): speed for n, speed in speeds.items()}
                    self._chosen = replace(self._chosen, threads=threads)
                torch.set_num_threads(self._chosen.threads)
            self._choose_precision_and_algorithms()
            self._choose_execution()
        finally:
            torch.set_num_threads(before)
            free_memory(self._plan.compute.device)
        measured = " · ".join(f"{name} {speed:,.0f}" for name, speed in self._speeds.items())
        chosen = f"{self._chosen}{f', {self._chosen.execution}' if self._chosen.execution != 'eager' else ''}"
        taken = time.perf_counter() - started
        logger.info("  calibrated in %.1f s, images/s: %s · chosen: %s", taken, measured, chosen)
        return self._chosen

    def compiled(self) -> Calibration:
        """Compile for `training.compile: true`, if there is one rank and enough memory; tune nothing else."""
        if self._plan.compute.ranks.count == 1 and _has_room(self._plan, self._training):
            self._choose_execution()
        else:
            logger.warning("  not compiled: that needs one rank, and memory for a second copy of the training")
        return self._chosen

    def _choose_precision_and_algorithms(self) -> None:
        requested, device = self._training.precision, self._plan.compute.device.type
        # Without hardware for it, bfloat16 is emulated, slowly.
        candidates: list[Precision] = ["float32", "bfloat16"] if has_bfloat16(device) else ["float32"]
        precisions = candidates if requested == "auto" else [requested]
        algorithms: dict[str, dict[str, Any]] = {}
        if self._is_cpu:
            tunings = tune_networks(self._plan, self._training, [_DTYPES[one] for one in precisions])
            algorithms = {network: dict(tuning.algorithms) for network, tuning in tunings.items()}
            if requested == "auto":
                times = [tuning.seconds for tuning in tunings.values()]
                precisions = [one for one in precisions if all(by.get(_DTYPES[one]) != math.inf for by in times)]
        self._precisions = [replace(self._chosen, precision=one, algorithms=algorithms) for one in precisions]
        trials = [Trial(self._plan, self._training, candidate) for candidate in self._precisions]
        speeds = [0.0 for _ in trials]
        for _ in range(_ROUNDS):
            # Interleaved, because the machine's speed drifts. The maximum counts: noise only slows down.
            speeds = [max(speed, trial.images_per_second()) for speed, trial in zip(speeds, trials, strict=True)]
        for candidate, speed in zip(self._precisions, speeds, strict=True):
            self._consider(candidate, speed, _LEAST_GAIN_OF_BFLOAT16)

    def _choose_execution(self) -> None:
        mode, others, speed = self._training.compile, _OTHERS[self._chosen.device], self._chosen.images_per_second
        executions: list[Execution] = []
        if mode is True:
            executions = list(others)[-1:]
            # Compile, whatever the gain.
            self._chosen = replace(self._chosen, images_per_second=None)
        elif mode and speed:
            length = min(self._plan.total_images / speed, 60 * (self._training.minutes or math.inf))
            executions = [one for one, seconds in others.items() if length >= seconds]
        precisions = self._precisions if not self._is_cpu else [self._chosen]
        for execution in executions:
            # On a GPU, kernel launches limit eager steps, so captured steps compare the precisions again.
            for candidate in (replace(one, execution=execution) for one in precisions):
                try:
                    speed = Trial(self._plan, self._training, candidate).images_per_second()
                    self._consider(candidate, speed, _LEAST_GAIN)
                except Exception as error:  # torch.compile fails in many ways: fall back to eager.
                    logger.warning("  %s execution fails here and is not used (%s)", execution, in_short(error))
                finally:
                    free_memory(self._plan.compute.device)

    def _consider(self, candidate: Calibration, speed: float, least_gain: float) -> None:
        name = str(candidate) if self._is_cpu else candidate.precision
        self._speeds[name if candidate.execution == "eager" else f"{name}, {candidate.execution}"] = speed
        if not self._chosen.images_per_second or speed > least_gain * self._chosen.images_per_second:
            self._chosen = replace(candidate, images_per_second=speed)


def _without_copies(plan: Plan, training: TrainingParameters, chosen: Calibration) -> Calibration:
    """Choose the precision by the convolutions alone, because no copy of the training can be timed."""
    device, ranks = plan.compute.device, plan.compute.ranks
    # All ranks must agree. Some may be on a processor without bfloat16.
    if training.precision != "auto" or ranks.any(not has_bfloat16(device.type), device):
        return chosen
    if device.type != "cpu":
        # GPUs with bfloat16 run it on tensor cores.
        return replace(chosen, precision="bfloat16")
    is_faster = False
    if ranks.is_first:
        tunings = tune_networks(plan, training, _DTYPES.values()).values()
        float32, bfloat16 = (sum(tuning.seconds[dtype] for tuning in tunings) for dtype in _DTYPES.values())
        is_faster = float32 > _LEAST_GAIN_OF_BFLOAT16 * bfloat16
    return replace(chosen, precision="bfloat16" if ranks.any(is_faster, device) else "float32")


def _has_room(plan: Plan, training: TrainingParameters) -> bool:
    """Return whether two copies, which are timed alternately, fit into the free memory."""
    networks, device = (plan.generator, plan.discriminator), plan.compute.device
    least = training_bytes(*networks, training.micro_batch_size, device, "float32")
    return _COPIES * _MOST_OF_LEAST * least <= free_bytes(device)


def free_memory(device: torch.device) -> None:
    """Free the memory of earlier copies, for the next copy and the training itself."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
