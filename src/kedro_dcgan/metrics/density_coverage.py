"""Density and coverage: precision and recall that one odd image cannot spoil.

Naeem et al. 2020 (arXiv 2002.09797), equations 3 and 4. Only balls of real images are used: a single
generated image far from all others has a ball that holds everything.
"""

import torch

from kedro_dcgan.evaluation.intervals import Estimate, mean_of, share_reached
from kedro_dcgan.evaluation.neighbours import Neighbourhoods


def density(balls: Neighbourhoods) -> Estimate:
    """Return in how many real balls a generated image lies, divided by k: 1 where it lies as real ones do; from 0."""
    return mean_of(balls.real_balls.to(torch.float64) / balls.k)


def coverage(balls: Neighbourhoods) -> Estimate:
    """Return the share of real images whose ball holds a generated one; 0 to 1."""
    return share_reached(balls.nearest_generated < balls.real_radii)
