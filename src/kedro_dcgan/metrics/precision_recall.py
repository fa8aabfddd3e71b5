"""Precision: how many generated images are like real ones. Recall: for how many real ones there are generated ones.

Kynkäänniemi et al. 2019 (arXiv 1904.06991), equation 2, with balls of k = 5 neighbours.
"""

from kedro_dcgan.evaluation.intervals import Estimate, share_of, share_reached
from kedro_dcgan.evaluation.neighbours import Neighbourhoods


def precision(balls: Neighbourhoods) -> Estimate:
    """Return the share of generated images that lie in the ball of a real one; 0 to 1."""
    return share_of(balls.real_balls > 0)


def recall(balls: Neighbourhoods) -> Estimate:
    """Return the share of real images that lie in the ball of a generated one; 0 to 1.

    One generated image may have many real ones in its ball, so the interval is the jackknife's over generated images.
    """
    return share_reached(balls.is_in_generated_ball)
