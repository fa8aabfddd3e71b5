"""The calibration of a training, and how to apply it.

A calibration changes only the order of sums and, with bfloat16, the rounding. Checkpoints store it, so that a resumed
training keeps its bits.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.model.convolution_algorithms import Algorithms
from kedro_dcgan.training.devices import Compute
from kedro_dcgan.training.fast.autotune import use_algorithms
from kedro_dcgan.training.fast.cuda_graphs import STEPS_BEFORE, CapturedSteps
from kedro_dcgan.training.state import Execution, TrainingState
from kedro_dcgan.training.step import Runner, Step, cycle_of

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Calibration:
    """The choices for this machine.

    `threads` are intra-op threads per process on a CPU. `algorithms` are those of the convolutions, by network and
    layer (`autotune.py`); layers that are not listed use the defaults. `images_per_second` is the speed measured on
    `hardware`, if any.
    """

    device: str
    hardware: str
    precision: Precision
    threads: int
    validation_threads: int | None = None
    execution: Execution = "eager"
    algorithms: Mapping[str, Mapping[str, Algorithms]] = field(default_factory=dict)
    images_per_second: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        where = self.hardware.partition(", ")[0] if self.device == "cuda" else self.device.upper()
        threads = f" ({self.threads} thread{'s' if self.threads > 1 else ''})" if self.device == "cpu" else ""
        return f"{self.precision} on {where}{threads}"


def set_up(state: TrainingState, calibration: Calibration, stored: Calibration | None = None) -> None:
    """Apply a calibration to a state. Checkpoints store it, or `stored` instead."""
    state.calibration = (stored or calibration).as_dict()
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


def runner_of(state: TrainingState, compute: Compute) -> Runner | None:
    """Return the function that runs the steps of a state: as CUDA graphs, or nothing to run them eagerly."""
    return CapturedSteps(compute) if "graphed" in state.execution else None


def step_of(state: TrainingState, training: TrainingParameters, compute: Compute) -> Step:
    """Return the step of a state, run as its execution mode says."""
    return Step(state, training, compute, runner_of(state, compute))


def steps_until_captured(training: TrainingParameters) -> int:
    """Return the number of steps after which every variant of a step is captured."""
    return cycle_of(training) * (STEPS_BEFORE + 1)
