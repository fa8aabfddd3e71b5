"""Authenticity: whether the generator makes images of its own, or copies.

Alaa et al. 2022 (arXiv 2102.08921), section 2.3; "AuthPct" when it is given in percent. No number tells memorisation
from quality for certain (Stein et al. 2023, arXiv 2306.04675): beside it must stand that of held-out real images.
"""

from torch import Tensor

from kedro_dcgan.evaluation.intervals import Estimate, share_of
from kedro_dcgan.evaluation.neighbours import Neighbourhoods


def authenticity(in_training: Neighbourhoods, training_nearest: Tensor) -> Estimate:
    """Return the share of images further from their nearest training image than that from its own nearest.

    Between 0, all are copies, and 1. `training_nearest`: of each training image, `(M,)`.
    """
    return share_of(in_training.nearest_real > training_nearest[in_training.nearest_number])
