"""Measure the generator against images that it has not seen."""

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kedro_dcgan.gan.sampling import generate, sample_latents
from kedro_dcgan.gan.trained import TrainedGenerator
from kedro_dcgan.images.shards import PreparedImages
from kedro_dcgan.metrics.efficientnet import DIMENSION, WEIGHTS_SHA256, EfficientNetLite0Features
from kedro_dcgan.metrics.frechet import FeatureMoments, frechet_distance
from kedro_dcgan.metrics.names import short_count
from kedro_dcgan.parameters import EvaluationParameters
from kedro_dcgan.progress import track

logger = logging.getLogger(__name__)

_BATCH = 50


def evaluate_generator(
    generator: TrainedGenerator, images: PreparedImages, evaluation: EvaluationParameters
) -> dict[str, Any]:
    """Return the Fréchet distance of generated images to the test split, with its protocol.

    Beside it stands the floor: the distance of as many real images, drawn from the train split, to
    the same test split. No generator that is not copying gets far below it. Where the train split
    is too small for that, the floor is absent.

    Raises:
        DataError: if the generator was trained on other images, or the test split has fewer than 2.
    """
    images.require_digest(generator.dataset_digest)
    images.require("test", 2, "a distance", "Add images, or give it a larger share of `ingestion.splits`.")
    extract = EfficientNetLite0Features(input_size=64)
    latents = sample_latents(evaluation.samples, generator.spec, evaluation.seed)
    test = _real_moments(extract, images, "test", np.arange(images.count("test")))
    samples = track(generate(generator.build(), latents, _BATCH), "evaluation", evaluation.samples)
    fakes = _moments(extract, samples)
    key = f"fd_{extract.id}_{short_count(evaluation.samples)}_test"
    metrics = {key: frechet_distance(fakes, test)}
    if images.count("train") >= evaluation.samples:
        drawn = np.random.default_rng(evaluation.seed).permutation(images.count("train"))[: evaluation.samples]
        metrics[f"{key}_floor"] = frechet_distance(_real_moments(extract, images, "train", drawn), test)
    logger.info("evaluation    %s", "  ".join(f"{name} {value:.1f}" for name, value in metrics.items()))
    return {
        "title": "Fréchet distance, EfficientNet-Lite0 features (not FID)",
        "metrics": metrics,
        "primary_metric": key,
        "protocol": _protocol(extract, images, evaluation),
        "generator": generator.fingerprint(),
        "images_seen": generator.images_seen,
    }


def _protocol(
    extract: EfficientNetLite0Features, images: PreparedImages, evaluation: EvaluationParameters
) -> dict[str, Any]:
    # Two results may be compared where all of this is equal.
    return {
        "extractor": extract.id,
        "weights_sha256": WEIGHTS_SHA256,
        "feature_dimension": DIMENSION,
        "resize": "bicubic, antialiased, from uint8",
        "generated": evaluation.samples,
        "real": images.count("test"),
        "split": "test",
        "seed": evaluation.seed,
        "dataset_digest": images.digest,
        "torch": torch.__version__,
    }


def _real_moments(
    extract: EfficientNetLite0Features, images: PreparedImages, split: str, indices: np.ndarray
) -> FeatureMoments:
    batches = (indices[start : start + _BATCH] for start in range(0, len(indices), _BATCH))
    pixels = (torch.from_numpy(images.take(split, batch)) for batch in batches)
    return _moments(extract, track(pixels, f"  {split} images", len(indices)))


def _moments(extract: EfficientNetLite0Features, batches: Iterable[Tensor]) -> FeatureMoments:
    moments = FeatureMoments.empty(DIMENSION)
    for batch in batches:
        moments += FeatureMoments.of(extract(batch))
    return moments
