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
        _require_two(self.count)
        return (self.outer - torch.outer(self.total, self.mean)) / (self.count - 1)


@dataclass(frozen=True)
class _Gaussian:
    # A mean (D,) and a factor F of the covariance (D, R), which is F F^T; float64.
    mean: Tensor
    factor: Tensor

    @classmethod
    def of_moments(cls, moments: FeatureMoments) -> "_Gaussian":
        values, vectors = torch.linalg.eigh(moments.covariance)
        return cls(moments.mean, vectors * values.clamp(min=0).sqrt())

    @classmethod
    def of_few(cls, features: Tensor) -> "_Gaussian":
        # Fewer vectors than dimensions are, centred, a factor themselves: no D x D matrix is taken apart.
        _require_two(len(features))
        vectors = features.to("cpu", torch.float64)
        mean = vectors.mean(dim=0)
        return cls(mean, (vectors - mean).T / (len(vectors) - 1) ** 0.5)

    @classmethod
    def of(cls, features: Tensor) -> "_Gaussian":
        is_wide = len(features) < features.shape[1]
        return cls.of_few(features) if is_wide else cls.of_moments(FeatureMoments.of(features))

    def distance_to(self, other: "_Gaussian") -> float:
        cross = torch.linalg.svdvals(self.factor.T @ other.factor).sum()
        traces = self.factor.square().sum() + other.factor.square().sum()
        distance = float((self.mean - other.mean).square().sum() + traces - 2 * cross)
        # Rounding may leave a tiny negative number where the distance is 0.
        return max(distance, 0.0) if abs(distance) < 1e-8 * float(traces) else distance


class FrechetReference:
    """Some images' features `(N, D)`, to which the distances of others are measured again and again.

    Raises:
        ValueError: if there are fewer than two vectors, here or in `distance_of`.
    """

    def __init__(self, features: Tensor) -> None:
        self._gaussian = _Gaussian.of(features)

    def distance_of(self, features: Tensor) -> float:
        """Return the Fréchet distance of features `(M, D)` to the reference."""
        return _Gaussian.of(features).distance_to(self._gaussian)


def frechet_distance(a: FeatureMoments, b: FeatureMoments) -> float:
    """Return |mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr((A B)^(1/2)), A and B the covariances.

    The last trace is the nuclear norm of F_a^T F_b with A = F_a F_a^T: it needs no matrix square root,
    no epsilon and no complex numbers, and is exact for singular covariances (fewer vectors than dimensions).

    Raises:
        ValueError: if either side has fewer than two vectors.
    """
    return _Gaussian.of_moments(a).distance_to(_Gaussian.of_moments(b))


def _require_two(count: int) -> None:
    if count < 2:
        raise ValueError(f"a covariance must have at least 2 feature vectors (got {count}). Use more images.")
