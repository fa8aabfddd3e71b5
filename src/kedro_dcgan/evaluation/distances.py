"""Distances between the features of two sets of images, in float64: the Fréchet distance and the kernel distance.

The Fréchet distance compares Gaussians fitted to the features (Dowson and Landau 1982; Heusel et al. 2017, arXiv
1706.08500). The kernel distance is an unbiased maximum mean discrepancy (Bińkowski et al. 2018, arXiv 1801.01401). They
are called FID and KID only on the features of Inception-v3 (2015-12-05).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kedro_dcgan.evaluation.intervals import Estimate, jackknife
from kedro_dcgan.evaluation.neighbours import PairBlock

# The number of random subsets over which other tools average the kernel distance, and the images in each.
SUBSETS, SUBSET_SIZE = 100, 1000


@dataclass(frozen=True)
class FeatureMoments:
    """Count, sum `(D,)` and sum of outer products `(D, D)` of feature vectors, float64. Addition merges them."""

    count: int
    total: Tensor
    outer: Tensor

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
        """The unbiased covariance `(D, D)`, with divisor N - 1 as in Heusel et al.'s code."""
        if self.count < 2:
            raise ValueError(f"a covariance must have at least 2 feature vectors (got {self.count}). Use more images.")
        return (self.outer - torch.outer(self.total, self.mean)) / (self.count - 1)


@dataclass(frozen=True)
class Gaussian:
    """A mean `(D,)` and a factor F `(D, R)` of the covariance F F^T; float64. It is fitted to two or more vectors."""

    mean: Tensor
    factor: Tensor

    @classmethod
    def of_moments(cls, moments: FeatureMoments) -> "Gaussian":
        """Fit to moments: F is the Cholesky factor; for a singular covariance, V sqrt(lambda), ten times as slow."""
        covariance = moments.covariance
        rounding = len(covariance) * torch.finfo(covariance.dtype).eps
        lower, failed = torch.linalg.cholesky_ex(covariance)
        pivots = lower.diagonal().square()
        if not failed and pivots.min() > rounding * pivots.max():
            return cls(moments.mean, lower)
        try:
            values, vectors = torch.linalg.eigh(covariance)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # documented, but not in the type stubs
            # With few images nearly all eigenvalues are 0, and `eigh` may not converge. The SVD does.
            vectors, values, _ = torch.linalg.svd(covariance)
        kept = values > rounding * values.max()
        return cls(moments.mean, vectors[:, kept] * values[kept].sqrt())

    @classmethod
    def of_features(cls, features: Tensor) -> "Gaussian":
        """Fit to features `(N, D)`. If 2 <= N <= D, the centred vectors are the factor."""
        if len(features) < 2 or len(features) > features.shape[1]:
            return cls.of_moments(FeatureMoments.of(features))
        vectors = features.to("cpu", torch.float64)
        mean = vectors.mean(dim=0)
        return cls(mean, (vectors - mean).T / math.sqrt(len(vectors) - 1))


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
    """Return the distance of images, given as moments of blocks, to a reference.

    The jackknife's interval covers other samples of the same generator. It does not include the bias of a finite number
    of images, which raises the distance: compare the distance with its floor. If a block has fewer than two images, the
    interval is infinite.
    """
    whole = sum(blocks[1:], blocks[0])
    distance = frechet_distance(Gaussian.of_moments(whole), reference)
    if min(block.count for block in blocks) < 2:
        return Estimate.from_standard_error(distance, math.inf)

    # Faster, to about 8 digits: the nuclear norm from the eigenvalues of F^T A F.
    without = []
    for block in blocks:
        moments = whole - block
        covariance = moments.covariance
        squares = torch.linalg.eigvalsh(reference.factor.T @ covariance @ reference.factor)
        traces = covariance.trace() + reference.factor.square().sum()
        means = (moments.mean - reference.mean).square().sum()
        without.append(float(means + traces - 2 * squares.clamp(min=0).sqrt().sum()))
    return jackknife(distance, without)


def subset_members(count: int) -> Tensor:
    """Return the members of each random subset, 1.0 or 0.0 `(count, subsets)`: none below SUBSET_SIZE images."""
    source = torch.Generator().manual_seed(0)
    members = torch.zeros(count, SUBSETS if count >= SUBSET_SIZE else 0, dtype=torch.float64)
    for subset in members.T:
        subset[torch.randperm(count, generator=source)[:SUBSET_SIZE]] = 1
    return members


class KernelSums:
    """Sums of the kernel over pairs of a first set of N and a second set of M images.

    first, second: for each image over all images of the other set, `(N,)` and `(M,)`. subsets: over the pairs
    between each subset of the first set and that of the second, `(subsets,)`.
    """

    def __init__(self, n: int, m: int) -> None:
        members = subset_members(n), subset_members(m)
        shared = min(one.shape[1] for one in members)
        self._first_members, self._second_members = (one[:, :shared] for one in members)
        self.first, self.second, self.subsets = (torch.zeros(size, dtype=torch.float64) for size in (n, m, shared))

    def add(self, block: PairBlock) -> None:
        """Add the pairs of a block."""
        self.first[block.rows] = block.kernel.sum(dim=1)
        self.second.add_(block.kernel.sum(dim=0))
        self.subsets.add_((block.kernel @ self._second_members * self._first_members[block.rows]).sum(dim=0))


def kernel_distance(generated_sums: Tensor, real_sums: Tensor, between: KernelSums) -> Estimate:
    """Return MMD^2 by the full U-statistic (section 4), which is near 0, or below, for equal distributions.

    generated_sums, real_sums: of k between each image and all others of its set, `(N,)` and `(M,)`. The standard error
    comes from the projections of the statistic on single images (Serfling 1980, section 5.3).
    """
    n, m = len(generated_sums), len(real_sums)
    shares = generated_sums / (n - 1) - between.first / m, real_sums / (m - 1) - between.second / n
    value = sum(float(share.mean()) for share in shares)
    error = 2 * math.sqrt(sum(float(share.var()) / len(share) for share in shares))
    return Estimate.from_standard_error(value, error)


def subset_distances(generated_sums: Tensor, real_sums: Tensor, between: KernelSums) -> Tensor:
    """Return MMD^2 of each pair of subsets, `(subsets,)`, for comparison with other tools.

    generated_sums, real_sums: of k over the pairs of different images within each subset, `(subsets,)`.
    """
    within = (generated_sums + real_sums) / (SUBSET_SIZE * (SUBSET_SIZE - 1))
    return within - 2 * between.subsets / SUBSET_SIZE**2
