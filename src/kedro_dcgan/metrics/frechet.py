"""The Fréchet distance between two Gaussians, from streamed float64 moments.

Dowson and Landau 1982; used on features of a network by Heusel et al. 2017 (arXiv 1706.08500).
It is called FID only when the features are those of Inception-v3 (2015-12-05), which these need not be.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FeatureMoments:
    """Count, sum `(D,)` and sum of outer products `(D, D)` of feature vectors, float64. Adding two merges them."""

    count: int
    total: Tensor
    outer: Tensor

    @classmethod
    def empty(cls, dimension: int) -> "FeatureMoments":
        """Return the moments of no vectors at all."""
        return cls.of(torch.zeros(0, dimension))

    @classmethod
    def of(cls, features: Tensor) -> "FeatureMoments":
        """Return the moments of features `(N, D)`."""
        features = features.to("cpu", torch.float64)
        return cls(len(features), features.sum(dim=0), features.T @ features)

    def __add__(self, other: "FeatureMoments") -> "FeatureMoments":
        return FeatureMoments(self.count + other.count, self.total + other.total, self.outer + other.outer)

    @property
    def mean(self) -> Tensor:
        """The mean vector `(D,)`."""
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance `(D, D)`, with divisor N - 1 as in Heusel et al.'s code.

        Raises:
            ValueError: if there are fewer than two vectors.
        """
        if self.count < 2:
            raise ValueError(f"a covariance must have at least 2 feature vectors (got {self.count}). Use more images.")
        return (self.outer - torch.outer(self.total, self.mean)) / (self.count - 1)


class FrechetReference:
    """Some images' features `(N, D)`, to which the distances of others are measured again and again.

    For samples of few vectors: `frechet_distance` on the vectors themselves, whose covariance is F F^T with
    F the centred vectors over sqrt(N - 1). No matrix of D x D is taken apart but the reference's own, once.

    Raises:
        ValueError: if there are fewer than two vectors, here or in `distance_of`.
    """

    def __init__(self, features: Tensor) -> None:
        moments = FeatureMoments.of(features)
        self._mean, self._trace = moments.mean, moments.covariance.trace()
        is_wide = len(features) < features.shape[1]
        self._factor = _centred(features) if is_wide else _factor(moments.covariance)

    def distance_of(self, features: Tensor) -> float:
        """Return the Fréchet distance of features `(M, D)` to the reference."""
        factor = _centred(features)
        cross = torch.linalg.svdvals(factor.T @ self._factor).sum()
        means = (features.to("cpu", torch.float64).mean(dim=0) - self._mean).square().sum()
        return float(means + factor.square().sum() + self._trace - 2 * cross)


def frechet_distance(a: FeatureMoments, b: FeatureMoments) -> float:
    """Return |mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr((A B)^(1/2)), A and B the covariances.

    The last trace is the nuclear norm of F_a^T F_b with A = F_a F_a^T: it needs no matrix square root,
    no epsilon and no complex numbers, and is exact for singular covariances (fewer vectors than dimensions).

    Raises:
        ValueError: if either side has fewer than two vectors.
    """
    cov_a, cov_b = a.covariance, b.covariance
    cross = torch.linalg.svdvals(_factor(cov_a).T @ _factor(cov_b)).sum()
    traces = cov_a.trace() + cov_b.trace()
    distance = float((a.mean - b.mean).square().sum() + traces - 2 * cross)
    # Rounding may leave a tiny negative number where the distance is 0.
    return max(distance, 0.0) if abs(distance) < 1e-8 * float(traces) else distance


def _centred(features: Tensor) -> Tensor:
    # (D, N): times its own transpose it is the covariance.
    if len(features) < 2:
        raise ValueError(f"a covariance must have at least 2 feature vectors (got {len(features)}). Use more images.")
    vectors = features.to("cpu", torch.float64)
    return (vectors - vectors.mean(dim=0)).T / (len(vectors) - 1) ** 0.5


def _factor(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt()
