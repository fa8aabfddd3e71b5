"""Who is whose neighbour: two sets are compared through balls.

Around each vector there is one as far as its k-th nearest other of its own set.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from kedro_dcgan.evaluation.intervals import BLOCKS, Estimate, mean_of, share_of, share_reached

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


@dataclass(frozen=True)
class Neighbourhoods:
    """What the balls of generated and of real features say about each other; shapes `(generated,)` and `(real,)`.

    real_balls: in how many real balls each generated image lies. is_in_generated_ball, nearest_generated: for each real
    image, whether it lies in a generated ball, and how far its nearest generated one is; of ten blocks of generated
    images, taken by turns, `(10, real)`, so that intervals can be told. real_radii: of their balls.
    nearest_real, nearest_number: for each generated image, how far its nearest real one is, and which one that is.
    """

    k: int
    generated_radii: Tensor
    real_radii: Tensor
    real_balls: Tensor
    is_in_generated_ball: Tensor
    nearest_generated: Tensor
    nearest_real: Tensor
    nearest_number: Tensor

    @classmethod
    def of_radii(cls, generated_radii: Tensor, real_radii: Tensor, k: int) -> "Neighbourhoods":
        """Return those of balls of which nothing is known yet but their radii."""
        generated, real = len(generated_radii), len(real_radii)
        return cls(
            k,
            generated_radii,
            real_radii,
            real_balls=torch.zeros(generated, dtype=torch.int64),
            is_in_generated_ball=torch.zeros(BLOCKS, real, dtype=torch.bool),
            nearest_generated=torch.full((BLOCKS, real), torch.inf, dtype=torch.float64),
            nearest_real=torch.full((generated,), torch.inf, dtype=torch.float64),
            nearest_number=torch.zeros(generated, dtype=torch.int64),
        )

    def add(self, rows: slice, distances: Tensor) -> None:
        """Take the distances of some generated images to all real ones."""
        self.real_balls[rows] = (distances < self.real_radii).sum(dim=1)
        is_in = distances < self.generated_radii[rows, None]
        for first in range(min(BLOCKS, len(distances))):
            number = (rows.start + first) % BLOCKS
            self.is_in_generated_ball[number] |= is_in[first::BLOCKS].any(dim=0)
            nearest = self.nearest_generated[number]
            torch.minimum(nearest, distances[first::BLOCKS].amin(dim=0), out=nearest)
        self.nearest_real[rows], self.nearest_number[rows] = distances.min(dim=1)


def distances_to_others(block: PairBlock, k: int) -> Tensor:
    """Return how far the k nearest others of a set's vectors are, `(rows, k)`, nearest first."""
    distances = block.distances()
    distances[block.itself()] = torch.inf
    return distances.topk(k, dim=1, largest=False).values


def nearest(features: Tensor, others: Tensor, count: int) -> Tensor:
    """Return the numbers of the `count` nearest `others` of each vector, `(N, count)`, nearest first."""
    return torch.cat([block.distances().topk(count, dim=1, largest=False).indices for block in pairs(features, others)])


# TODO(merge) metrics.precision_recall


def precision(balls: Neighbourhoods) -> Estimate:
    """Return the share of generated images that lie in the ball of a real one; 0 to 1."""
    return share_of(balls.real_balls > 0)


def recall(balls: Neighbourhoods) -> Estimate:
    """Return the share of real images that lie in the ball of a generated one; 0 to 1.

    One generated image may have many real ones in its ball, so the interval is the jackknife's over generated images.
    """
    return share_reached(balls.is_in_generated_ball)


# TODO(merge) metrics.density_coverage


def density(balls: Neighbourhoods) -> Estimate:
    """Return in how many real balls a generated image lies, divided by k: 1 where it lies as real ones do; from 0."""
    return mean_of(balls.real_balls.to(torch.float64) / balls.k)


def coverage(balls: Neighbourhoods) -> Estimate:
    """Return the share of real images whose ball holds a generated one; 0 to 1."""
    return share_reached(balls.nearest_generated < balls.real_radii)


# TODO(merge) metrics.authenticity


def authenticity(in_training: Neighbourhoods, training_nearest: Tensor) -> Estimate:
    """Return the share of images further from their nearest training image than that from its own nearest.

    Between 0, all are copies, and 1. `training_nearest`: of each training image, `(M,)`.
    """
    return share_of(in_training.nearest_real > training_nearest[in_training.nearest_number])
