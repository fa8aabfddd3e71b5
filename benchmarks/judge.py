"""A classifier two-sample test: a small CNN learns to tell real images from generated ones, and is tested on others.

Lopez-Paz and Oquab 2017 (arXiv 1610.06545), with the AUC in place of the accuracy: the probability that a real image
gets a higher score than a generated one. It is 0.5 if nothing tells them apart, and 1 if all of them can be told apart.
The network starts from random weights, so it shares no features with the Fréchet distance. It is small and trained for
a fixed number of steps: a strong classifier finds every GAN at once, and then says nothing about which one is better.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.swa_utils import update_bn

from kedro_dcgan.model.sampling import to_model_range
from kedro_dcgan.training.threads import torch_threads

# Channels of the first and of the widest layer: 166,000 parameters for colour images of 64x64.
WIDTH, MOST_WIDTH = 24, 128
# Steps of each fold, and images of either side in each step. On MNIST, 20 steps miss noise of 5 grey levels (AUC 0.67),
# which 40 find (1.00); with 160 steps, the separations of weak and better generators are closer than with 40.
STEPS, BATCH, LEARNING_RATE = 40, 32, 1e-3
# Images of either side that set the statistics of batch norm, and images scored at once.
STATISTICS, SCORED = 512, 250


@dataclass(frozen=True)
class Judgement:
    """How well real and generated images can be told apart.

    `auc` has a 95 % interval over the tested images. `separation` is the difference between the mean scores in units
    of their standard deviation (d' of signal detection theory). It still grows where the AUC is close to 1.
    """

    auc: float
    low: float
    high: float
    separation: float


def two_sample_auc(real: Tensor, generated: Tensor, seed: int = 0) -> tuple[float, float, float]:
    """Return the AUC of uint8 images `(N, C, H, W)` and the ends of its 95 % interval."""
    found = judge(real, generated, seed)
    return found.auc, found.low, found.high


def judge(real: Tensor, generated: Tensor, seed: int = 0) -> Judgement:
    """Judge generated images, uint8 `(N, C, H, W)`, by two-fold cross-validation, so that every image is tested.

    As many images of either side are used as the smaller one has. AUC and separation are means over the folds, since
    the scores of two networks cannot be compared. The interval does not contain the chance of another seed.
    """
    source = torch.Generator().manual_seed(seed)
    count = min(len(real), len(generated)) // 2 * 2
    sides = [images[torch.randperm(len(images), generator=source)[:count]] for images in (real, generated)]
    folds = []
    # With one thread, the result does not depend on the number of cores.
    with torch_threads(1):
        for fold in (0, 1):
            network = train([images[fold::2] for images in sides], source)
            scores = [score(network, images[1 - fold :: 2]) for images in sides]
            folds.append((*auc_and_variance(*scores), separation(*scores)))
    auc, variance, apart = (sum(values) / 2 for values in zip(*folds, strict=True))
    margin = 1.96 * math.sqrt(variance / 2)
    return Judgement(auc, max(0.0, auc - margin), min(1.0, auc + margin), apart)


def build_classifier(channels: int, size: int) -> nn.Sequential:
    """Build a network from images `(N, channels, size, size)` to logits `(N,)`, higher for real images."""
    layers: list[nn.Module] = []
    width = WIDTH
    while size > 4:
        layers += [
            nn.Conv2d(channels, width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        channels, width, size = width, min(2 * width, MOST_WIDTH), -(-size // 2)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * size**2, 1), nn.Flatten(0))


def train(sides: list[Tensor], source: torch.Generator) -> nn.Sequential:
    """Train a classifier on real and generated images, uint8 `(N, C, H, W)`; return it in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(source.initial_seed())
        network = build_classifier(*sides[0].shape[1:3]).to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE, (0.9, 0.99), fused=True)
    batch = min(BATCH, len(sides[0]))
    truth = torch.cat([torch.ones(batch), torch.zeros(batch)])
    for images in islice(shuffled(sides, batch, source), STEPS):
        loss = binary_cross_entropy_with_logits(network(pixels(images)), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    # The running statistics lag behind the weights of a short training.
    parts = zip(*(images[:STATISTICS].split(BATCH) for images in sides), strict=True)
    update_bn((pixels(torch.cat(part)) for part in parts), network)
    return network.eval()


def shuffled(sides: list[Tensor], batch: int, source: torch.Generator) -> Iterator[Tensor]:
    """Yield batches without end, each of `batch` real and `batch` generated images, shuffled in each epoch."""
    while True:
        orders = [torch.randperm(len(images), generator=source).split(batch) for images in sides]
        for rows in zip(*orders, strict=True):
            if len(rows[0]) == batch:
                yield torch.cat([images[row] for images, row in zip(sides, rows, strict=True)])


@torch.inference_mode()
def score(network: nn.Module, images: Tensor) -> Tensor:
    """Return the logits `(N,)` of uint8 images, float64."""
    return torch.cat([network(pixels(part)) for part in images.split(SCORED)]).double()


def pixels(images: Tensor) -> Tensor:
    """Scale uint8 images to [-1, 1]."""
    return to_model_range(images).contiguous(memory_format=torch.channels_last)


def auc_and_variance(real: Tensor, generated: Tensor) -> tuple[float, float]:
    """Return the AUC of scores, ties counted half, and its variance (DeLong et al. 1988) in O(n log n) by ranks."""
    together = ranks(torch.cat([real, generated]))
    # For each image, the share of the other side that scores lower (for a generated one, higher).
    of_real = (together[: len(real)] - ranks(real)) / len(generated)
    of_generated = 1 - (together[len(real) :] - ranks(generated)) / len(real)
    variance = of_real.var() / len(real) + of_generated.var() / len(generated)
    return float(of_real.mean()), float(variance)


def ranks(values: Tensor) -> Tensor:
    """Return the ranks, from 1, of `(N,)` values; equal values share their mean rank."""
    _, places, counts = torch.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts - 1) / 2)[places]


def separation(real: Tensor, generated: Tensor) -> float:
    """Return the difference between the means of scores, in units of the root of the mean of their variances."""
    return float((real.mean() - generated.mean()) / ((real.var() + generated.var()) / 2).sqrt())
