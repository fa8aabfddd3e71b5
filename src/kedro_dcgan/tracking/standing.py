"""What decides whether a registered generator takes the champion's place."""

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kedro_dcgan.model.saved import TrainedGenerator


@dataclass(frozen=True)
class Standing:
    """What decides between two versions: one metric with its interval, and how and on which images it was measured.

    The intervals of both sides hold 95 %; the difference's is the root of the sum of their squares.
    """

    metric: str
    value: float
    low: float
    high: float
    dataset_digest: str
    protocol: str

    @classmethod
    def of(cls, trained: "TrainedGenerator") -> "Standing":
        """Return that of an evaluated generator."""
        name = trained.facts["primary_metric"]
        number = next(one for one in trained.facts["numbers"] if one["name"] == name)
        low, high = (math.nan if number[end] is None else number[end] for end in ("low", "high"))
        protocol = json.dumps(trained.facts["protocol"], sort_keys=True)
        return cls(name, number["value"], low, high, trained.dataset_digest, protocol)

    @classmethod
    def from_tags(cls, tags: dict[str, str]) -> "Standing | None":
        """Return that of a registered version, if its tags say it."""
        try:
            value, low, high = (float(tags[name]) for name in ("value", "low", "high"))
            return cls(tags["metric"], value, low, high, tags["dataset_digest"], tags["protocol"])
        except (KeyError, ValueError):
            return None

    def tags(self) -> dict[str, str]:
        """Return the fields as texts."""
        return {name: value if isinstance(value, str) else repr(value) for name, value in vars(self).items()}

    def obstacle(self, champion: "Standing") -> str | None:
        """Return why this one does not take the champion's place; nothing, if it does."""
        for name, by in (("metric", "by another metric"), ("dataset_digest", "on another dataset")):
            if getattr(self, name) != getattr(champion, name):
                return f"the champion was measured {by}"
        if self.protocol != champion.protocol:
            return "the champion was measured by another protocol"
        better_by = champion.value - self.value
        uncertainty = math.hypot(self.high - self.value, champion.high - champion.value)
        if not better_by > uncertainty:
            return (
                f"{self.metric} {self.value:.1f} is not below the champion's {champion.value:.1f} by more than "
                f"the uncertainty of the difference, {uncertainty:.1f}"
            )
        return None
