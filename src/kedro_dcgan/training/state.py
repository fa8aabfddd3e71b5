"""The state of a training: everything that training changes, and its stored form.

It has the networks and optimisers, the metrics of the current tick, the history, and the best generator.
"""

import copy
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import torch
from torch import Tensor

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.errors import TrainingError
from kedro_dcgan.model.networks import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig, initialise
from kedro_dcgan.model.recipes import build_discriminator, build_generator
from kedro_dcgan.progress import short_images
from kedro_dcgan.training.devices import Compute
from kedro_dcgan.training.regularisation import AdaptiveR1

_REMEDY = (
    "Lower `training.generator.learning_rate` and `training.discriminator.learning_rate`. "
    "The last checkpoint is intact."
)

Execution = Literal["eager", "graphed", "compiled", "compiled and graphed"]


@dataclass(frozen=True)
class TickRecord:
    """One line of the history: means over the steps of a tick, and properties of the samples at its end.

    Accuracies are D's on real and on fake images, probabilities the means of its sigmoids. `diversity` is 1 if the
    samples differ from each other as much as real images do. `validation` is the distance to the validation split.
    `r1` is the weight of the R1 penalty at the end, if it adapts.
    """

    images_seen: int
    discriminator_loss: float
    generator_loss: float
    real_accuracy: float
    fake_accuracy: float
    real_probability: float
    fake_probability: float
    diversity: float
    validation: float | None
    images_per_second: float
    gigaflops_per_second: float
    health: str
    r1: float | None = None


# The metrics that a step returns, in this order.
STEP_VALUES = tuple(field.name for field in fields(TickRecord))[1:7]


@dataclass
class StepMeans:
    """Running means of the metrics of a tick's steps, each `(6,)` float32 on the device.

    `total` is the sum over `steps` steps; the metrics of later steps are `unread`.
    """

    total: Tensor | None = None
    steps: int = 0
    unread: list[Tensor] = field(default_factory=list)

    def add(self, values: Tensor) -> None:
        """Add the metrics of a step."""
        self.unread.append(values)

    def first_fault(self) -> tuple[int, str, float] | None:
        """Read the new steps, which waits for the device; return the first loss that is not finite, if any.

        The fault is how many steps ago it was, the network and the value.
        """
        steps = torch.stack(self.unread).tolist() if self.unread else []
        for values in self.unread:
            self.total = values if self.total is None else self.total.to(values.device) + values
        self.steps, self.unread = self.steps + len(steps), []
        for number, (d_loss, g_loss, _, _, real_probability, _) in enumerate(steps, start=1):
            if not (math.isfinite(d_loss) and math.isfinite(g_loss)):
                # If D's output on real images is finite, the fakes were not: G is at fault.
                network = "generator" if math.isfinite(real_probability) else "discriminator"
                return len(steps) - number, network, d_loss if math.isfinite(g_loss) else g_loss
        return None

    def take(self) -> dict[str, float]:
        """Return the means over the steps that were read, by name, and start the next tick."""
        means = [] if self.total is None else (self.total / self.steps).tolist()
        self.total, self.steps = None, 0
        return dict(zip(STEP_VALUES, means, strict=True))


@dataclass(frozen=True)
class KeptGenerator:
    """The best generator so far: the one with the smallest validation distance, or the last one without validation.

    A generator that has not collapsed beats any that has: black images may be closer to digits than poor digits are.
    """

    weights: dict[str, Tensor]
    images_seen: int
    validation: float | None = None
    is_collapsed: bool = False


