"""Metrics from nearest neighbours: precision, recall, density and coverage.

The ball of a vector reaches to its k-th nearest neighbour within its own set. Precision and recall are those of
Kynkäänniemi et al. 2019 (arXiv 1904.06991), density and coverage of Naeem et al. 2020 (arXiv 2002.09797).
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from kedro_dcgan.evaluation.intervals import (
    BLOCKS,
    Estimate,
    covered_share_estimate,
    mean_estimate,
    proportion_estimate,
)

# Pairs in a block, whose distances take about 100 MB.
_PAIRS = 12_000_000


class PairBlock(NamedTuple):
    """Some vectors of one set, `rows`, with all M vectors of another: Euclidean distances and kernel, `(rows, M)`.

    The kernel is k(x, y) = (x y / D + 1)^3 (Bińkowski et al. 2018). Both are float64.
    """

    rows: slice
    distances: Tensor
    kernel: Tensor


def pair_blocks(features: Tensor, others: Tensor) -> Iterator[PairBlock]:
    """Yield all pairs of two sets `(N, D)` and `(M, D)` in blocks of rows of the first."""
    others = others.to("cpu", torch.float64)
    other_squares = others.square().sum(dim=1)
    step = max(1, _PAIRS // len(others))
    for start in range(0, len(features), step):
        rows = slice(start, min(start + step, len(features)))
        block = features[rows].to("cpu", torch.float64)
        products = block @ others.T
        # |x - y|^2 = |x|^2 + |y|^2 - 2 x y. Rounding leaves about 1e-8 of their length between equal vectors.
        squared = torch.add(other_squares, products, alpha=-2).add_(block.square().sum(dim=1)[:, None])
        kernel = products.div_(others.shape[1]).add_(1).pow_(3)
        yield PairBlock(rows, squared.clamp_(min=0).sqrt_(), kernel)


def nearest_indices(features: Tensor, others: Tensor, k: int) -> Tensor:
    """Return the indices of the k nearest of `others` to each vector, `(N, k)`, nearest first."""
    blocks = pair_blocks(features, others)
    return torch.cat([block.distances.topk(k, dim=1, largest=False).indices for block in blocks])


class Neighbourhoods:
    """The balls of N generated and M real vectors, and the vectors of the other set within them.

    real_balls: the number of real balls around each generated vector, `(N,)`. nearest_real, nearest_index: distance and
    index of the real vector nearest to each generated one, `(N,)`. in_generated_ball, nearest_generated: for each real
    vector, whether it lies in a generated ball, and the distance of the nearest generated vector, separately for the
    10 blocks of the jackknife, `(10, M)`.
    """

    def __init__(self, generated_radii: Tensor, real_radii: Tensor, k: int) -> None:
        self.k, self.generated_radii, self.real_radii = k, generated_radii, real_radii
        generated, real = len(generated_radii), len(real_radii)
        self.real_balls = torch.zeros(generated, dtype=torch.int64)
        self.nearest_real = torch.full((generated,), torch.inf, dtype=torch.float64)
        self.nearest_index = torch.zeros(generated, dtype=torch.int64)
        self.in_generated_ball = torch.zeros(BLOCKS, real, dtype=torch.bool)
        self.nearest_generated = torch.full((BLOCKS, real), torch.inf, dtype=torch.float64)

    def add(self, block: PairBlock) -> None:
        """Add the pairs of some generated vectors with all real ones."""
        rows, distances, _ = block
        self.real_balls[rows] = (distances < self.real_radii).sum(dim=1)
        is_in = distances < self.generated_radii[rows, None]
        for first in range(min(BLOCKS, len(distances))):
            index = (rows.start + first) % BLOCKS
            self.in_generated_ball[index] |= is_in[first::BLOCKS].any(dim=0)
            nearest = self.nearest_generated[index]
            torch.minimum(nearest, distances[first::BLOCKS].amin(dim=0), out=nearest)
        self.nearest_real[rows], self.nearest_index[rows] = distances.min(dim=1)

    def estimates(self) -> dict[str, Estimate]:
        """Return four metrics by name.

        - `precision`: the share of generated images in at least one real ball.
        - `recall`: the share of real images in at least one generated ball. One ball may contain many real images, so
          the interval is the jackknife's over generated images.
        - `density`: the mean number of real balls around a generated image, divided by k; about 1 for real images.
        - `coverage`: the share of real images whose ball contains a generated image.
        """
        return {
            "precision": proportion_estimate(self.real_balls > 0),
            "recall": covered_share_estimate(self.in_generated_ball),
            "density": mean_estimate(self.real_balls.to(torch.float64) / self.k),
            "coverage": covered_share_estimate(self.nearest_generated < self.real_radii),
        }
