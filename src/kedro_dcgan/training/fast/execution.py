"""The calibration of a training, how to apply it, and how to time it on a copy of the training.

A calibration changes only the order of sums and the rounding. Checkpoints store it: a resumed training keeps its bits.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

import torch

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.model.convolution_algorithms import Algorithms
from kedro_dcgan.training.devices import ALONE, Compute
from kedro_dcgan.training.fast.autotune import use_algorithms
from kedro_dcgan.training.fast.cuda_graphs import STEPS_BEFORE, CapturedSteps
from kedro_dcgan.training.plan import Plan
from kedro_dcgan.training.state import Execution, TrainingState, create_state
from kedro_dcgan.training.step import Step, cycle_of

Precision = Literal["float32", "bfloat16"]

# Minimum seconds and steps of a measurement. A GPU needs time to reach its boost clock.
_LEAST_SECONDS = {"cuda": 1.0, "mps": 0.1, "cpu": 0.1}
_LEAST_STEPS = 2


@dataclass(frozen=True)
class Calibration:
    """The choices for this machine, and the speed measured on `hardware`, if any.

    `threads` are intra-op threads per process on a CPU. `algorithms` are those of the convolutions, by network and
    layer (`autotune.py`); layers that are not listed use the defaults.
    """

    device: str
    hardware: str
    precision: Precision
    threads: int
    validation_threads: int | None = None
    execution: Execution = "eager"
    algorithms: Mapping[str, Mapping[str, Algorithms]] = field(default_factory=dict)
    images_per_second: float | None = None

    def __str__(self) -> str:
        where = self.hardware.partition(", ")[0] if self.device == "cuda" else self.device.upper()
        threads = f" ({self.threads} thread{'s' if self.threads > 1 else ''})" if self.device == "cpu" else ""
        return f"{self.precision} on {where}{threads}"


def set_up(state: TrainingState, calibration: Calibration, stored: Calibration | None = None) -> None:
    """Apply a calibration to a state. Checkpoints store it, or `stored` instead."""
    state.calibration = asdict(stored or calibration)
    for name, algorithms in calibration.algorithms.items():
        use_algorithms(getattr(state, name), algorithms)
        if name == "generator" and state.ema_generator is not None:
            use_algorithms(state.ema_generator, algorithms)
    execute(state, calibration.execution)


def execute(state: TrainingState, execution: Execution) -> None:
    """Set the execution mode of a state."""
    state.execution = execution
    for optimiser in (state.generator_optimiser, state.discriminator_optimiser):
        for group in optimiser.param_groups:
            group["capturable"] = "graphed" in execution
    if "compiled" in execution:
        state.generator.compile()
        state.discriminator.compile()


def step_of(state: TrainingState, training: TrainingParameters, compute: Compute) -> Step:
    """Return the step of a state, run in its execution mode."""
    return Step(state, training, compute, CapturedSteps(compute) if "graphed" in state.execution else None)


class Trial:
    """Steps of a copy of a training on one rank, under a candidate calibration. The training itself does not change."""

    def __init__(self, plan: Plan, training: TrainingParameters, candidate: Calibration) -> None:
        self._training, self._device = training, plan.compute.device
        compute = replace(plan.compute, precision=candidate.precision, ranks=ALONE)
        state = create_state(plan.generator, plan.discriminator, training, compute)
        set_up(state, candidate)
        self._step = step_of(state, training, compute)
        size, source = plan.generator.image_size, torch.Generator().manual_seed(0)
        images = torch.rand(training.batch_size, plan.generator.channels, size, size, generator=source)
        self._images, classes = images.to(self._device) * 2 - 1, plan.discriminator.classes
        self._classes = (torch.arange(training.batch_size) % classes).to(self._device) if classes else None
        # Whole cycles, because steps with a penalty take longer. Warm up until all variants are captured.
        cycle = cycle_of(training)
        self._steps = cycle * math.ceil(_LEAST_STEPS / cycle)
        self._warm_up = cycle * (STEPS_BEFORE + 1) if "graphed" in candidate.execution else self._steps

    def images_per_second(self) -> float:
        """Warm up on the first call, then measure the speed over the minimum time."""
        if self._warm_up:
            self._take(self._warm_up)
            self._warm_up = 0
        while (seconds := self._take(self._steps)) < _LEAST_SECONDS[self._device.type]:
            self._steps *= 2
        return self._steps * self._training.batch_size / seconds

    def _take(self, steps: int) -> float:
        started = device_clock(self._device)
        for _ in range(steps):
            self._step(self._images, self._classes)
        return device_clock(self._device) - started


def device_clock(device: torch.device) -> float:
    """Wait until a device has finished; return the time in seconds."""
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).synchronize()
    return time.perf_counter()
