"""A small convolutional classifier of images, trained on real or on generated ones.

It judges whether a conditional generator shows the class that it was asked for. Trained on generated images and tested
on real ones, its accuracy is the classification accuracy score (Ravuri and Vinyals 2019, arXiv 1905.10887).
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from kedro_dcgan.evaluation.intervals import Estimate, proportion_estimate

_BATCH, _SCORED = 128, 250
_LEARNING_RATE = 5e-3
# Passes over the training images: 4, or more until the network has seen this many images, but not more than the other
# number. On MNIST, 4 passes give an accuracy of 99.5 %.
_PASSES, _LEAST_IMAGES, _MOST_IMAGES = 4, 30_000, 200_000
# Channels of the first and of the widest layer. Images are shifted by up to this share of their size.
_WIDTH, _MOST_WIDTH, _SHIFT = 16, 128, 1 / 16


class Classifier:
    """Predicts the class of uint8 images `(N, C, H, W)`, on the CPU; equal images and seeds give equal weights."""

    def __init__(self, images: Tensor, labels: Tensor, classes: int, seed: int = 0) -> None:
        """Train on images `(N, C, H, W)` with labels `(N,)` from 0 to `classes - 1`."""
        source = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self._network = _build(images.shape[1], images.shape[2], classes).to(memory_format=torch.channels_last)
        size = min(_BATCH, len(images))
        steps = min(max(_PASSES * len(images), _LEAST_IMAGES), _MOST_IMAGES) // size
        optimiser = torch.optim.Adam(self._network.parameters(), fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _LEARNING_RATE, total_steps=steps)
        for _, rows in zip(range(steps), _batches(len(images), size, source), strict=False):
            logits = self._network(_pixels(_shifted(images[rows], source)))
            optimiser.zero_grad()
            cross_entropy(logits, labels[rows]).backward()
            optimiser.step()
            schedule.step()
        self._network.eval()

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """Return the probability of each class for each image, float32 `(N, classes)`."""
        return torch.cat([self._network(_pixels(part)).softmax(dim=1) for part in images.split(_SCORED)])

    def predict(self, images: Tensor) -> Tensor:
        """Return the class of each image, int64 `(N,)`."""
        return self.probabilities(images).argmax(dim=1)

    def accuracy(self, images: Tensor, labels: Tensor) -> Estimate:
        """Return the share of images whose predicted class is their label, 0 to 1."""
        return proportion_estimate(self.predict(images) == labels)


def _build(channels: int, size: int, classes: int) -> nn.Sequential:
    """Build a network from images `(N, channels, size, size)` to logits `(N, classes)`."""
    width, size = _WIDTH, -(-size // 2)
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 5, 2, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    while size > 4:
        wider, size = min(2 * width, _MOST_WIDTH), size // 2
        layers += [nn.Conv2d(width, wider, 3, 1, 1, bias=False), nn.BatchNorm2d(wider), nn.ReLU(), nn.MaxPool2d(2)]
        width = wider
    wider = min(2 * width, _MOST_WIDTH)
    layers += [nn.Conv2d(width, wider, 3, 1, 1, bias=False), nn.BatchNorm2d(wider), nn.ReLU(), nn.MaxPool2d(2, 1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(wider * (size - 1) ** 2, classes))


def _batches(count: int, size: int, source: torch.Generator) -> Iterator[Tensor]:
    """Yield the rows of batches without end, in another order in each pass."""
    while True:
        rows = torch.randperm(count, generator=source)
        yield from rows[: count // size * size].split(size)


def _shifted(images: Tensor, source: torch.Generator) -> Tensor:
    most = round(images.shape[-1] * _SHIFT)
    shift = torch.randint(-most, most + 1, (2,), generator=source).tolist()
    return images.roll(shift, (2, 3))


def _pixels(images: Tensor) -> Tensor:
    return (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
