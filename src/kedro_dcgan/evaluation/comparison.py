"""Metrics from all pairs of features: the kernel distance, precision, recall, density, coverage and authenticity.

Their time grows with the square of the number of images. So one pass over the pairs within a set, and one over the
pairs of two sets, serve all of them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kedro_dcgan.evaluation.features import Collector
from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.kernel import KernelSums, kernel_distance, subset_distances
from kedro_dcgan.evaluation.neighbours import (
    Neighbourhoods,
    authenticity,
    coverage,
    density,
    nearest_distances,
    pair_blocks,
    precision,
    recall,
)

NEIGHBOURS = 5


@dataclass(frozen=True)
class FeatureSet:
    """Features `(N, D)` and what depends on them alone.

    neighbours: distances to the 5 nearest neighbours, `(N, 5)`. kernel_sums: of the kernel between each image and all
    others, `(N,)`. subset_sums: of the kernel within each random subset, `(subsets,)`.
    """

    features: Tensor
    neighbours: Tensor
    kernel_sums: Tensor
    subset_sums: Tensor

    @classmethod
    def of(cls, features: Tensor, k: int = NEIGHBOURS) -> "FeatureSet":
        """Compute the statistics of features `(N, D)`.

        Raises:
            ValueError: if there are not more than `k` vectors.
        """
        if len(features) <= k:
            raise ValueError(f"{k} neighbours need more than {k} images (got {len(features)}). Use more images.")
        neighbours, sums = [], KernelSums.zeros(len(features), len(features))
        for block in pair_blocks(features, features):
            neighbours.append(nearest_distances(block, k))
            sums.add(block, leave_out=block.diagonal())
        return cls(features, torch.cat(neighbours), sums.first, sums.subsets)


def feature_set(collected: Collector) -> FeatureSet | None:
    """Return the set of collected features; None if they are not kept, or too few to have 5 neighbours."""
    enough = collected.extract.keeps_features and collected.moments.count > NEIGHBOURS
    return FeatureSet.of(collected.features) if enough else None


@dataclass(frozen=True)
class Comparison:
    """A generated set of features compared with a real one."""

    generated: FeatureSet
    real: FeatureSet
    neighbourhoods: Neighbourhoods
    kernel_sums: KernelSums

    @classmethod
    def of(cls, generated: FeatureSet, real: FeatureSet) -> "Comparison":
        """Compare two sets."""
        radii = generated.neighbours[:, -1], real.neighbours[:, -1]
        neighbourhoods = Neighbourhoods.of_radii(*radii, k=real.neighbours.shape[1])
        kernel_sums = KernelSums.zeros(len(generated.features), len(real.features))
        for block in pair_blocks(generated.features, real.features):
            neighbourhoods.add(block)
            kernel_sums.add(block)
        return cls(generated, real, neighbourhoods, kernel_sums)

    def estimates(self) -> dict[str, Estimate]:
        """Return `kd`, `precision`, `recall`, `density` and `coverage`."""
        return {
            "kd": kernel_distance(self.generated.kernel_sums, self.real.kernel_sums, self.kernel_sums),
            "precision": precision(self.neighbourhoods),
            "recall": recall(self.neighbourhoods),
            "density": density(self.neighbourhoods),
            "coverage": coverage(self.neighbourhoods),
        }

    def subset_estimates(self) -> dict[str, Estimate]:
        """Return `kd_subsets_mean` and `kd_subsets_deviation`, as other tools report KID; nothing for few images."""
        distances = subset_distances(self.generated.subset_sums, self.real.subset_sums, self.kernel_sums)
        if not len(distances):
            return {}
        values = {"mean": distances.mean(), "deviation": distances.std(correction=0)}
        return {f"kd_subsets_{name}": Estimate.without_interval(float(value)) for name, value in values.items()}

    def authenticity(self) -> Estimate:
        """Return the share of generated images that are not near-copies; the real set must be the training set."""
        return authenticity(self.neighbourhoods, self.real.neighbours[:, 0])
