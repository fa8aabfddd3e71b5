"""What decides a number besides the images that are measured: it stands in the number's name, and beside it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from kedro_dcgan.errors import ComparisonError
from kedro_dcgan.evaluation.features import FeatureExtractor
from kedro_dcgan.evaluation.intervals import Estimate

INCEPTION = "inception"
# What it is called on Inception's features, and on no others.
_ON_INCEPTION = {
    "fd": "fid",
    "kd": "kid",
    "kd_subsets_mean": "kid_subsets_mean",
    "kd_subsets_deviation": "kid_subsets_deviation",
    "inception_score": "inception_score",
}


@dataclass(frozen=True)
class MeasurementProtocol:
    """How images were measured: two numbers may be compared where all of this is equal."""

    extractor: str
    weights_sha256: str
    dimension: int
    resize: str
    precision: str
    generated: int
    real: int
    split: str
    seed: int
    dataset_digest: str

    @classmethod
    def of(
        cls, extract: FeatureExtractor, *, generated: int, real: int, split: str, seed: int, dataset_digest: str
    ) -> "MeasurementProtocol":
        """Describe a measurement of so many generated images against so many real ones of a split."""
        of_features = extract.id, extract.weights_sha256, extract.dimension, extract.resize, extract.precision
        return cls(*of_features, generated, real, split, seed, dataset_digest)

    @property
    def name(self) -> str:
        """What numbers of it end with: `efflite0_128_10k_test`."""
        return f"{self.extractor}_{short_count(self.generated)}_{self.split}"

    def name_of(self, metric: str) -> str:
        """Return a metric's key, `fd_efflite0_128_10k_test`; only on Inception's features it is `fid10k_test`."""
        if self.extractor == INCEPTION and metric in _ON_INCEPTION:
            return f"{_ON_INCEPTION[metric]}{short_count(self.generated)}_{self.split}"
        return f"{metric}_{self.name}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, and the protocol's own name."""
        return {"name": self.name, **asdict(self)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "MeasurementProtocol":
        """Return the protocol that `as_dict` described."""
        return cls(**{name: value for name, value in stored.items() if name != "name"})


def require_comparable(first: MeasurementProtocol, second: MeasurementProtocol) -> None:
    """Check that two results were measured in the same way.

    Raises:
        ComparisonError: with every field that differs.
    """
    a, b = asdict(first), asdict(second)
    different = [f"{name} {a[name]} and {b[name]}" for name in a if a[name] != b[name]]
    if different:
        raise ComparisonError(
            f"two results must be of one protocol to be compared (they differ: {', '.join(different)}). "
            "Evaluate both in the same way: kedro run --pipelines=evaluate."
        )


def short_count(count: int) -> str:
    """Return 10k for 10,000 and 373 for 373."""
    return f"{count // 1000}k" if count % 1000 == 0 else str(count)


# TODO(merge) metrics.number


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
