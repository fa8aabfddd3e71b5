"""The Fréchet distance between two Gaussians, each fitted to features of images, in float64.

Dowson and Landau 1982; used on features of a network by Heusel et al. 2017 (arXiv 1706.08500).
It is called FID only when the features are those of Inception-v3 (2015-12-05), which these need not be.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from kedro_dcgan.evaluation.intervals import Estimate, jackknife


@dataclass(frozen=True)
class FeatureMoments:
    """Count, sum `(D,)` and sum of outer products `(D, D)` of feature vectors, float64. Adding merges two of them."""

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

    def __sub__(self, part: "FeatureMoments") -> "FeatureMoments":
        return FeatureMoments(self.count - part.count, self.total - part.total, self.outer - part.outer)

    def over_all_ranks(self) -> "FeatureMoments":
        """Return the moments of what all processes of torch.distributed have seen together, on each of them.

        Call it everywhere, with a backend for tensors on the CPU (gloo).
        """
        count, total, outer = torch.tensor(self.count), self.total.clone(), self.outer.clone()
        for part in (count, total, outer):
            distributed.all_reduce(part)
        return FeatureMoments(int(count), total, outer)

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
    """A mean `(D,)` and a factor `(D, R)` of the covariance, which is F F^T; float64.

    Raises:
        ValueError: if it is made of fewer than two vectors.
    """

    mean: Tensor
    factor: Tensor

    @classmethod
    def of_moments(cls, moments: FeatureMoments) -> "Gaussian":
        """Fit moments."""
        return cls(moments.mean, _factor_of(moments.covariance))

    @classmethod
    def of_features(cls, features: Tensor) -> "Gaussian":
        """Fit features `(N, D)`. Where there are fewer than D, the centred vectors themselves are the factor."""
        if len(features) > features.shape[1]:
            return cls.of_moments(FeatureMoments.of(features))
        _require_two(len(features))
        vectors = features.to("cpu", torch.float64)
        mean = vectors.mean(dim=0)
        return cls(mean, (vectors - mean).T / math.sqrt(len(vectors) - 1))


def _factor_of(covariance: Tensor) -> Tensor:
    # Cholesky's in a tenth of the time; a singular matrix has V sqrt(lambda), without what is rounding only.
    rounding = len(covariance) * torch.finfo(covariance.dtype).eps
    lower, failed = torch.linalg.cholesky_ex(covariance)
    pivots = lower.diagonal().square()
    if not failed and pivots.min() > rounding * pivots.max():
        return lower
    values, vectors = _eigen(covariance)
    kept = values > rounding * values.max()
    return vectors[:, kept] * values[kept].sqrt()


def _eigen(covariance: Tensor) -> tuple[Tensor, Tensor]:
    # Of a few images nearly all eigenvalues are 0, and the fast algorithm may not converge; singular values do.
    try:
        values, vectors = torch.linalg.eigh(covariance)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # It is documented, and not exported to mypy.
        vectors, values, _ = torch.linalg.svd(covariance)
    return values, vectors


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """Return |mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr((A B)^(1/2)), A and B the covariances.

    The last trace is the nuclear norm of F_a^T F_b: it needs no matrix square root, no epsilon and no complex
    numbers, and is exact for singular covariances (fewer vectors than dimensions).
    """
    cross = torch.linalg.svdvals(a.factor.T @ b.factor).sum()
    traces = a.factor.square().sum() + b.factor.square().sum()
    distance = float((a.mean - b.mean).square().sum() + traces - 2 * cross)
    # Rounding may leave a tiny negative number where the distance is 0.
    return max(distance, 0.0) if abs(distance) < 1e-8 * float(traces) else distance


def _quick_distance(moments: FeatureMoments, reference: Gaussian) -> float:
    # As above, with the nuclear norm from the eigenvalues of F^T A F: in a fraction of the time, and to half the
    # digits, which are plenty for how far the distance moves.
    covariance = moments.covariance
    squares = torch.linalg.eigvalsh(reference.factor.T @ covariance @ reference.factor)
    traces = covariance.trace() + reference.factor.square().sum()
    means = (moments.mean - reference.mean).square().sum()
    return float(means + traces - 2 * squares.clamp(min=0).sqrt().sum())


def frechet_estimate(blocks: Sequence[FeatureMoments], reference: Gaussian) -> Estimate:
    """Return the distance of the images whose moments come in `blocks` to a reference, with its interval.

    The interval is the jackknife's over the blocks: how far the distance moves with other images from where these
    come from, to the same reference. It does not say how far the distance is off because images are few, which
    makes it too large: that is what the floor is for. (Where a block has not two images the interval is infinite.)
    """
    whole = sum(blocks[1:], blocks[0])
    distance = frechet_distance(Gaussian.of_moments(whole), reference)
    if min(block.count for block in blocks) < 2:
        return Estimate.around(distance, math.inf)
    return jackknife(blocks, distance, lambda number: _quick_distance(whole - blocks[number], reference))


def _require_two(count: int) -> None:
    if count < 2:
        raise ValueError(f"a covariance must have at least 2 feature vectors (got {count}). Use more images.")
