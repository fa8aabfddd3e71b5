"""Which of the generated images are looked at: some as they come, with their nearest training images, and extremes."""

import numpy as np
import torch
from torch import Tensor

from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.evaluation.neighbours import Neighbourhoods, nearest
from kedro_dcgan.model.networks import Generator
from kedro_dcgan.model.sampling import generate_all
from kedro_dcgan.pipelines.evaluation.measuring import Measurement
from kedro_dcgan.reports.pictures import EvaluationPictures

_SAMPLES, _WITH_NEIGHBOURS, _EXTREMES = 64, 20, 32
_NEIGHBOURS = 5


def choose(
    measured: Measurement, images: PreparedImages, generator: Generator, latents: Tensor
) -> EvaluationPictures | None:
    """Choose them by features; nothing where there are too few images to have neighbours."""
    train, test = (measured.references.of(split).images for split in ("train", "test"))
    if not (measured.images and train and test):
        return None

    def of_latents(numbers: Tensor) -> np.ndarray:
        return generate_all(generator, latents[numbers]).numpy()

    order = _by_density(measured.comparisons["test"].neighbourhoods)
    first = torch.arange(min(_SAMPLES, len(latents)))
    shown = first[:_WITH_NEIGHBOURS]
    numbers = nearest(measured.images.features[shown], train.features, _NEIGHBOURS)
    near = images.take("train", measured.references.indices("train")[numbers.flatten().numpy()])
    near = near.reshape(len(shown), _NEIGHBOURS, *near.shape[1:])
    real = np.random.default_rng(0).permutation(images.count("test"))[:_SAMPLES]
    return EvaluationPictures(
        samples=of_latents(first),
        real=images.take("test", real),
        neighbours=np.concatenate([of_latents(shown)[:, None], near], axis=1).reshape(-1, *near.shape[2:]),
        best=of_latents(order[:_EXTREMES]),
        worst=of_latents(order[-_EXTREMES:]),
    )


def _by_density(among_real: Neighbourhoods) -> Tensor:
    # The densest first; among equals the nearest to a real image.
    return torch.from_numpy(np.lexsort((among_real.nearest_real.numpy(), -among_real.real_balls.numpy())))
