"""The Inception Score: sharp for the classifier, and of many classes. It never looks at a real image.

Salimans et al. 2016 (arXiv 1606.03498), section 4; in ten splits, as their code has it. It says little of images
that are no ImageNet classes (Barratt and Sharma 2018, arXiv 1801.01973), and is measured only on request.
"""

import torch
from torch import Tensor

from kedro_dcgan.evaluation.intervals import Estimate, mean_of

SPLITS = 10


def inception_score(probabilities: Tensor, splits: int = SPLITS) -> Estimate:
    """Return exp(E[KL(p(y|x) | p(y))]) of class probabilities `(N, C)`: 1 to C; the mean over consecutive splits.

    Raises:
        ValueError: if there are fewer images than splits.
    """
    if len(probabilities) < splits:
        raise ValueError(f"{splits} splits must have an image each (got {len(probabilities)}). Use more images.")
    return mean_of(torch.stack([_score(part.to(torch.float64)) for part in probabilities.tensor_split(splits)]))


def _score(probabilities: Tensor) -> Tensor:
    marginal = probabilities.mean(dim=0, keepdim=True)
    entropies = torch.special.xlogy(probabilities, probabilities) - torch.special.xlogy(probabilities, marginal)
    return entropies.sum(dim=1).mean().exp()
