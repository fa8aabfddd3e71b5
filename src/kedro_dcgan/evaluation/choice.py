"""Which extractors a measurement uses: EfficientNet-Lite0 always, Inception where its weights are."""

from pathlib import Path

import torch

from kedro_dcgan.evaluation.efficientnet import EfficientNetLite0Features
from kedro_dcgan.evaluation.features import FeatureExtractor
from kedro_dcgan.evaluation.inception import InceptionFeatures


def choose_extractors(
    input_size: int,
    inception_weights: Path | None,
    device: torch.device,
    precision: str = "float32",
    inception_companions: bool = False,
) -> list[FeatureExtractor]:
    """Return the extractors; Inception where there is a file of its weights.

    `inception_companions`: whether Inception's features are kept for more than FID, which needs memory.

    Raises:
        ModelError: if weights are missing or wrong.
    """
    extractors: list[FeatureExtractor] = [EfficientNetLite0Features(input_size, device, precision)]
    if inception_weights:
        extractors.append(InceptionFeatures(inception_weights, device, precision, inception_companions))
    return extractors
