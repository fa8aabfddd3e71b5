"""Choose the feature extractors of an evaluation, their precision, and the number of CPU threads."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from kedro_dcgan.evaluation.efficientnet import EfficientNetLite0Features
from kedro_dcgan.evaluation.features import FeatureExtractor
from kedro_dcgan.evaluation.inception import InceptionFeatures, find_weights
from kedro_dcgan.training.devices import has_bfloat16
from kedro_dcgan.training.threads import fast_threads

logger = logging.getLogger(__name__)

_IMAGES, _SIZE, _ROUNDS = 16, 64, 3
# bfloat16 changes the metrics and their names: require a clear gain.
_LEAST_GAIN = 1.1


def choose_extractors(
    input_size: int,
    inception_weights: str | None,
    device: torch.device,
    precision: str,
    inception_companions: bool = False,
) -> list[FeatureExtractor]:
    """Return EfficientNet-Lite0 and, if its weights are available, Inception.

    inception_weights: a file, or `auto` for torch hub's cache. precision: `auto` measures which one is faster.
    inception_companions: compute all metrics on the features of Inception, which takes memory, and not only FID.

    Raises:
        ModelError: if weights are missing or wrong.
    """
    if precision == "auto":
        precision = faster_precision(input_size, device)
    extractors: list[FeatureExtractor] = [EfficientNetLite0Features(input_size, device, precision)]
    if weights := find_weights(inception_weights):
        extractors.append(InceptionFeatures(weights, device, precision, inception_companions))
    return extractors


def faster_precision(input_size: int, device: torch.device) -> str:
    """Return the precision in which EfficientNet is faster on this machine; log both speeds."""
    if not has_bfloat16(device.type):
        return "float32"
    extractors = {name: EfficientNetLite0Features(input_size, device, name) for name in ("float32", "bfloat16")}
    speeds = dict.fromkeys(extractors, 0.0)
    # The first round warms up.
    for _ in range(1 + _ROUNDS):
        for name, extract in extractors.items():
            speeds[name] = max(speeds[name], _speed(extract))
    chosen = "bfloat16" if speeds["bfloat16"] > _LEAST_GAIN * speeds["float32"] else "float32"
    measured = " · ".join(f"{name} {speed:,.0f}" for name, speed in speeds.items())
    logger.info("  precision, images/s: %s · chosen: %s", measured, chosen)
    return chosen


@contextmanager
def fast_extraction(extract: FeatureExtractor, device: torch.device) -> Iterator[None]:
    """Use the number of CPU threads with which an extractor is fastest."""
    if device.type != "cpu":
        yield
        return
    with fast_threads(lambda: _speed(extract)):
        yield


def _speed(extract: FeatureExtractor) -> float:
    images = torch.zeros(_IMAGES, 3, _SIZE, _SIZE, dtype=torch.uint8)
    started = time.perf_counter()
    # `.cpu()` waits for the device.
    extract(images).cpu()
    return _IMAGES / (time.perf_counter() - started)
