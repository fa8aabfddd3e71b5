"""All pairs of two sets of features `(N, D)`, block by block: no matrix of all of them is held.

Distances and kernels both come from the products x y, which take nearly all of the time: they are found once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# The products of a block take about 100 MB.
_PAIRS = 12_000_000


@dataclass(frozen=True)
class PairBlock:
    """Some vectors of one set, `rows`, with all of the other: their products `(rows, others)`, float64."""

    rows: slice
    products: Tensor
    squares: Tensor
    other_squares: Tensor
    dimension: int

    def distances(self) -> Tensor:
        """Return the Euclidean distances `(rows, others)`, from |x - y|^2 = |x|^2 + |y|^2 - 2 x y.

        Between equal vectors rounding leaves about 1e-8 of their length.
        """
        squared = torch.add(self.other_squares, self.products, alpha=-2).add_(self.squares[:, None])
        return squared.clamp_(min=0).sqrt_()

    def itself(self) -> tuple[Tensor, Tensor]:
        """Return where each row meets itself, if both sets are one."""
        return torch.arange(len(self.products)), torch.arange(self.rows.start, self.rows.stop)


def pairs(features: Tensor, others: Tensor) -> Iterator[PairBlock]:
    """Yield all vectors of the first set, block by block, with all of the second."""
    others = others.to("cpu", torch.float64)
    other_squares = others.square().sum(dim=1)
    step = max(1, _PAIRS // len(others))
    for start in range(0, len(features), step):
        rows = slice(start, min(start + step, len(features)))
        block = features[rows].to("cpu", torch.float64)
        yield PairBlock(rows, block @ others.T, block.square().sum(dim=1), other_squares, others.shape[1])
