"""Times variants of a training step, each in its own process, in alternating rounds.

Separate processes, because the memory allocator of one variant must not affect another.
"""

import multiprocessing
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import yaml
from torch import Tensor

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.model.recipes import network_configs
from kedro_dcgan.training.devices import Compute, choose_compute, deterministic_algorithms, keep_freed_memory
from kedro_dcgan.training.fast.calibration import calibrate_steps
from kedro_dcgan.training.fast.cuda_graphs import STEPS_BEFORE
from kedro_dcgan.training.fast.execution import Calibration, set_up
from kedro_dcgan.training.state import TrainingState, create_state
from kedro_dcgan.training.step import cycle_of

SECONDS = 2.0
CONF = Path(__file__).parents[1] / "conf"


@dataclass(frozen=True)
class Case:
    """A training: image size, parameters, calibration and, if it is conditional, the shares of the classes."""

    size: int
    channels: int
    training: TrainingParameters
    calibration: Calibration
    class_shares: Mapping[str, float] = field(default_factory=dict)

    @property
    def compute(self) -> Compute:
        """The device and the calibrated precision."""
        return Compute(torch.device(self.calibration.device), self.calibration.precision)

    def new_state(self) -> TrainingState:
        """Return the state of a new training with the calibrated algorithms; the caller sets the threads."""
        if self.calibration.device == "cpu":
            keep_freed_memory()
        networks = network_configs(self.size, self.channels, self.training, self.class_shares)
        state = create_state(*networks, self.training, self.compute)
        set_up(state, self.calibration)
        return state


def calibrated(
    size: int, channels: int, training: TrainingParameters, class_shares: Mapping[str, float] = MappingProxyType({})
) -> Case:
    """Calibrate a training like `kedro run`; on a GPU, capture steps as in trainings of minutes."""
    compute = choose_compute(training.device, training.precision)
    if compute.device.type == "cpu":
        keep_freed_memory()
    with deterministic_algorithms(False):
        found = calibrate_steps(*network_configs(size, channels, training, class_shares), training, compute)
    is_cuda = compute.device.type == "cuda"
    return Case(size, channels, training, replace(found, execution="graphed") if is_cuda else found, dict(class_shares))


# Builds a function that trains one step on real images in [-1, 1].
Build = Callable[[Case], Callable[[Tensor], object]]


class TimedStep:
    """A variant of a training step in its own process, ready to be timed."""

    def __init__(self, build: Build, case: Case) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other_end = context.Pipe()
        context.Process(target=_serve, args=(other_end, build, case), daemon=True).start()
        # Warm up (on a GPU, until every step variant is captured) and measure how many steps make a round.
        is_cuda = case.calibration.device == "cuda"
        self.images_per_second(cycle_of(case.training) * (STEPS_BEFORE + 1) if is_cuda else 3)
        self._steps = max(2, round(SECONDS * self.images_per_second(2) / case.training.batch_size))

    def images_per_second(self, steps: int | None = None) -> float:
        """Return the speed of a number of steps, by default of a round."""
        self.start(steps)
        return self.result()

    def start(self, steps: int | None = None) -> None:
        """Start some steps, by default a round."""
        self._pipe.send(steps or self._steps)

    def result(self) -> float:
        """Wait for the started steps; return their speed in images per second."""
        return float(self._pipe.recv())

    def stop(self) -> None:
        """Stop the process."""
        self._pipe.send(0)


def _serve(pipe: Connection, build: Build, case: Case) -> None:
    torch.set_num_threads(case.calibration.threads)
    shape = case.training.batch_size, case.channels, case.size, case.size
    # On a GPU, cuDNN benchmarks its algorithms, as in our trainings and in pytorch/examples.
    with deterministic_algorithms(False):
        images, step = torch.rand(shape, device=case.compute.device) * 2 - 1, build(case)
        while steps := pipe.recv():
            started = time.perf_counter()
            for _ in range(steps):
                step(images)
            if case.compute.device.type == "cuda":
                torch.cuda.synchronize()
            pipe.send(steps * len(images) / (time.perf_counter() - started))


def parameters(preset: str, **changes: Any) -> TrainingParameters:
    """Return the parameters of a preset with the peer's learning rates and without an EMA."""
    values = preset_values(preset)
    for name in ("generator", "discriminator"):
        values[name]["learning_rate"] = 2e-4
    values["ema"]["half_life"] = None
    return TrainingParameters.model_validate({**values, **changes})


def preset_values(preset: str) -> dict[str, Any]:
    """Return the training parameters of a preset from conf/."""
    values: dict[str, Any] = yaml.safe_load((CONF / "base/parameters_training.yml").read_text())["training"]
    if preset != "base":
        merge(values, yaml.safe_load((CONF / preset / "parameters_training.yml").read_text())["training"])
    return values


def merge(values: dict[str, Any], changes: dict[str, Any]) -> None:
    """Merge nested changes into values, in place."""
    for key, value in changes.items():
        if isinstance(value, dict):
            merge(values[key], value)
        else:
            values[key] = value
