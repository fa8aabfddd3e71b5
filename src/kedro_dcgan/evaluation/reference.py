"""The real side of a measurement: made once for a dataset and an extractor, and used for every generator."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from kedro_dcgan.evaluation.feature_set import NEIGHBOURS, Comparison, FeatureSet
from kedro_dcgan.evaluation.features import Collector
from kedro_dcgan.evaluation.frechet import Gaussian, frechet_estimate
from kedro_dcgan.evaluation.intervals import Estimate


@dataclass(frozen=True)
class Reference:
    """`count` real images: the Gaussian fitted to their features and, if features were kept, the set of these."""

    count: int
    gaussian: Gaussian
    images: FeatureSet | None

    @classmethod
    def of(cls, collected: Collector) -> "Reference":
        """Fit what was collected.

        Raises:
            ValueError: if there are fewer than two images.
        """
        moments = collected.moments
        return cls(moments.count, Gaussian.of_moments(moments), feature_set(collected))

    def compare(self, generated: FeatureSet | None) -> Comparison | None:
        """Compare a generated set with this; nothing where either side has no set."""
        return Comparison.of(generated, self.images) if generated and self.images else None

    def measure(self, generated: Collector, comparison: Comparison | None) -> dict[str, Estimate]:
        """Return `fd` and, where there is a comparison, the distance's companions, by name."""
        companions = comparison.estimates() if comparison else {}
        return {"fd": frechet_estimate(generated.blocks, self.gaussian), **companions}

    def tensors(self) -> dict[str, Tensor]:
        """Return all of it by name, to be stored."""
        parts = {"count": torch.tensor(self.count), "mean": self.gaussian.mean, "factor": self.gaussian.factor}
        if self.images:
            parts |= vars(self.images)
        return parts

    @classmethod
    def from_tensors(cls, parts: Mapping[str, Tensor]) -> "Reference":
        """Put together what `tensors` took apart."""
        gaussian = Gaussian(parts["mean"], parts["factor"])
        names = ("features", "neighbours", "kernel_sums", "subset_sums")
        images = FeatureSet(*(parts[name] for name in names)) if "features" in parts else None
        return cls(int(parts["count"]), gaussian, images)


def feature_set(collected: Collector) -> FeatureSet | None:
    """Return the set of the features that were kept; none if none were, or if they are too few to have neighbours."""
    enough = collected.extract.keeps_features and collected.moments.count > NEIGHBOURS
    return FeatureSet.of(collected.features) if enough else None
