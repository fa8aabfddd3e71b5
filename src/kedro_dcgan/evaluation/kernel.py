"""The kernel distance (KID): a maximum mean discrepancy, unbiased for any number of images.

Bińkowski et al. 2018 (arXiv 1801.01401), section 4, with their kernel k(x, y) = (x y / D + 1)^3. The full U-statistic
uses all pairs. The same pass adds up random subsets, whose mean and deviation other tools report as KID.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.neighbours import PairBlock

SUBSETS, SUBSET_SIZE = 100, 1000


def subset_members(count: int) -> Tensor:
    """Return the members of each random subset of `count` images, 1.0 or 0.0 `(count, subsets)`.

    There are no subsets of fewer images than SUBSET_SIZE.
    """
    source = torch.Generator().manual_seed(0)
    members = torch.zeros(count, SUBSETS if count >= SUBSET_SIZE else 0, dtype=torch.float64)
    for subset in members.T:
        subset[torch.randperm(count, generator=source)[:SUBSET_SIZE]] = 1
    return members


@dataclass(frozen=True)
class KernelSums:
    """Sums of k over pairs of a first and a second set of images.

    first, second: for each image over all images of the other set, `(N,)` and `(M,)`. subsets: over the pairs of each
    two subsets, `(subsets,)`. first_members, second_members: the subsets, `(N, subsets)` and `(M, subsets)`.
    """

    first: Tensor
    second: Tensor
    subsets: Tensor
    first_members: Tensor
    second_members: Tensor

    @classmethod
    def zeros(cls, first: int, second: int) -> "KernelSums":
        """Return the sums before the first pair, for two sets of these sizes."""
        members = subset_members(first), subset_members(second)
        shared = min(one.shape[1] for one in members)
        sums = (torch.zeros(size, dtype=torch.float64) for size in (first, second, shared))
        return cls(*sums, *(one[:, :shared] for one in members))

    def add(self, block: PairBlock, leave_out: tuple[Tensor, Tensor] | None = None) -> None:
        """Add the pairs of a block, except those at the indices `leave_out`."""
        kernel = (block.products / block.dimension).add_(1).pow_(3)
        if leave_out:
            kernel[leave_out] = 0
        self.first[block.rows] = kernel.sum(dim=1)
        self.second.add_(kernel.sum(dim=0))
        self.subsets.add_((kernel @ self.second_members * self.first_members[block.rows]).sum(dim=0))


def kernel_distance(generated_sums: Tensor, real_sums: Tensor, between: KernelSums) -> Estimate:
    """Return MMD^2 by the full U-statistic, which is near 0, or below, for equal distributions.

    generated_sums, real_sums: of k between each image and all others of its set, `(N,)` and `(M,)`. The standard error
    comes from the projections of the statistic on single images (Serfling 1980, section 5.3).

    Raises:
        ValueError: if either set has fewer than two images.
    """
    n, m = len(generated_sums), len(real_sums)
    if min(n, m) < 2:
        raise ValueError(f"a kernel distance needs at least 2 images in each set (got {min(n, m)}). Use more images.")
    shares = generated_sums / (n - 1) - between.first / m, real_sums / (m - 1) - between.second / n
    value = sum(float(share.mean()) for share in shares)
    error = 2 * math.sqrt(sum(float(share.var()) / len(share) for share in shares))
    return Estimate.from_standard_error(value, error)


def subset_distances(generated_sums: Tensor, real_sums: Tensor, between: KernelSums) -> Tensor:
    """Return MMD^2 of each pair of subsets, `(subsets,)`, for comparison with other tools.

    generated_sums, real_sums: of k over the pairs of different images within each subset, `(subsets,)`.
    """
    if not len(between.subsets):
        return between.subsets
    within = (generated_sums + real_sums) / (SUBSET_SIZE * (SUBSET_SIZE - 1))
    return within - 2 * between.subsets / SUBSET_SIZE**2
