"""Measured metrics: their protocol and their stored form.

A protocol is everything that affects a value besides the measured images. It is part of the value's name and is stored
beside it. Values of different protocols are never compared.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Self

from kedro_dcgan.errors import ComparisonError
from kedro_dcgan.evaluation.features import FeatureExtractor
from kedro_dcgan.evaluation.intervals import Estimate

# Names of extractors: Inception, and pixels averaged to 16x16, for which nothing is extracted.
INCEPTION, PIXELS = "inception", "pixels16"
# Names that only metrics on the features of Inception may have.
_INCEPTION_NAMES = {
    "fd": "fid",
    "kd": "kid",
    "kd_subsets_mean": "kid_subsets_mean",
    "kd_subsets_deviation": "kid_subsets_deviation",
    "inception_score": "inception_score",
}


@dataclass(frozen=True)
class MeasurementProtocol:
    """The conditions of a measurement, with the numbers of generated and real images."""

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
    def of(cls, extract: FeatureExtractor, *, generated: int, real: int, split: str, seed: int, digest: str) -> Self:
        """Return the protocol of a measurement with an extractor, of the dataset with a digest."""
        of_features = extract.id, extract.weights_sha256, extract.dimension, extract.resize, extract.precision
        return cls(*of_features, generated, real, split, seed, digest)

    @property
    def name(self) -> str:
        """The suffix of metric names: `efflite0_128_10k_test`."""
        return f"{self.extractor}_{short_count(self.generated)}_{self.split}"

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "MeasurementProtocol":
        """Return the protocol from a record of `evaluation_record`."""
        return cls(**{name: value for name, value in stored.items() if name != "name"})


def require_comparable(first: MeasurementProtocol, second: MeasurementProtocol) -> None:
    """Raise a ComparisonError with every field that differs between the protocols of two results, if there are any."""
    a, b = asdict(first), asdict(second)
    if different := [f"{name} {a[name]} and {b[name]}" for name in a if a[name] != b[name]]:
        raise ComparisonError(
            f"only results of the same protocol can be compared (they differ: {', '.join(different)}). "
            "Evaluate both in the same way: kedro run --pipelines=evaluate."
        )


def short_count(count: int) -> str:
    """Return 10k for 10,000 and 373 for 373."""
    return f"{count // 1000}k" if count % 1000 == 0 else str(count)


@dataclass(frozen=True)
class MetricValue:
    """A measured metric (`fd`, `precision`, …), with its floor, the value for as many real images, if it is known."""

    metric: str
    protocol: MeasurementProtocol
    estimate: Estimate
    floor: Estimate | None = None

    @property
    def name(self) -> str:
        """The name with the protocol: `fd_efflite0_128_10k_test`, or `fid10k_test` on the features of Inception."""
        if self.protocol.extractor == INCEPTION and self.metric in _INCEPTION_NAMES:
            return f"{_INCEPTION_NAMES[self.metric]}{short_count(self.protocol.generated)}_{self.protocol.split}"
        return f"{self.metric}_{self.protocol.name}"

    def as_dict(self) -> dict[str, Any]:
        """Return the stored form. Unknown floors and ends of intervals are None."""
        low, high = (end if math.isfinite(end) else None for end in (self.estimate.low, self.estimate.high))
        return {
            "name": self.name,
            "metric": self.metric,
            "split": self.protocol.split,
            "value": self.estimate.value,
            "low": low,
            "high": high,
            "floor": self.floor.value if self.floor else None,
            "protocol": self.protocol.name,
        }


def evaluation_record(values: Sequence[MetricValue]) -> dict[str, Any]:
    """Return the stored form of an evaluation, whose first value is the primary metric.

    `metrics`: values and floors by name. `numbers`: a record of each value. `protocols`: a record of each protocol.
    The last two are lists, because DVC shows every number outside a list as a column.
    """
    metrics = {value.name: value.estimate.value for value in values}
    metrics |= {f"{value.name}_floor": value.floor.value for value in values if value.floor}
    protocols = {value.protocol.name: value.protocol for value in values}
    return {
        "title": "Fréchet distance, EfficientNet-Lite0 features (not FID)",
        "primary_metric": values[0].name,
        "metrics": metrics,
        "numbers": [value.as_dict() for value in values],
        "protocols": [{"name": name, **asdict(protocol)} for name, protocol in protocols.items()],
        "libraries": [f"{name} {version(name)}" for name in ("torch", "numpy")],
    }
