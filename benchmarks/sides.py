"""Ways to take a training step, each in a process of its own and timed by turns.

Processes, because how one way has its memory kept is not to help the other.
"""

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.model.recipes import network_configs
from kedro_dcgan.training.devices import Compute, choose_compute, deterministic_algorithms, keep_freed_memory
from kedro_dcgan.training.fast.calibration import calibrate_steps
from kedro_dcgan.training.fast.execution import Calibration, set_up, steps_until_captured
from kedro_dcgan.training.state import TrainingState, create_state

SECONDS = 2.0
CONF = Path(__file__).parents[1] / "conf"


@dataclass(frozen=True)
class Case:
    """What is trained: images of a size, with these parameters, as calibrated."""

    size: int
    channels: int
    training: TrainingParameters
    calibration: Calibration

    @property
    def compute(self) -> Compute:
        """The device, and the precision that was chosen for it."""
        return Compute(torch.device(self.calibration.device), self.calibration.precision)

    def started(self) -> TrainingState:
        """Return a new training, set up as calibrated. Its threads are those of the process."""
        if self.calibration.device == "cpu":
            keep_freed_memory()
        state = create_state(*network_configs(self.size, self.channels, self.training), self.training, self.compute)
        set_up(state, self.calibration)
        return state


def calibrated(size: int, channels: int, training: TrainingParameters) -> Case:
    """Calibrate a training as `kedro run` would now; on a GPU, steps are captured as in trainings of minutes."""
    compute = choose_compute(training.device, training.precision)
    if compute.device.type == "cpu":
        keep_freed_memory()
    with deterministic_algorithms(False):
        found = calibrate_steps(*network_configs(size, channels, training), training, compute)
    is_cuda = compute.device.type == "cuda"
    return Case(size, channels, training, replace(found, execution="graphed") if is_cuda else found)


# Makes what takes a step on real images in [-1, 1].
Build = Callable[[Case], Callable[[Tensor], object]]


class Side:
    """A way to take a step, ready to be timed."""

    def __init__(self, build: Build, case: Case) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other_end = context.Pipe()
        context.Process(target=_answer, args=(other_end, build, case), daemon=True).start()
        # To warm up, and to know how many steps make a round. (A GPU's steps of all kinds have been captured then.)
        is_cuda = case.calibration.device == "cuda"
        self.images_per_second(steps_until_captured(case.training) if is_cuda else 3)
        self._steps = max(2, round(SECONDS * self.images_per_second(2) / case.training.batch_size))

    def images_per_second(self, steps: int | None = None) -> float:
        """Return the speed of so many steps, or of a round."""
        self.begin(steps)
        return self.result()

    def begin(self, steps: int | None = None) -> None:
        """Begin to take steps."""
        self._pipe.send(steps or self._steps)

    def result(self) -> float:
        """Wait for the steps that were begun, and return their speed."""
        return float(self._pipe.recv())

    def end(self) -> None:
        """End the process."""
        self._pipe.send(0)


def _answer(pipe: Connection, build: Build, case: Case) -> None:
    torch.set_num_threads(case.calibration.threads)
    shape = case.training.batch_size, case.channels, case.size, case.size
    # On a GPU, cuDNN tries its algorithms, as in our trainings and in those of pytorch/examples.
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
    """Return a preset's parameters with the peer's learning rates and without an average."""
    values = preset_values(preset)
    for name in ("generator", "discriminator"):
        values[name]["learning_rate"] = 2e-4
    values["ema"]["half_life"] = None
    return TrainingParameters.model_validate({**values, **changes})


def preset_values(preset: str) -> dict[str, Any]:
    """Return a preset's training parameters as they stand in conf/."""
    values: dict[str, Any] = yaml.safe_load((CONF / "base/parameters_training.yml").read_text())["training"]
    if preset != "base":
        merge(values, yaml.safe_load((CONF / preset / "parameters_training.yml").read_text())["training"])
    return values


def merge(values: dict[str, Any], changes: dict[str, Any]) -> None:
    """Change nested values."""
    for key, value in changes.items():
        if isinstance(value, dict):
            merge(values[key], value)
        else:
            values[key] = value
