"""Confidence intervals of metrics. `scipy.stats` takes a second to import, so the functions that need it import it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Blocks of images that the jackknife leaves out in turn.
BLOCKS = 10


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % confidence interval; its ends are NaN if the uncertainty is unknown."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def from_standard_error(cls, value: float, error: float, freedom: float = math.inf) -> "Estimate":
        """Return Student's interval of a standard error with `freedom` degrees; the normal one for infinitely many."""
        from scipy.stats import t

        quantile = float(t.ppf(0.975, freedom))
        return cls(value, value - quantile * error, value + quantile * error)


def mean_estimate(values: Tensor) -> Estimate:
    """Return the mean of independent values `(N,)`; Student's interval of the standard error s / sqrt(N)."""
    values = values.to(torch.float64)
    error = float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.inf
    return Estimate.from_standard_error(float(values.mean()), error, max(1, len(values) - 1))


def proportion_estimate(hits: Tensor) -> Estimate:
    """Return the share of true values in `(N,)` with the interval of Wilson 1927, which also holds near 0 and 1."""
    from scipy.stats import binomtest

    test = binomtest(int(hits.sum()), len(hits))
    return Estimate(float(test.statistic), *map(float, test.proportion_ci(0.95, method="wilson")))


def covered_share_estimate(covered_by_block: Tensor) -> Estimate:
    """Return the share of N items that at least one block covers, `(BLOCKS, N)`, with the jackknife's interval."""
    counts = covered_by_block.to(torch.int64)
    total = counts.sum(dim=0)
    share, *without = ((covering > 0).to(torch.float64).mean().item() for covering in (total, *(total - counts)))
    estimate = jackknife(share, without)
    return Estimate(estimate.value, max(0.0, estimate.low), min(1.0, estimate.high))


def jackknife(value: float, without_block: Sequence[float]) -> Estimate:
    """Return `value`, a statistic of all G blocks, with the delete-a-group jackknife's interval.

    The standard error is sqrt((G - 1) / G * sum((t_g - mean(t))^2)), where t_g is the statistic without block g (Efron
    and Stein 1981). The quantile is Student's with G - 1 degrees of freedom.
    """
    values, blocks = torch.tensor(without_block, dtype=torch.float64), len(without_block)
    error = math.sqrt((blocks - 1) / blocks * float((values - values.mean()).square().sum()))
    return Estimate.from_standard_error(value, error, blocks - 1)
