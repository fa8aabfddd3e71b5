"""How the steps of a training run on a machine, as a value that is stored with it, and how a state is set up for it.

None of this changes what is computed but the order of sums and, with bfloat16, the rounding: so a training is resumed
with the choices that it was started with.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from kedro_dcgan.gan.autotune import use_algorithms
from kedro_dcgan.gan.convolution_algorithms import Algorithms
from kedro_dcgan.gan.training.graphs import STEPS_BEFORE
from kedro_dcgan.gan.training.state import Execution, TrainingState
from kedro_dcgan.gan.training.step import cycle_of
from kedro_dcgan.parameters import TrainingParameters

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Calibration:
    """Everything about a training that is chosen for the machine.

    `threads` are those of a process on a CPU, for training and for validation. `algorithms` are those of the
    convolutions, by network and layer (`gan/autotune.py`); a layer that is not listed uses the usual ones.
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


def set_up(state: TrainingState, calibration: Calibration) -> None:
    """Let a training use what was chosen for it, from now on."""
    state.calibration = calibration.as_dict()
    for name, algorithms in calibration.algorithms.items():
        use_algorithms(getattr(state, name), algorithms)
        if name == "generator" and state.ema_generator is not None:
            use_algorithms(state.ema_generator, algorithms)
    execute(state, calibration.execution)


def execute(state: TrainingState, execution: Execution) -> None:
    """Let the steps of a state be executed like this, from now on."""
    state.execution = execution
    for optimiser in (state.generator_optimiser, state.discriminator_optimiser):
        for group in optimiser.param_groups:
            group["capturable"] = "graphed" in execution
    if "compiled" in execution:
        state.generator.compile()
        state.discriminator.compile()


def steps_until_recorded(training: TrainingParameters) -> int:
    """Return after how many steps every kind of step is captured that can be."""
    return cycle_of(training) * (STEPS_BEFORE + 1)
