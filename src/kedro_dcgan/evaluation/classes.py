"""Which classes of a labelled set a generator makes, as a classifier sees it that was fitted to the set itself.

The classifier is a ridge regression of the classes on the features, solved at once. How often it is right on
held-out real images must stand beside whatever it says of generated ones.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from kedro_dcgan.evaluation.intervals import Estimate, share_of

# The ridge, in units of the features' mean variance: 0.01 to 0.1 are alike.
_RIDGE = 0.03
# A class is covered by at least a tenth of the share that it has among real images.
_COVERED = 0.1


@dataclass(frozen=True)
class ClassProbe:
    """Tells classes by features `(N, D)`: the largest of `(x - mean) W + bias` is meant, W `(D, classes)`."""

    classes: Sequence[str]
    mean: Tensor
    weights: Tensor
    bias: Tensor

    @classmethod
    def fit(cls, features: Tensor, labels: Sequence[str]) -> "ClassProbe":
        """Fit the classes that there are among the labels of `(N, D)` features."""
        classes = sorted(set(labels))
        numbers = {name: number for number, name in enumerate(classes)}
        targets = one_hot(torch.tensor([numbers[label] for label in labels]), len(classes)).to(torch.float64)
        features = features.to("cpu", torch.float64)
        mean, bias = features.mean(dim=0), targets.mean(dim=0)
        centred = features - mean
        products = centred.T @ centred
        ridge = _RIDGE * products.diagonal().mean() * torch.eye(len(products), dtype=torch.float64)
        return cls(classes, mean, torch.linalg.solve(products + ridge, centred.T @ (targets - bias)), bias)

    def accuracy(self, features: Tensor, labels: Sequence[str]) -> Estimate:
        """Return how often it is right; 0 to 1."""
        found = self._told(features).tolist()
        hits = [self.classes[number] == label for number, label in zip(found, labels, strict=True)]
        return share_of(torch.tensor(hits))

    def shares(self, features: Tensor) -> Tensor:
        """Return the share of each class, `(classes,)` float64."""
        return torch.bincount(self._told(features), minlength=len(self.classes)).to(torch.float64) / len(features)

    def _told(self, features: Tensor) -> Tensor:
        scores = (features.to("cpu", torch.float64) - self.mean) @ self.weights + self.bias
        return scores.argmax(dim=1)


def covered(generated: Tensor, real: Tensor) -> Tensor:
    """Return for shares of classes `(C,)` which are covered: made at all, and a tenth as often as they are real."""
    return (generated > 0) & (generated >= _COVERED * real)


def divergence(generated: Tensor, real: Tensor) -> float:
    """Return the Jensen-Shannon divergence of two class histograms in bits: 0 where they are equal, 1 if disjoint.

    Lin 1991. It is finite also where a class is missing, which Kullback and Leibler's is not both ways.
    """
    middle = (generated + real) / 2
    # Where both are 0, so is what they add.
    nats = [
        torch.special.xlogy(side, side / middle.clamp(min=torch.finfo(middle.dtype).tiny)).sum()
        for side in (generated, real)
    ]
    return float(sum(nats)) / 2 / math.log(2)


def chance_divergence(real: Tensor, count: int, draws: int = 200) -> float:
    """Return what the divergence is by chance alone: the mean over draws of so many images from the real histogram."""
    source = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(real.expand(draws, -1), count, replacement=True, generator=source)
    shares = [torch.bincount(one, minlength=len(real)).to(torch.float64) / count for one in drawn]
    return sum(divergence(one, real) for one in shares) / draws
