"""A set of images as the companions of the Fréchet distance see it, and how two sets compare.

All that takes time that grows with the square of a set's size is found out in one pass: over the pairs of a set with
itself, and over those of two sets.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.kernel import KernelSums, kernel_distance, subset_distances
from kedro_dcgan.evaluation.neighbours import (
    Neighbourhoods,
    authenticity,
    coverage,
    density,
    distances_to_others,
    pairs,
    precision,
    recall,
)

NEIGHBOURS = 5


@dataclass(frozen=True)
class FeatureSet:
    """Features `(N, D)`, the distances of each to its 5 nearest others `(N, 5)`, and its kernel's sums.

    kernel_sums: of each with all others, `(N,)`. subset_sums: within each random subset, `(subsets,)` or none.
    """

    features: Tensor
    neighbours: Tensor
    kernel_sums: Tensor
    subset_sums: Tensor

    @classmethod
    def of(cls, features: Tensor, k: int = NEIGHBOURS) -> "FeatureSet":
        """Look at a set alone.

        Raises:
            ValueError: if there are not more than `k` vectors.
        """
        if len(features) <= k:
            raise ValueError(f"{k} neighbours must be found among more images (got {len(features)}). Use more.")
        neighbours, sums = [], KernelSums.of_sizes(len(features), len(features))
        for block in pairs(features, features):
            neighbours.append(distances_to_others(block, k))
            sums.add(block, leave_out=block.itself())
        return cls(features, torch.cat(neighbours), sums.of_first, sums.of_subsets)


@dataclass(frozen=True)
class Comparison:
    """A generated set against a real one."""

    generated: FeatureSet
    real: FeatureSet
    neighbourhoods: Neighbourhoods
    kernel_sums: KernelSums

    @classmethod
    def of(cls, generated: FeatureSet, real: FeatureSet) -> "Comparison":
        """Compare them."""
        radii = generated.neighbours[:, -1], real.neighbours[:, -1]
        neighbourhoods = Neighbourhoods.of_radii(*radii, k=real.neighbours.shape[1])
        kernel_sums = KernelSums.of_sizes(len(generated.features), len(real.features))
        for block in pairs(generated.features, real.features):
            neighbourhoods.add(block.rows, block.distances())
            kernel_sums.add(block)
        return cls(generated, real, neighbourhoods, kernel_sums)

    def estimates(self) -> dict[str, Estimate]:
        """Return `kd`, `precision`, `recall`, `density` and `coverage` of the generated set."""
        return {
            "kd": kernel_distance(self.generated.kernel_sums, self.real.kernel_sums, self.kernel_sums),
            "precision": precision(self.neighbourhoods),
            "recall": recall(self.neighbourhoods),
            "density": density(self.neighbourhoods),
            "coverage": coverage(self.neighbourhoods),
        }

    def of_subsets(self) -> dict[str, Estimate]:
        """Return `kd_subsets_mean` and `kd_subsets_deviation`, what other tools print; nothing of too few images."""
        distances = subset_distances(self.generated.subset_sums, self.real.subset_sums, self.kernel_sums)
        if not len(distances):
            return {}
        mean, deviation = float(distances.mean()), float(distances.std(correction=0))
        return {"kd_subsets_mean": Estimate.alone(mean), "kd_subsets_deviation": Estimate.alone(deviation)}

    def authenticity(self) -> Estimate:
        """Return the share of generated images that are no copies of the real ones, those that were trained on."""
        return authenticity(self.neighbourhoods, self.real.neighbours[:, 0])
