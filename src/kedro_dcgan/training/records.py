"""What training writes down: the means of a tick, and the generator that is kept."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class TickRecord:
    """One line of the history: means over the steps of a tick, and what the samples are like at its end.

    Accuracies and probabilities are the discriminator's, on real and on fake images; `real_probability` and
    `fake_probability` are what it takes both for. `diversity` is 1 where the samples are as different from each
    other as real images. `validation` is the distance to the validation split, if it was measured then.
    `gigaflops_per_second` is the arithmetic of the networks (`arithmetic.flops_per_image`), 10^9 operations.
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


# What a step returns, in this order.
STEP_VALUES = tuple(field.name for field in fields(TickRecord))[1:7]


class StepMeans:
    """The running means of what the steps of a tick have returned: `(6,)` float32 on the device."""

    def __init__(self, total: Tensor | None = None, steps: int = 0) -> None:
        self._total, self._steps = total, steps
        self._unseen: list[Tensor] = []

    @property
    def unseen(self) -> int:
        """How many steps have been added since the last look."""
        return len(self._unseen)

    def add(self, values: Tensor) -> None:
        """Take the values of one more step."""
        self._unseen.append(values)

    def look(self) -> tuple[int, str, float] | None:
        """Add up what has been added, and return the first loss that is not finite: how many steps ago, whose, and it.

        Waits for the device.
        """
        steps = torch.stack(self._unseen).tolist() if self._unseen else []
        for values in self._unseen:
            self._total = values if self._total is None else self._total.to(values.device) + values
        self._steps, self._unseen = self._steps + len(self._unseen), []
        for number, values in enumerate(steps):
            network = _at_fault(dict(zip(STEP_VALUES, values, strict=True)))
            if network:
                return len(steps) - 1 - number, network, values[0] if math.isfinite(values[1]) else values[1]
        return None

    def take(self) -> dict[str, float]:
        """Return the means by name of what was looked at, and begin anew."""
        means = [] if self._total is None else (self._total / self._steps).tolist()
        self._total, self._steps = None, 0
        return dict(zip(STEP_VALUES, means, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return what there is so far of what was looked at."""
        return {"total": None if self._total is None else self._total.cpu(), "steps": self._steps}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "StepMeans":
        """Go on where `state_dict` was taken."""
        return cls(state["total"], state["steps"])


def _at_fault(values: Mapping[str, float]) -> str | None:
    if math.isfinite(values["discriminator_loss"]) and math.isfinite(values["generator_loss"]):
        return None
    # A discriminator that has an opinion on real images has been shown fakes that are no images.
    return "generator" if math.isfinite(values["real_probability"]) else "discriminator"


@dataclass(frozen=True)
class KeptGenerator:
    """The weights of a moment: those with the smallest distance to the validation split, if that is measured.

    One whose samples are not all alike is better than any whose are: on features of photos a black picture may be
    nearer to white digits than digits that are not good yet.
    """

    weights: dict[str, Tensor]
    images_seen: int
    validation: float | None = None
    is_collapsed: bool = False

    def is_worse_than(self, validation: float, is_collapsed: bool) -> bool:
        """Tell whether a generator that was measured is better than this one, which was measured, too."""
        return (is_collapsed, validation) < (self.is_collapsed, self.validation)

    def state_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))
