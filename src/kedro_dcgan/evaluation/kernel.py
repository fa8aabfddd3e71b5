"""The kernel distance (KID): a maximum mean discrepancy, unbiased at any number of images.

Bińkowski et al. 2018 (arXiv 1801.01401), section 4, with their kernel k(x, y) = (x y / D + 1)^3. Other tools print the
mean and the deviation over random subsets of the images: their sums are added up in the same pass over all pairs.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.neighbours import PairBlock

SUBSETS, SUBSET_SIZE = 100, 1000


def subsets_of(count: int) -> Tensor:
    """Return which of so many images are in which subset, 1.0 or 0.0 `(count, subsets)`; of too few there is none."""
    source = torch.Generator().manual_seed(0)
    members = torch.zeros(count, SUBSETS if count >= SUBSET_SIZE else 0, dtype=torch.float64)
    for subset in members.T:
        subset[torch.randperm(count, generator=source)[:SUBSET_SIZE]] = 1
    return members


@dataclass(frozen=True)
class KernelSums:
    """Sums of k over pairs: for each image of either set, `(N,)` and `(M,)`, and within each pair of subsets."""

    of_first: Tensor
    of_second: Tensor
    of_subsets: Tensor
    first_subsets: Tensor
    second_subsets: Tensor

    @classmethod
    def of_sizes(cls, first: int, second: int) -> "KernelSums":
        """Return the sums before any pair was seen."""
        subsets = subsets_of(first), subsets_of(second)
        shared = min(members.shape[1] for members in subsets)
        sums = (torch.zeros(size, dtype=torch.float64) for size in (first, second, shared))
        return cls(*sums, *(members[:, :shared] for members in subsets))

    def add(self, block: PairBlock, leave_out: tuple[Tensor, Tensor] | None = None) -> None:
        """Take some of the first set with all of the second, but not the pairs that are to be left out."""
        kernel = (block.products / block.dimension).add_(1).pow_(3)
        if leave_out:
            kernel[leave_out] = 0
        self.of_first[block.rows] = kernel.sum(dim=1)
        self.of_second.add_(kernel.sum(dim=0))
        self.of_subsets.add_((kernel @ self.second_subsets * self.first_subsets[block.rows]).sum(dim=0))


def kernel_distance(generated_sums: Tensor, real_sums: Tensor, between: KernelSums) -> Estimate:
    """Return MMD^2 by the full U-statistic; near 0, also below, where both are alike.

    generated_sums, real_sums: of each image with all others of its set, `(N,)` and `(M,)`. The standard error is that
    of the statistic's projections on single images (Serfling 1980, section 5.3): each image's own share in it.

    Raises:
        ValueError: if either side has fewer than two images.
    """
    n, m = len(generated_sums), len(real_sums)
    if min(n, m) < 2:
        raise ValueError(f"a kernel distance must have at least 2 images on either side (got {min(n, m)}). Use more.")
    shares = generated_sums / (n - 1) - between.of_first / m, real_sums / (m - 1) - between.of_second / n
    value = sum(float(share.mean()) for share in shares)
    error = 2 * math.sqrt(sum(float(share.var()) / len(share) for share in shares))
    return Estimate.around(value, error)


def subset_distances(generated_sums: Tensor, real_sums: Tensor, between: KernelSums) -> Tensor:
    """Return MMD^2 of each pair of subsets, `(subsets,)`: "KID" is their mean and deviation.

    generated_sums, real_sums: over the pairs of different images within each subset, `(subsets,)`, or none. The
    U-statistic of all images has the same mean and is less uncertain: these are for comparison with other tools.
    """
    if not len(between.of_subsets):
        return between.of_subsets
    within = (generated_sums + real_sums) / (SUBSET_SIZE * (SUBSET_SIZE - 1))
    return within - 2 * between.of_subsets / SUBSET_SIZE**2
