"""A copy of a training, to time its steps. The training itself does not change."""

import math
import time
from dataclasses import replace

import torch

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.training.fast.execution import Calibration, set_up, step_of, steps_until_captured
from kedro_dcgan.training.plan import Plan
from kedro_dcgan.training.ranks import ALONE
from kedro_dcgan.training.state import create_state
from kedro_dcgan.training.step import cycle_of

# Minimum seconds per measurement: a GPU needs time to reach its boost clock.
_LEAST_SECONDS = {"cuda": 1.0}
_SECONDS = 0.1
_LEAST_TIMED = 2


class Trial:
    """Steps of a new training on one rank, under a candidate calibration."""

    def __init__(self, plan: Plan, training: TrainingParameters, candidate: Calibration) -> None:
        self._training, self._device, self._is_warm = training, plan.compute.device, False
        compute = replace(plan.compute, precision=candidate.precision, ranks=ALONE)
        state = create_state(plan.generator, plan.discriminator, training, compute)
        set_up(state, candidate)
        self._step = step_of(state, training, compute)
        shape = (training.batch_size, plan.generator.channels, plan.generator.image_size, plan.generator.image_size)
        self._images = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(self._device) * 2 - 1
        # Whole cycles, because steps with a penalty take longer.
        cycle = cycle_of(training)
        self._steps = cycle * math.ceil(_LEAST_TIMED / cycle)
        self._warm_up = steps_until_captured(training) if "graphed" in candidate.execution else self._steps

    def images_per_second(self) -> float:
        """Warm up on the first call, then measure the speed over the minimum time."""
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


def _now(device: torch.device) -> float:
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).synchronize()
    return time.perf_counter()
