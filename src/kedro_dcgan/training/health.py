"""Whether training goes well, by stated rules on the history. They warn: a run goes on, and its best generator is kept.

- `discriminator wins`: it is right on more than 99 % of real and of fake images, in each tick of the last 20
  thousand images and of 4 ticks at least. The generator then learns next to nothing (Arjovsky and Bottou 2017,
  arXiv 1701.04862). A critic (wgan_gp) is meant to win, so the rule is not for it.
- `mode collapse`: for two ticks the diversity of the samples has been less than half of the highest that it has
  had, or, for the last 50 thousand images, less than 0.2. (At the beginning all samples are grey.)
- `oscillation`: in the last 8 ticks the generator's loss has turned at least 5 times, each time by more than half
  of its mean.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from kedro_dcgan.training.records import TickRecord

HEALTHY, WINS, COLLAPSE, OSCILLATION = "healthy", "discriminator wins", "mode collapse", "oscillation"

_WIN_ACCURACY, _WIN_IMAGES, _WIN_TICKS = 0.99, 20_000, 4
_FALL, _LOW, _LOW_IMAGES = 0.5, 0.2, 50_000
_SWING, _TURNS, _SWING_TICKS = 0.5, 5, 8

# So many samples, and as many real images, are compared with each other.
COMPARED = 64

_ADVICE = {
    WINS: "lower `training.discriminator.learning_rate`, or set `training.discriminator.spectral_norm` or "
    "`training.augmentation.differentiable`",
    COLLAPSE: "lower both learning rates, or raise `training.batch_size`; with few images, set "
    "`training.augmentation.differentiable`",
    OSCILLATION: "lower both learning rates, or set `training.ema.half_life`",
}


def advice_for(health: str) -> str:
    """Return what to change."""
    return _ADVICE[health]


def diversity(samples: Tensor, real_images: Tensor) -> float:
    """Return how different uint8 samples `(N, C, H, W)` are from each other: 1 where they are as real images are.

    It is the mean distance of an image to its nearest other, divided by that of as many real images: it falls
    when samples become alike, and also when few kinds of them are repeated. NaN for fewer than two.
    """
    count = min(len(samples), len(real_images))
    return _nearest_distance(samples[:count]) / _nearest_distance(real_images[:count]) if count > 1 else math.nan


def are_alike(spread: float) -> bool:
    """Tell whether samples of this diversity show one thing."""
    return spread < _LOW


def diagnose(history: Sequence[TickRecord], is_critic: bool) -> str:
    """Return the health after these records, whose own `health` is not looked at."""
    if not is_critic and _discriminator_wins(history):
        return WINS
    if _collapses(history):
        return COLLAPSE
    return OSCILLATION if _oscillates([record.generator_loss for record in history]) else HEALTHY


def verdict(records: Sequence[TickRecord]) -> str:
    """Return what is to be said of a whole run: its health at the end, since when, and what there was before."""
    if not records:
        return "not trained"
    last = records[-1].health
    if last != HEALTHY:
        healths = [record.health for record in records]
        begin = max((i + 1 for i, health in enumerate(healths) if health != last), default=0)
        return f"{last} since {records[begin].images_seen / 1000:.1f} kimg"
    past = [health for health in _ADVICE if any(record.health == health for record in records)]
    return f"{HEALTHY} again after {' and '.join(past)}" if past else HEALTHY


def _discriminator_wins(history: Sequence[TickRecord]) -> bool:
    last = _last(history, _WIN_IMAGES, _WIN_TICKS)
    return bool(last) and all(min(record.real_accuracy, record.fake_accuracy) > _WIN_ACCURACY for record in last)


def _collapses(history: Sequence[TickRecord]) -> bool:
    least = _FALL * max(record.diversity for record in history)
    has_fallen = len(history) > 1 and all(record.diversity < least for record in history[-2:])
    last = _last(history, _LOW_IMAGES, 2)
    return has_fallen or (bool(last) and all(are_alike(record.diversity) for record in last))


def _last(history: Sequence[TickRecord], images: int, ticks: int) -> Sequence[TickRecord]:
    # The ticks of the last so many images, at least so many; none if there are not as many.
    begin = history[-1].images_seen - images
    wanted = max(ticks, sum(record.images_seen > begin for record in history))
    return history[-wanted:] if begin >= 0 and wanted <= len(history) else []


def _oscillates(losses: Sequence[float]) -> bool:
    if len(losses) < _SWING_TICKS:
        return False
    last = losses[-_SWING_TICKS:]
    least = _SWING * abs(sum(last) / len(last))
    # Going up or down by enough, and then the other way.
    moves = [after - before for before, after in pairwise(last)]
    return sum(a * b < 0 and min(abs(a), abs(b)) > least for a, b in pairwise(moves)) >= _TURNS


def _nearest_distance(images: Tensor) -> float:
    flat = images.flatten(1).float()
    distances = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
    return float(distances.fill_diagonal_(math.inf).amin(dim=1).mean())
