"""Who is whose neighbour: two sets are compared through balls.

Around each vector there is one as far as its k-th nearest other of its own set.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kedro_dcgan.evaluation.intervals import BLOCKS
from kedro_dcgan.metrics.pairs import PairBlock, pairs


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
