"""A measured number with all that it takes to believe it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.protocol import MeasurementProtocol


@dataclass(frozen=True)
class Number:
    """What was measured (`fd`, `precision`, …), how, with what result; and what real images have, if that is known."""

    metric: str
    protocol: MeasurementProtocol
    estimate: Estimate
    floor: Estimate | None = None

    @property
    def name(self) -> str:
        """Its key."""
        return self.protocol.name_of(self.metric)


def as_json(numbers: Sequence[Number]) -> dict[str, Any]:
    """Return the record of a measurement, of which the first number is the primary metric.

    `metrics`: values and floors by name; `numbers`: all that is known of each; `protocols`: how they were measured.

    What is not known is null: a floor, or an end of an interval. (Lists, because DVC makes a column of every number
    that is not in a list.)
    """
    values = {number.name: number.estimate.value for number in numbers}
    floors = {f"{number.name}_floor": number.floor.value for number in numbers if number.floor}
    protocols = {number.protocol.name: number.protocol for number in numbers}
    return {
        "title": "Fréchet distance, EfficientNet-Lite0 features (not FID)",
        "primary_metric": numbers[0].name,
        "metrics": values | floors,
        "numbers": [_record(number) for number in numbers],
        "protocols": [protocol.as_dict() for protocol in protocols.values()],
        "libraries": [f"{name} {version(name)}" for name in ("torch", "numpy")],
    }


def _record(number: Number) -> dict[str, Any]:
    return {
        "name": number.name,
        "metric": number.metric,
        "split": number.protocol.split,
        "value": number.estimate.value,
        "low": _finite(number.estimate.low),
        "high": _finite(number.estimate.high),
        "floor": number.floor.value if number.floor else None,
        "protocol": number.protocol.name,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
