"""Confidence intervals: every metric is reported with one.

Student's quantiles come from a series: `scipy.stats` takes a second to import, and would change intervals by 0.01 %.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

Part = TypeVar("Part")

# Blocks of images that the jackknife leaves out in turn.
BLOCKS = 10
# The 97.5 % quantile of the standard normal distribution.
_NORMAL = 1.959964


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % confidence interval."""

    value: float
    low: float
    high: float

    @classmethod
    def without_interval(cls, value: float) -> "Estimate":
        """Return a value whose uncertainty is unknown."""
        return cls(value, math.nan, math.nan)

    @classmethod
    def from_standard_error(cls, value: float, standard_error: float, quantile: float = _NORMAL) -> "Estimate":
        """Return the symmetric interval of a standard error."""
        return cls(value, value - quantile * standard_error, value + quantile * standard_error)


def mean_estimate(values: Tensor) -> Estimate:
    """Return the mean of independent values `(N,)`; Student's interval of the standard error s / sqrt(N)."""
    values = values.to(torch.float64)
    error = float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.inf
    return Estimate.from_standard_error(float(values.mean()), error, _student_quantile(max(1, len(values) - 1)))


def proportion_estimate(hits: Tensor) -> Estimate:
    """Return the share of true values in `(N,)` with the interval of Wilson 1927, which also holds near 0 and 1."""
    count, share, z2 = len(hits), float(hits.to(torch.float64).mean()), _NORMAL**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _NORMAL / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half))


def covered_share_estimate(covered_by_block: Tensor) -> Estimate:
    """Return the share of N items that at least one block covers, `(BLOCKS, N)`, with the jackknife's interval."""
    counts = covered_by_block.sum(dim=0)

    def share(covering: Tensor) -> float:
        return float((covering > 0).to(torch.float64).mean())

    found = jackknife(
        covered_by_block, share(counts), lambda index: share(counts - covered_by_block[index].to(counts.dtype))
    )
    return Estimate(found.value, max(0.0, found.low), min(1.0, found.high))


def jackknife(blocks: Sequence[Part] | Tensor, value: float, leave_out: Callable[[int], float]) -> Estimate:
    """Return `value`, a statistic of all blocks, with the delete-a-group jackknife's interval.

    The standard error is sqrt((G - 1) / G * sum((t_g - mean(t))^2)), where t_g = `leave_out(g)` is the statistic
    without block g (Efron and Stein 1981). The quantile is Student's with G - 1 degrees of freedom.
    """
    count = len(blocks)
    values = torch.tensor([leave_out(index) for index in range(count)], dtype=torch.float64)
    error = math.sqrt((count - 1) / count * float((values - values.mean()).square().sum()))
    return Estimate.from_standard_error(value, error, _student_quantile(count - 1))


def _student_quantile(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's distribution, to third order (Abramowitz and Stegun, 26.7.5)."""
    z, n = _NORMAL, freedom
    terms = (
        z,
        (z**3 + z) / (4 * n),
        (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2),
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3),
    )
    return sum(terms)
