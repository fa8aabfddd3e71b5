"""The Fréchet distance between two Gaussians, each fitted to the features of a set of images, in float64.

Dowson and Landau 1982; applied to network features by Heusel et al. 2017 (arXiv 1706.08500). It is called FID only on
the features of Inception-v3 (2015-12-05).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kedro_dcgan.evaluation.intervals import Estimate, jackknife


@dataclass(frozen=True)
class FeatureMoments:
    """Count, sum `(D,)` and sum of outer products `(D, D)` of feature vectors, float64. The sum of two merges them."""

    count: int
    total: Tensor
    outer: Tensor

    @classmethod
    def empty(cls, dimension: int) -> "FeatureMoments":
        """Return the moments of an empty set."""
        return cls.of(torch.zeros(0, dimension))

    @classmethod
    def of(cls, features: Tensor) -> "FeatureMoments":
        """Return the moments of features `(N, D)`."""
        features = features.to("cpu", torch.float64)
        return cls(len(features), features.sum(dim=0), features.T @ features)

    def __add__(self, other: "FeatureMoments") -> "FeatureMoments":
        return FeatureMoments(self.count + other.count, self.total + other.total, self.outer + other.outer)

    def __sub__(self, part: "FeatureMoments") -> "FeatureMoments":
        return FeatureMoments(self.count - part.count, self.total - part.total, self.outer - part.outer)

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
class Gaussian:
    """A mean `(D,)` and a factor F `(D, R)` of the covariance F F^T; float64.

    Raises:
        ValueError: when fitted to fewer than two vectors.
    """

    mean: Tensor
    factor: Tensor

    @classmethod
    def of_moments(cls, moments: FeatureMoments) -> "Gaussian":
        """Fit the Gaussian to moments."""
        return cls(moments.mean, _factor(moments.covariance))

    @classmethod
    def of_features(cls, features: Tensor) -> "Gaussian":
        """Fit the Gaussian to features `(N, D)`. If N <= D, the centred vectors are the factor."""
        if len(features) > features.shape[1]:
            return cls.of_moments(FeatureMoments.of(features))
        _require_two(len(features))
        vectors = features.to("cpu", torch.float64)
        mean = vectors.mean(dim=0)
        return cls(mean, (vectors - mean).T / math.sqrt(len(vectors) - 1))


def _factor(covariance: Tensor) -> Tensor:
    """Return Cholesky's factor, or V sqrt(lambda), which takes ten times as long, of a singular covariance."""
    rounding = len(covariance) * torch.finfo(covariance.dtype).eps
    lower, failed = torch.linalg.cholesky_ex(covariance)
    pivots = lower.diagonal().square()
    if not failed and pivots.min() > rounding * pivots.max():
        return lower
    try:
        values, vectors = torch.linalg.eigh(covariance)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # documented, but not in the type stubs
        # With few images nearly all eigenvalues are 0, and `eigh` may not converge. The SVD does.
        vectors, values, _ = torch.linalg.svd(covariance)
    kept = values > rounding * values.max()
    return vectors[:, kept] * values[kept].sqrt()


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """Return |mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr((A B)^(1/2)), where A and B are the covariances.

    The last trace is the nuclear norm of F_a^T F_b. It needs no matrix square root, no epsilon and no complex numbers,
    and is exact for singular covariances (fewer vectors than dimensions).
    """
    cross = torch.linalg.svdvals(a.factor.T @ b.factor).sum()
    traces = a.factor.square().sum() + b.factor.square().sum()
    distance = float((a.mean - b.mean).square().sum() + traces - 2 * cross)
    # Rounding may make a distance of 0 slightly negative.
    return max(distance, 0.0) if abs(distance) < 1e-8 * float(traces) else distance


def frechet_estimate(blocks: Sequence[FeatureMoments], reference: Gaussian) -> Estimate:
    """Return the distance to a reference of the images whose moments are given in blocks.

    The jackknife's interval says how much the distance varies with other samples of the same generator. It does not
    include the bias from a finite number of images, which raises the distance: compare it with the floor. If a block
    has fewer than two images, the interval is infinite.
    """
    whole = sum(blocks[1:], blocks[0])
    distance = frechet_distance(Gaussian.of_moments(whole), reference)
    if min(block.count for block in blocks) < 2:
        return Estimate.from_standard_error(distance, math.inf)
    return jackknife(blocks, distance, lambda index: _fast_distance(whole - blocks[index], reference))


def _fast_distance(moments: FeatureMoments, reference: Gaussian) -> float:
    """Return the distance to about 8 digits: the nuclear norm from the eigenvalues of F^T A F."""
    covariance = moments.covariance
    squares = torch.linalg.eigvalsh(reference.factor.T @ covariance @ reference.factor)
    traces = covariance.trace() + reference.factor.square().sum()
    means = (moments.mean - reference.mean).square().sum()
    return float(means + traces - 2 * squares.clamp(min=0).sqrt().sum())


def _require_two(count: int) -> None:
    if count < 2:
        raise ValueError(f"a covariance must have at least 2 feature vectors (got {count}). Use more images.")
