"""Measure the generator against images that it has not seen."""

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kedro_dcgan.gan.sampling import generate, sample_latents
from kedro_dcgan.gan.trained import TrainedGenerator
from kedro_dcgan.images.shards import PreparedImages
from kedro_dcgan.metrics.efficientnet import DIMENSION, WEIGHTS_SHA256, EfficientNetLite0Features
from kedro_dcgan.metrics.frechet import FeatureMoments, frechet_distance
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
    images.require("test", 2, "a distance", "Raise `ingestion.splits.test`, or add images.")
    extract = EfficientNetLite0Features(input_size=64)
    latents = sample_latents(evaluation.samples, generator.spec.latent_dim, evaluation.seed)
    test = _moments(extract, _stored(images, "test", np.arange(images.count("test"))), "test images")
    fakes = _moments(extract, list(generate(generator.build(), latents, _BATCH)), "samples")
    key = f"fd_{extract.id}_{_short(evaluation.samples)}_test"
    metrics = {key: frechet_distance(fakes, test)}
    if images.count("train") >= evaluation.samples:
        drawn = np.random.default_rng(evaluation.seed).permutation(images.count("train"))[: evaluation.samples]
        reals = _moments(extract, _stored(images, "train", drawn), "train images")
        metrics[f"{key}_floor"] = frechet_distance(reals, test)
    logger.info("evaluation    %s", "  ".join(f"{name} {value:.1f}" for name, value in metrics.items()))
    return {
        "title": "Fréchet distance, EfficientNet-Lite0 features (not FID)",
        "metrics": metrics,
        "primary_metric": key,
        "protocol": {
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
        },
        "images_seen": generator.images_seen,
    }


def _stored(images: PreparedImages, split: str, indices: np.ndarray) -> list[Tensor]:
    starts = range(0, len(indices), _BATCH)
    return [torch.from_numpy(images.take(split, indices[start : start + _BATCH])) for start in starts]


def _moments(extract: EfficientNetLite0Features, batches: list[Tensor], what: str) -> FeatureMoments:
    total = sum(len(batch) for batch in batches)
    moments = FeatureMoments.empty(DIMENSION)
    for batch in track(batches, f"  {what}", total, step=_BATCH):
        moments += FeatureMoments.of(extract(batch))
    return moments


def _short(count: int) -> str:
    return f"{count // 1000}k" if count % 1000 == 0 else str(count)
