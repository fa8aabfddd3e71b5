"""Numbers with their uncertainty: no metric is handed out without an interval."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

Part = TypeVar("Part")

# So many parts a jackknife leaves out, one after the other.
BLOCKS = 10

# 97.5 % of the standard normal distribution.
_NORMAL = 1.959964


@dataclass(frozen=True)
class Estimate:
    """A value and the 95 % interval around it."""

    value: float
    low: float
    high: float

    @classmethod
    def alone(cls, value: float) -> "Estimate":
        """Return a value whose interval nobody knows."""
        return cls(value, math.nan, math.nan)

    @classmethod
    def around(cls, value: float, standard_error: float, quantile: float = _NORMAL) -> "Estimate":
        """Return the symmetric interval of a standard error."""
        return cls(value, value - quantile * standard_error, value + quantile * standard_error)


def mean_of(values: Tensor) -> Estimate:
    """Return the mean of independent values `(N,)` with the interval of its standard error, s / sqrt(N) (Student's)."""
    values = values.to(torch.float64)
    error = float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.inf
    return Estimate.around(float(values.mean()), error, _students(max(1, len(values) - 1)))


def share_of(hits: Tensor) -> Estimate:
    """Return the share of true values in `(N,)`, with the interval of Wilson 1927, which holds near 0 and 1, too."""
    count, share, z2 = len(hits), float(hits.to(torch.float64).mean()), _NORMAL**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _NORMAL / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half))


def share_reached(by_blocks: Tensor) -> Estimate:
    """Return the share of columns that any row reaches, `(blocks, N)`, with the interval of other rows in their place.

    The rows are blocks of what reaches, and the interval is the jackknife's over them.
    """
    counts = by_blocks.sum(dim=0)

    def share(reached: Tensor) -> float:
        return float((reached > 0).to(torch.float64).mean())

    found = jackknife(by_blocks, share(counts), lambda number: share(counts - by_blocks[number].to(counts.dtype)))
    return Estimate(found.value, max(0.0, found.low), min(1.0, found.high))


def jackknife(parts: Sequence[Part] | Tensor, whole: float, without: Callable[[int], float]) -> Estimate:
    """Return `whole`, a statistic of all `parts`, with the interval of the jackknife over them.

    The standard error is sqrt((G - 1) / G * sum((t_g - mean(t))^2)) with t_g the statistic without part g
    (Efron and Stein 1981), the quantile Student's with G - 1 degrees of freedom, from the first terms of its
    expansion in 1 / (G - 1) (Abramowitz and Stegun, 26.7.5).
    """
    count = len(parts)
    values = torch.tensor([without(number) for number in range(count)], dtype=torch.float64)
    error = math.sqrt((count - 1) / count * float((values - values.mean()).square().sum()))
    return Estimate.around(whole, error, _students(count - 1))


def _students(freedom: int) -> float:
    z, n = _NORMAL, freedom
    terms = (
        z,
        (z**3 + z) / (4 * n),
        (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2),
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3),
    )
    return sum(terms)
