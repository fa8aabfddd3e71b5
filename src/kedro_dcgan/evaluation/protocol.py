"""What decides a number besides the images that are measured: it stands in the number's name, and beside it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from kedro_dcgan.errors import ComparisonError
from kedro_dcgan.evaluation.features import FeatureExtractor

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
