"""The calibration of a training, and how to apply it.

A calibration changes only the order of sums and, with bfloat16, the rounding. Checkpoints store it, so that a resumed
training keeps its bits.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.model.convolution_algorithms import Algorithms
from kedro_dcgan.training.fast.autotune import use_algorithms
from kedro_dcgan.training.fast.cuda_graphs import STEPS_BEFORE
from kedro_dcgan.training.state import Execution, TrainingState
from kedro_dcgan.training.step import cycle_of

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Calibration:
    """Everything about a training that is chosen for the machine.

    `threads` are those of a process on a CPU, for training and for validation. `algorithms` are those of the
    convolutions, by network and layer (`training/fast/autotune.py`); a layer that is not listed uses the default ones.
    `images_per_second` is the speed that was measured on `hardware`, if any was.
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
    """Apply a calibration to a state; checkpoints get it, or another one that is to be `stored`."""
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


def steps_until_captured(training: TrainingParameters) -> int:
    """Return the number of steps after which every variant of a step is captured."""
    return cycle_of(training) * (STEPS_BEFORE + 1)
