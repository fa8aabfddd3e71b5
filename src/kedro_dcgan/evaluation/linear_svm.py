"""A linear SVM on features: how well their classes can be told apart by a plane.

Radford et al. 2015 (arXiv 1511.06434, section 5.1) judge a discriminator by it. scikit-learn takes a second to import,
so the functions that need it import it.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from kedro_dcgan.evaluation.intervals import Estimate, proportion_estimate

# Candidates for C, the weight of the errors against the L2 penalty on the weights.
COSTS = (1e-4, 1e-3, 1e-2, 1e-1)
# Every fifth training image of a class is held out to choose C.
_FOLDS = 5
# Passes over the images. The accuracy changes little after some tens of passes.
_MOST_PASSES, _TOLERANCE = 100, 1e-2


@dataclass(frozen=True)
class SvmResult:
    """The accuracy on the test images, 0 to 1, the chosen C, and the number of features."""

    accuracy: Estimate
    cost: float
    dimension: int


def can_classify(labels: np.ndarray) -> bool:
    """Return whether training images with these labels `(N,)` leave two classes while a fifth of them is held out."""
    return len(np.unique(labels[~_held_out(labels)])) > 1


def svm_accuracy(train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> SvmResult:
    """Fit an L2-regularised linear SVM to features `(N, D)` with labels `(N,)`, one against the rest; test it.

    Features are standardised by the mean and deviation of the training images. C is the candidate with the best
    accuracy on a held-out fifth of the training images, the smallest of equals. Then all of them are fitted.
    """
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    # Constant features, such as the corners of scanned digits, must not be divided by a rounding error.
    deviation[np.ptp(train, axis=0) == 0] = 1
    train, test = (train - mean) / deviation, (test - mean) / deviation
    dimension = train.shape[1]
    if dimension > len(train):
        # The weights of an L2-regularised SVM lie in the span of its images. A rotation into this span changes no
        # prediction, and the fit takes a fraction of the time.
        basis, _ = np.linalg.qr(train.T)
        train, test = train @ basis, test @ basis
    held_out = _held_out(labels)
    scores = {
        cost: np.mean(_predict(train[~held_out], labels[~held_out], train[held_out], cost) == labels[held_out])
        for cost in COSTS
    }
    # `max` returns the first of equals.
    best = max(COSTS, key=lambda cost: scores[cost])
    hits = _predict(train, labels, test, best) == test_labels
    return SvmResult(proportion_estimate(torch.from_numpy(hits)), best, dimension)


def _held_out(labels: np.ndarray) -> np.ndarray:
    """Return which training images are held out, bool `(N,)`: about a fifth of each class, with a fixed seed."""
    order = np.random.default_rng(0).permutation(len(labels))
    # A stable sort keeps the random order within a class.
    order = order[np.argsort(labels[order], kind="stable")]
    held_out = np.zeros(len(labels), dtype=bool)
    held_out[order[_FOLDS - 1 :: _FOLDS]] = True
    return held_out


def _predict(train: np.ndarray, labels: np.ndarray, others: np.ndarray, cost: float) -> np.ndarray:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        is_dual = train.shape[1] >= len(train)
        svm = LinearSVC(C=cost, tol=_TOLERANCE, max_iter=_MOST_PASSES, dual=is_dual, random_state=0)
        predicted: np.ndarray = svm.fit(train, labels).predict(others)
    return predicted
