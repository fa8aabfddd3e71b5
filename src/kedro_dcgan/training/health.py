"""Health of a training, by rules on its history. They only warn: training continues, and the best generator is kept.

- `exploded`: a mean loss of the last tick is above 10,000. No loss can be so large on images: a logistic loss is about
  the logit, and the output of a critic with a gradient penalty is bounded by the distance between images.
- `discriminator wins`: its accuracy is above 99 % on real and on fake images, in each tick of the last 20 thousand
  images, and for at least 4 ticks. The generator then learns next to nothing (Arjovsky and Bottou 2017,
  arXiv 1701.04862). A critic (wgan_gp) should win, so the rule does not apply to it.
- `mode collapse`: the diversity of the samples was below half of its maximum for two ticks, or below 0.2 for the last
  50 thousand images. (Early samples are all grey, so low diversity must last.)
- `oscillation`: in the last 8 ticks the generator's loss changed direction at least 5 times, each time by more than
  half of its mean.

At the end, two more rules apply to the samples (`verdict`): with a diversity below 0.01 in every tick, the training
exploded, because every latent has given the same image from the start; with one below 0.2 it is `undertrained`.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from kedro_dcgan.evaluation.verdict import COLLAPSE, EXPLODED, UNDERTRAINED
from kedro_dcgan.progress import short_images
from kedro_dcgan.training.state import KeptGenerator, TickRecord

HEALTHY, WINS, OSCILLATION = "healthy", "discriminator wins", "oscillation"

_LARGEST_LOSS = 10_000.0
_WIN_ACCURACY, _WIN_IMAGES, _WIN_TICKS = 0.99, 20_000, 4
_FALL, _LOW_IMAGES = 0.5, 50_000
_SWING, _TURNS, _SWING_TICKS = 0.5, 5, 8

# Number of samples and real images whose diversity is compared, and the diversity below which samples have collapsed.
DIVERSITY_SAMPLES, COLLAPSED = 64, 0.2
# All samples are the same image.
_IDENTICAL = 0.01

# What to change.
ADVICE = {
    EXPLODED: "lower both learning rates, and `training.penalties.r1` if it is a number above 10",
    WINS: "lower `training.discriminator.learning_rate`; without batch norm in D, raise `training.penalties.r1` or set "
    "it to `auto`; with few images, set `training.augmentation.differentiable`",
    COLLAPSE: "lower both learning rates, or raise `training.batch_size`; with few images, set "
    "`training.augmentation.differentiable`",
    OSCILLATION: "lower both learning rates, or set `training.ema.half_life`",
}


def diversity(samples: Tensor, real_images: Tensor) -> float:
    """Return the diversity of uint8 samples `(N, C, H, W)` relative to real images: 1 if they differ as much.

    It is the mean distance to the nearest other image, divided by the same for as many real images. It falls when
    samples become alike, and when they repeat few modes. NaN for fewer than two samples.
    """
    count = min(len(samples), len(real_images))
    return _nearest_distance(samples[:count]) / _nearest_distance(real_images[:count]) if count > 1 else math.nan


def diagnose(history: Sequence[TickRecord], is_critic: bool) -> str:
    """Return the health after these records; their own `health` is ignored."""
    # The losses explode.
    if max(abs(history[-1].discriminator_loss), abs(history[-1].generator_loss)) > _LARGEST_LOSS:
        return EXPLODED

    # The discriminator wins, unless it is a critic.
    last = _last(history, _WIN_IMAGES, _WIN_TICKS)
    is_winning = [min(record.real_accuracy, record.fake_accuracy) > _WIN_ACCURACY for record in last]
    if last and all(is_winning) and not is_critic:
        return WINS

    # Modes collapse: the diversity has fallen, or never rose.
    least_diversity = _FALL * max(record.diversity for record in history)
    has_fallen = len(history) > 1 and all(record.diversity < least_diversity for record in history[-2:])
    last = _last(history, _LOW_IMAGES, 2)
    if has_fallen or (last and all(record.diversity < COLLAPSED for record in last)):
        return COLLAPSE

    # The generator's loss oscillates: count changes of direction between two moves that are both large enough.
    losses = [record.generator_loss for record in history[-_SWING_TICKS:]]
    least_move = _SWING * abs(sum(losses) / len(losses))
    moves = [after - before for before, after in pairwise(losses)]
    turns = sum(a * b < 0 and min(abs(a), abs(b)) > least_move for a, b in pairwise(moves))
    return OSCILLATION if len(losses) == _SWING_TICKS and turns >= _TURNS else HEALTHY


def verdict(records: Sequence[TickRecord]) -> str:
    """Return the verdict on a training: its health at the end and since when, or problems that it recovered from."""
    if not records:
        return "not trained"
    last, spread = records[-1].health, f"(diversity {records[-1].diversity:.2f})"
    if last != EXPLODED and len(records) > 1 and all(record.diversity < _IDENTICAL for record in records):
        return f"{EXPLODED}: all samples are the same image {spread}"
    if last != HEALTHY:
        healths = [record.health for record in records]
        begin = max((i + 1 for i, health in enumerate(healths) if health != last), default=0)
        return f"{last} since {short_images(records[begin].images_seen)}"
    if records[-1].diversity < COLLAPSED:
        return f"{UNDERTRAINED}: the samples are still alike {spread}"
    past = [health for health in ADVICE if any(record.health == health for record in records)]
    return f"{HEALTHY} again after {' and '.join(past)}" if past else HEALTHY


def fault(records: Sequence[TickRecord], kept: KeptGenerator) -> str | None:
    """Return the fault of the kept generator: that of the training, unless it is the best one from before the fault."""
    found = next((name for name in (EXPLODED, COLLAPSE, UNDERTRAINED) if verdict(records).startswith(name)), None)
    is_from_before = kept.validation is not None and not kept.is_collapsed
    until_kept = [record.health for record in records if record.images_seen <= kept.images_seen]
    return None if is_from_before and EXPLODED not in until_kept else found


def _last(history: Sequence[TickRecord], images: int, ticks: int) -> Sequence[TickRecord]:
    # The ticks of the last `images`, at least `ticks` of them; none if the history is shorter.
    begin = history[-1].images_seen - images
    count = max(ticks, sum(record.images_seen > begin for record in history))
    return history[-count:] if begin >= 0 and count <= len(history) else []


def _nearest_distance(images: Tensor) -> float:
    flat = images.flatten(1).float()
    distances = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
    return float(distances.fill_diagonal_(math.inf).amin(dim=1).mean())
