"""The test for copies of training images, in pixels and in features.

The *closeness ratio* of an image is its distance to the nearest training image, divided by the mean distance to the
50 nearest: near 0 for a copy, near 1 for an image that resembles many training images alike (Carlini et al. 2023, arXiv
2301.13188). A plain distance would take blurred images for copies, because they are close to all others.

An image is a near-copy if its ratio is below 0.4. Some real images are, too: a dataset may contain almost equal ones.
So compare the share of near-copies among samples with that among held-out images.
"""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from kedro_dcgan.evaluation.intervals import Estimate, proportion_estimate
from kedro_dcgan.evaluation.protocol import PIXELS

# By this ratio, noisy and blurred copies differ from mixtures of images (docs/explanation/copies.md).
_NEIGHBOURS, _NEAR_COPY = 50, 0.4
# Pixels are averaged to this size, because fine noise would hide a copy.
_SIZE = 16
# Pairs in a block, whose distances take about 50 MB.
_PAIRS = 12_000_000


class PixelVectors:
    """uint8 images `(N, C, H, W)` to their pixels in [-1, 1], averaged to 16x16, float32 `(N, 256 C)`.

    A `FeatureExtractor` without weights.
    """

    id, weights_sha256, resize, precision = PIXELS, "", f"averaged to {_SIZE}", "float32"
    keeps_features, batch_size = True, 256

    def __init__(self, channels: int) -> None:
        self.dimension = channels * _SIZE**2

    def __call__(self, images: Tensor) -> Tensor:
        """Return the vectors of a batch."""
        return (adaptive_avg_pool2d(images.float(), _SIZE) / 127.5 - 1).flatten(1)


def closeness(images: Tensor, training: Tensor) -> tuple[Tensor, Tensor]:
    """Return the closeness ratio of each vector `(N, D)` to training vectors `(M, D)`, and the index of the nearest.

    Both are `(N,)`. With fewer than 50 training vectors, all of them are neighbours.
    """
    count, ratios, nearest = min(_NEIGHBOURS, len(training)), list[Tensor](), list[Tensor]()
    for part in images.split(max(1, _PAIRS // len(training))):
        found = torch.cdist(part, training).topk(count, dim=1, largest=False)
        # Equal training images have distances of 0.
        ratios.append(found.values[:, 0] / found.values.mean(dim=1).clamp(min=torch.finfo(part.dtype).tiny))
        nearest.append(found.indices[:, 0])
    return torch.cat(ratios), torch.cat(nearest)


def near_copies(ratios: Tensor) -> Estimate:
    """Return the share of near-copies among images with these closeness ratios `(N,)`; Wilson's interval."""
    return proportion_estimate(ratios < _NEAR_COPY)
