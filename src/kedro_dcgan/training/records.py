"""The history of a training: metrics of a tick, and the best generator."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class TickRecord:
    """One line of the history: means over the steps of a tick, and properties of the samples at its end.

    Accuracies and mean probabilities are the discriminator's, on real and on fake images. `diversity` is 1 if the
    samples differ from each other as much as real images do. `validation` is the distance to the validation split, if
    measured. `gigaflops_per_second` counts the networks' arithmetic (`costs.flops_per_image`) in 10^9 operations.
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

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


# The metrics that a step returns, in this order.
STEP_VALUES = tuple(field.name for field in fields(TickRecord))[1:7]


class StepMeans:
    """Running means of the metrics of a tick's steps, each `(6,)` float32 on the device."""

    def __init__(self, total: Tensor | None = None, steps: int = 0) -> None:
        self._total, self._steps = total, steps
        self._unread: list[Tensor] = []

    @property
    def unread(self) -> int:
        """The number of steps that were added but not read yet."""
        return len(self._unread)

    def add(self, values: Tensor) -> None:
        """Add the metrics of a step."""
        self._unread.append(values)

    def read(self) -> tuple[int, str, float] | None:
        """Read the new steps. Return the first loss that is not finite: how many steps ago, the network, the value.

        Waits for the device.
        """
        steps = torch.stack(self._unread).tolist() if self._unread else []
        for values in self._unread:
            self._total = values if self._total is None else self._total.to(values.device) + values
        self._steps, self._unread = self._steps + len(self._unread), []
        for number, values in enumerate(steps):
            network = _at_fault(dict(zip(STEP_VALUES, values, strict=True)))
            if network:
                return len(steps) - 1 - number, network, values[0] if math.isfinite(values[1]) else values[1]
        return None

    def take(self) -> dict[str, float]:
        """Return the means by name, and start the next tick."""
        means = [] if self._total is None else (self._total / self._steps).tolist()
        self._total, self._steps = None, 0
        return dict(zip(STEP_VALUES, means, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return the sums of the steps that were read."""
        return {"total": None if self._total is None else self._total.cpu(), "steps": self._steps}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "StepMeans":
        """Restore `state_dict`."""
        return cls(state["total"], state["steps"])


def _at_fault(values: Mapping[str, float]) -> str | None:
    if math.isfinite(values["discriminator_loss"]) and math.isfinite(values["generator_loss"]):
        return None
    # If D still judges real images, the fakes were not finite: G is at fault.
    return "generator" if math.isfinite(values["real_probability"]) else "discriminator"


@dataclass(frozen=True)
class KeptGenerator:
    """The best generator so far: the one with the smallest validation distance, or the last one without validation.

    A generator that has not collapsed beats any that has: by features of photos, a black picture may be closer to white
    digits than poor digits are.
    """

    weights: dict[str, Tensor]
    images_seen: int
    validation: float | None = None
    is_collapsed: bool = False

    def is_worse_than(self, validation: float, is_collapsed: bool) -> bool:
        """Return whether another generator, with this validation distance, is better."""
        return (is_collapsed, validation) < (self.is_collapsed, self.validation)

    def state_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))