@dataclass
class TrainingState:
    """The networks, their optimisers, the EMA of the generator (if any), the clock and the history.

    `seconds` is the time that training has taken so far, in all processes.
    """

    generator: Generator
    discriminator: Discriminator
    generator_optimiser: torch.optim.Optimizer
    discriminator_optimiser: torch.optim.Optimizer
    ema_generator: Generator | None
    adaptive_r1: AdaptiveR1 | None = None
    images_seen: int = 0
    seconds: float = 0.0
    means: StepMeans = field(default_factory=StepMeans)
    records: list[TickRecord] = field(default_factory=list)
    best: KeptGenerator | None = None
    execution: Execution = "eager"
    calibration: dict[str, Any] | None = None  # the choices for this machine (`fast.execution.Calibration`)

    @property
    def shown_generator(self) -> Generator:
        """The generator that is sampled, validated and exported: the EMA, if there is one."""
        return self.ema_generator or self.generator

    def is_out_of_time(self, training: TrainingParameters) -> bool:
        """Return whether training has taken `training.minutes`."""
        return training.minutes is not None and self.seconds >= 60 * training.minutes

    def is_finished(self, training: TrainingParameters, total_images: int) -> bool:
        """Return whether no further step will be taken."""
        return self.images_seen >= total_images or self.ends_early(training)

    def ends_early(self, training: TrainingParameters) -> bool:
        """Return whether training ends before its length: it is out of time, or its patience is exhausted.

        Patience is exhausted when the last `training.patience` validations found no better generator than the best one.
        """
        if self.is_out_of_time(training):
            return True
        if training.patience is None or self.best is None:
            return False
        validated = [record.images_seen for record in self.records if record.validation is not None]
        return len([seen for seen in validated if seen > self.best.images_seen]) >= training.patience

    def require_finite_weights(self) -> None:
        """Raise TrainingError for weights that are not finite. Waits for the device."""
        for name in ("discriminator", "generator"):
            weights = getattr(self, name).parameters()
            if not torch.stack([torch.isfinite(weight).all() for weight in weights]).all():
                seen = short_images(self.images_seen)
                raise TrainingError(f"the {name}'s weights must stay finite (they do not at {seen}). {_REMEDY}")

    def require_finite_losses(self, batch_size: int) -> None:
        """Raise TrainingError for the first loss of the steps since the last call that is not finite."""
        if fault := self.means.first_fault():
            steps_ago, network, value = fault
            number = self.images_seen // batch_size - steps_ago
            raise TrainingError(
                f"the {network}'s loss must stay finite (got {value} in step {number:,}, at "
                f"{short_images(number * batch_size)}). {_REMEDY}"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the state as CPU tensors and plain values."""
        total = self.means.total
        return {
            **{name: _on_cpu(part.state_dict()) for name, part in self._parts().items()},
            "images_seen": self.images_seen,
            "seconds": self.seconds,
            "means": {"total": None if total is None else total.cpu(), "steps": self.means.steps},
            "records": [asdict(record) for record in self.records],
            "best": dict(vars(self.best)) if self.best else None,
            "calibration": self.calibration,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict`, but keep the configured learning rates and betas; TrainingError for other networks."""
        try:
            for name, part in self._parts().items():
                # A new EMA starts as a copy of the generator.
                stored = state.get(name, state["generator"] if name == "ema_generator" else part.state_dict())
                if isinstance(part, torch.optim.Optimizer):
                    # Learning rates, betas and the device may have changed.
                    groups = [
                        {**group, **{option: new[option] for option in ("lr", "betas", "fused", "capturable")}}
                        for group, new in zip(stored["param_groups"], part.param_groups, strict=True)
                    ]
                    stored = {**stored, "param_groups": groups}
                part.load_state_dict(stored)
            self.images_seen = state["images_seen"]
            # Earlier versions did not store it.
            self.seconds = state.get("seconds", 0.0)
            self.means = StepMeans(**state["means"])
            self.records = [TickRecord(**record) for record in state["records"]]
            self.best = KeptGenerator(**state["best"]) if state["best"] else None
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            fault = str(error).splitlines()[-1].strip()
            raise TrainingError(
                f"the networks must be those of the checkpoint ({fault}). "
                "Train from scratch: --params training.resume=never."
            ) from None

    def _parts(self) -> dict[str, Any]:
        networks, optimisers = ("generator", "discriminator"), ("generator_optimiser", "discriminator_optimiser")
        names = (*networks, *optimisers, "ema_generator", "adaptive_r1")
        return {name: part for name in names if (part := getattr(self, name)) is not None}


def create_state(
    generator: GeneratorConfig, discriminator: DiscriminatorConfig, training: TrainingParameters, compute: Compute
) -> TrainingState:
    """Build and initialise both networks and their optimisers; every random draw follows from `training.seed`."""
    source = torch.Generator().manual_seed(training.seed)
    g, d = build_generator(generator), build_discriminator(discriminator)
    initialise(g, source)
    initialise(d, source, training.discriminator.initialisation)
    for network in (g, d):
        network.to(compute.device).to(memory_format=torch.channels_last)
    average = copy.deepcopy(g).requires_grad_(False) if training.ema.half_life else None
    # One kernel for all weights. (On CUDA and CPUs; on MPS torch's own choice.)
    fused = compute.device.type in ("cpu", "cuda") or None
    g_optimiser, d_optimiser = (
        torch.optim.Adam(network.parameters(), lr=parameters.learning_rate, betas=parameters.betas, fused=fused)
        for network, parameters in ((g, training.generator), (d, training.discriminator))
    )
    adaptive_r1 = AdaptiveR1().to(compute.device) if training.penalties.r1 == "auto" else None
    return TrainingState(g, d, g_optimiser, d_optimiser, average, adaptive_r1)


def _on_cpu(value: Any) -> Any:
    match value:
        case Tensor():
            # A copy, because training changes the original. The memory format is kept.
            return value.detach().cpu().clone()
        case dict():
            return {key: _on_cpu(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(_on_cpu(item) for item in value)
    return value
