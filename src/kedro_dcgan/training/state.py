"""The state of a training: everything that it changes, and how that is stored and restored."""

import copy
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from kedro_dcgan.config import NetworkParameters, TrainingParameters
from kedro_dcgan.errors import TrainingError
from kedro_dcgan.model.networks import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig, initialise
from kedro_dcgan.model.recipes import build_discriminator, build_generator
from kedro_dcgan.training.devices import Compute
from kedro_dcgan.training.records import KeptGenerator, StepMeans, TickRecord

Execution = Literal["eager", "graphed", "compiled", "compiled and graphed"]


@dataclass
class TrainingState:
    """The networks, their optimisers, the average of the generator (if any), the clock and the history.

    `calibration` holds the choices for this machine (`fast.execution.Calibration`).
    """

    generator: Generator
    discriminator: Discriminator
    generator_optimiser: torch.optim.Optimizer
    discriminator_optimiser: torch.optim.Optimizer
    ema_generator: Generator | None
    images_seen: int = 0
    means: StepMeans = field(default_factory=StepMeans)
    records: list[TickRecord] = field(default_factory=list)
    best: KeptGenerator | None = None
    execution: Execution = "eager"
    calibration: dict[str, Any] | None = None

    @property
    def shown_generator(self) -> Generator:
        """The generator that is sampled, validated and exported: the average, if there is one."""
        return self.ema_generator or self.generator

    def state_dict(self) -> dict[str, Any]:
        """Return the state as CPU tensors and plain values."""
        return {
            **{name: _on_cpu(part.state_dict()) for name, part in self._parts().items()},
            "images_seen": self.images_seen,
            "means": self.means.state_dict(),
            "records": [record.as_dict() for record in self.records],
            "best": self.best and self.best.state_dict(),
            "calibration": self.calibration,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, but with the configured learning rates and betas.

        Raises:
            TrainingError: if the networks are of other shapes.
        """
        try:
            for name, part in self._parts().items():
                # A new average starts as a copy of the generator.
                stored = state.get(name, state["generator"])
                is_optimiser = isinstance(part, torch.optim.Optimizer)
                part.load_state_dict(_with_own_options(stored, part) if is_optimiser else stored)
        except (RuntimeError, ValueError) as error:
            fault = str(error).splitlines()[-1].strip()
            raise TrainingError(
                f"the networks must be those of the checkpoint ({fault}). "
                "Train from scratch: --params training.resume=never."
            ) from None
        self.images_seen = state["images_seen"]
        self.means = StepMeans.from_state(state["means"])
        self.records = [TickRecord(**record) for record in state["records"]]
        self.best = KeptGenerator(**state["best"]) if state["best"] else None

    def find_not_finite(self) -> str | None:
        """Return the name of a network that has NaN or infinite weights, if any. Waits for the device."""
        for name in ("discriminator", "generator"):
            weights = getattr(self, name).parameters()
            if not torch.stack([torch.isfinite(weight).all() for weight in weights]).all():
                return name
        return None

    def _parts(self) -> dict[str, Any]:
        parts = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "generator_optimiser": self.generator_optimiser,
            "discriminator_optimiser": self.discriminator_optimiser,
        }
        return {**parts, "ema_generator": self.ema_generator} if self.ema_generator else parts


def create_state(
    generator: GeneratorConfig,
    discriminator: DiscriminatorConfig,
    training: TrainingParameters,
    compute: Compute,
) -> TrainingState:
    """Build and initialise both networks and their optimisers; every random draw follows from `training.seed`."""
    source = torch.Generator().manual_seed(training.seed)
    g, d = build_generator(generator), build_discriminator(discriminator)
    for network in (g, d):
        initialise(network, source)
        network.to(compute.device).to(memory_format=torch.channels_last)
    average = copy.deepcopy(g).requires_grad_(False) if training.ema.half_life else None
    of_generator, of_discriminator = _adam(g, training.generator), _adam(d, training.discriminator)
    return TrainingState(g, d, of_generator, of_discriminator, average)


def _adam(network: torch.nn.Module, parameters: NetworkParameters) -> torch.optim.Adam:
    weights = list(network.parameters())
    device = weights[0].device.type
    # One kernel for all weights. (Those of CUDA and CPUs; on MPS torch's own choice.)
    fused = device in ("cpu", "cuda") or None
    return torch.optim.Adam(weights, lr=parameters.learning_rate, betas=parameters.betas, fused=fused)


def _with_own_options(stored: dict[str, Any], optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    # The parameters may have changed, and so may the device.
    groups = [
        {**group, **{name: own[name] for name in ("lr", "betas", "fused", "capturable")}}
        for group, own in zip(stored["param_groups"], optimiser.param_groups, strict=True)
    ]
    return {**stored, "param_groups": groups}


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
