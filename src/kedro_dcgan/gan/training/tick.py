"""What training gives to whoever runs it, and what it gets from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from kedro_dcgan.model.networks import Generator
from kedro_dcgan.training.records import KeptGenerator, TickRecord


@dataclass(frozen=True)
class Tick:
    """What training has to show at a moment: values, which going on does not change.

    `records` are those of all ticks so far. `samples` are uint8 `(grid_images, C, H, W)`, always of the same latents;
    there are none where training was asked to stop between two ticks. `kept` is the best generator so far, and
    `checkpoint`, if one is due, `TrainingState.state_dict`. `validation_seconds` is what measuring has taken so far.
    """

    images_seen: int
    records: tuple[TickRecord, ...]
    samples: Tensor | None
    kept: KeptGenerator
    checkpoint: Mapping[str, Any] | None
    validation_seconds: float

    @property
    def record(self) -> TickRecord | None:
        """The record of this moment: there is none before the first step, nor between two ticks."""
        is_of_now = self.records and self.records[-1].images_seen == self.images_seen
        return self.records[-1] if is_of_now else None


@dataclass(frozen=True)
class Surroundings:
    """What training is given and asked by whoever runs it.

    `real_images` are uint8 images that the samples' diversity is compared with; `measure` gives the distance
    of a generator to the validation split; `is_asked_to_stop` is looked at after each step (of several ranks,
    when they look at their losses).
    """

    real_images: Tensor
    measure: Callable[[Generator], float] | None = None
    is_asked_to_stop: Callable[[], bool] = lambda: False
