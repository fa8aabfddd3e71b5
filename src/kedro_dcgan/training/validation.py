"""Validation during training: the distance to the validation split selects the best generator."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.evaluation.efficientnet import EfficientNetLite0Features
from kedro_dcgan.evaluation.frechet import Gaussian, frechet_distance
from kedro_dcgan.evaluation.protocol import short_count
from kedro_dcgan.model.networks import Generator
from kedro_dcgan.model.sampling import generate, sample_latents
from kedro_dcgan.training.plan import Plan
from kedro_dcgan.training.threads import fast_threads, most_threads, torch_threads

_BATCH, _INPUT_SIZE = 50, 64
# More images cost time and hardly change which generator is best.
_MOST_REAL_IMAGES = 2000


@dataclass
class Validation:
    """Measures generators with the same latents against the same real images, on `threads` CPU threads."""

    threads: int
    _extract: EfficientNetLite0Features
    _reference: Gaussian
    _latents: Tensor

    @classmethod
    def of(
        cls, images: PreparedImages, training: TrainingParameters, plan: Plan, threads: int | None
    ) -> "Validation | None":
        """Prepare validation, if it is configured and the validation split has at least two images.

        Without `threads`, the fastest number is chosen by timing.
        """
        if not distance_name(images, training):
            return None
        count = min(images.count("validation"), _MOST_REAL_IMAGES)
        extract = EfficientNetLite0Features(_INPUT_SIZE, plan.compute.device)
        real_images = torch.from_numpy(images.take("validation", np.arange(count)))
        if plan.compute.device.type != "cpu":
            threads = threads or most_threads()
        chosen = torch_threads(threads) if threads else fast_threads(partial(extract, real_images[:_BATCH]))
        with chosen as threads:
            reference = Gaussian.of_features(_features(extract, real_images.split(_BATCH)))
        latents = sample_latents(training.validation_samples, plan.generator, training.seed)
        return cls(threads, extract, reference, latents)

    def measure(self, generator: Generator) -> float:
        """Return the Fréchet distance of the generator's images to the validation split."""
        with torch_threads(self.threads):
            features = _features(self._extract, generate(generator, self._latents, _BATCH))
            return frechet_distance(Gaussian.of_features(features), self._reference)


def distance_name(images: PreparedImages, training: TrainingParameters) -> str | None:
    """Return the name of the validation distance; nothing if it is off, or with fewer than two images."""
    if training.images_per_validation is None or images.count("validation") < 2:
        return None
    return f"fd_efflite0_{_INPUT_SIZE}_{short_count(training.validation_samples)}_validation"


def _features(extract: EfficientNetLite0Features, batches: Iterable[Tensor]) -> Tensor:
    return torch.cat([extract(batch) for batch in batches])
