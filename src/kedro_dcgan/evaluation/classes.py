"""Class coverage, the classes that a generator produces, and the quality within a class.

Classes are predicted by a linear probe, a ridge regression of one-hot classes on the features of labelled training
images. Always report its accuracy on held-out images, too.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from kedro_dcgan.evaluation.distances import Gaussian, frechet_distance
from kedro_dcgan.evaluation.intervals import Estimate, proportion_estimate
from kedro_dcgan.evaluation.reference import Comparison, FeatureSet

# In units of the mean variance of the features; results hardly change from 0.01 to 0.1.
_RIDGE = 0.03
# A class is covered if it is generated at least this often, relative to its share of the real images.
_COVERED = 0.1
# Images of a class that a distance, and neighbourhoods of 5, need at least.
_LEAST_FOR_DISTANCE, _LEAST_FOR_NEIGHBOURS = 100, 20


class ClassProbe:
    """Predicts the class of features `(N, D)`: the argmax of `(x - mean) W + bias`, where W is `(D, classes)`."""

    def __init__(self, features: Tensor, labels: Sequence[str]) -> None:
        classes, indices = np.unique(labels, return_inverse=True)
        self.classes: list[str] = classes.tolist()
        targets = one_hot(torch.from_numpy(indices)).to(torch.float64)
        features = features.to("cpu", torch.float64)
        self._mean, self._bias = features.mean(dim=0), targets.mean(dim=0)
        centred = features - self._mean
        products = centred.T @ centred
        ridge = _RIDGE * products.diagonal().mean() * torch.eye(len(products), dtype=torch.float64)
        self._weights = torch.linalg.solve(products + ridge, centred.T @ (targets - self._bias))

    def accuracy(self, features: Tensor, labels: Sequence[str]) -> Estimate:
        """Return the share of predictions that agree with the labels, 0 to 1."""
        predicted = [self.classes[index] for index in self._predict(features).tolist()]
        return proportion_estimate(torch.tensor([a == b for a, b in zip(predicted, labels, strict=True)]))

    def histogram(self, features: Tensor) -> Tensor:
        """Return the share of each predicted class, `(classes,)` float64."""
        return torch.bincount(self._predict(features), minlength=len(self.classes)).to(torch.float64) / len(features)

    def _predict(self, features: Tensor) -> Tensor:
        return ((features.to("cpu", torch.float64) - self._mean) @ self._weights + self._bias).argmax(dim=1)


def covered_classes(generated: Tensor, real: Tensor) -> Tensor:
    """Return for each class whether it is covered, from two histograms `(classes,)`."""
    return (generated > 0) & (generated >= _COVERED * real)


def jensen_shannon(generated: Tensor, real: Tensor) -> float:
    """Return the divergence of histograms, 0 (equal) to 1 bit (disjoint), finite if classes are missing (Lin 1991)."""
    middle = ((generated + real) / 2).clamp(min=torch.finfo(generated.dtype).tiny)
    nats = [torch.special.xlogy(side, side / middle).sum() for side in (generated, real)]
    return float(sum(nats)) / 2 / math.log(2)


def chance_divergence(real: Tensor, count: int) -> float:
    """Return the divergence at chance level: the mean over 200 draws of `count` images from the real histogram."""
    source = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(real.expand(200, -1), count, replacement=True, generator=source)
    histograms = [torch.bincount(one, minlength=len(real)).to(torch.float64) / count for one in drawn]
    return sum(jensen_shannon(one, real) for one in histograms) / len(histograms)


def compare_class(generated: Tensor, test: Tensor, train: Tensor) -> dict[str, float | None]:
    """Compare the features `(N, D)` of generated images of a class with those of real ones; None for too few images.

    `fd`, `precision` and `recall` compare with the test images. `diversity` is the root of the ratio of the total
    variances of generated and training images: 1 if images within the class differ from each other as much.
    """
    found = dict[str, float | None].fromkeys(("fd", "precision", "recall", "diversity"))
    if min(len(generated), len(test)) >= _LEAST_FOR_DISTANCE:
        found["fd"] = frechet_distance(Gaussian.of_features(generated), Gaussian.of_features(test))
    if min(len(generated), len(test)) >= _LEAST_FOR_NEIGHBOURS:
        estimates = Comparison(FeatureSet.of(generated), FeatureSet.of(test)).estimates()
        found |= {name: estimates[name].value for name in ("precision", "recall")}
    if min(len(generated), len(train)) >= _LEAST_FOR_NEIGHBOURS:
        variances = (features.double().var(dim=0).sum() for features in (generated, train))
        found["diversity"] = float(next(variances) / next(variances)) ** 0.5
    return found
