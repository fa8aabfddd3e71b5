"""The distance to the validation split, measured while training: it chooses the generator that is kept."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from kedro_dcgan.gan.networks import Generator
from kedro_dcgan.gan.sampling import generate, sample_latents
from kedro_dcgan.gan.training.plan import Plan
from kedro_dcgan.images.shards import PreparedImages
from kedro_dcgan.metrics.efficientnet import EfficientNetLite0Features
from kedro_dcgan.metrics.frechet import Gaussian, frechet_distance
from kedro_dcgan.metrics.protocol import short_count
from kedro_dcgan.parameters import TrainingParameters

logger = logging.getLogger(__name__)

_BATCH = 50
# More would cost more, and hardly change which generator is the best.
_MOST_REAL_IMAGES = 2000


@dataclass
class Validation:
    """Measures generators with the same latents, against the same images; `seconds` is what it has taken so far."""

    name: str
    _extract: EfficientNetLite0Features
    _reference: Gaussian
    _latents: Tensor
    seconds: float = field(default=0.0)

    @classmethod
    def of(cls, images: PreparedImages, training: TrainingParameters, plan: Plan) -> "Validation | None":
        """Prepare the measurement, if it is asked for and the validation split has images enough."""
        if training.images_per_validation is None:
            return None
        count = min(images.count("validation"), _MOST_REAL_IMAGES)
        if count < 2:
            logger.warning("The validation split has no two images: the last generator is kept, not the best.")
            return None
        extract = EfficientNetLite0Features(64, plan.compute.device)
        real = _features(extract, torch.from_numpy(images.take("validation", np.arange(count))).split(_BATCH))
        name = f"fd_{extract.id}_{short_count(training.validation_samples)}_validation"
        latents = sample_latents(training.validation_samples, plan.generator, training.seed)
        return cls(name, extract, Gaussian.of_features(real), latents)

    def measure(self, generator: Generator) -> float:
        """Return the Fréchet distance of the generator's images to the validation split."""
        started = time.perf_counter()
        features = _features(self._extract, generate(generator, self._latents, _BATCH))
        distance = frechet_distance(Gaussian.of_features(features), self._reference)
        self.seconds += time.perf_counter() - started
        return distance


def _features(extract: EfficientNetLite0Features, batches: Iterable[Tensor]) -> Tensor:
    return torch.cat([extract(batch) for batch in batches])
