"""Which extractors a measurement uses: EfficientNet-Lite0 always, Inception where its weights are."""

import torch

from kedro_dcgan.metrics.efficientnet import EfficientNetLite0Features
from kedro_dcgan.metrics.extractors import FeatureExtractor
from kedro_dcgan.metrics.inception import InceptionFeatures, find_weights


def choose_extractors(
    input_size: int,
    inception_weights: str | None,
    device: torch.device,
    precision: str = "float32",
    inception_companions: bool = False,
) -> list[FeatureExtractor]:
    """Return the extractors; `inception_weights` is a file, `auto` (torch hub's, if it is there), or nothing.

    `inception_companions`: whether Inception's features are kept for more than FID, which needs memory.

    Raises:
        ModelError: if weights are missing or wrong.
    """
    extractors: list[FeatureExtractor] = [EfficientNetLite0Features(input_size, device, precision)]
    weights = find_weights(inception_weights)
    if weights:
        extractors.append(InceptionFeatures(weights, device, precision, inception_companions))
    return extractors
