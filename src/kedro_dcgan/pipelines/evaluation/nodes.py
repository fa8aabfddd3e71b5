"""Compare generated images with the test split and with the train split."""

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pandas as pd
import torch
from PIL import Image

from kedro_dcgan.config import EvaluationParameters
from kedro_dcgan.data.advice import advise_format, original_format
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.evaluation.copies import PixelVectors
from kedro_dcgan.evaluation.features import EfficientNetLite0Features, FeatureExtractor
from kedro_dcgan.evaluation.inception import InceptionFeatures, find_weights
from kedro_dcgan.evaluation.protocol import INCEPTION, MetricValue, evaluation_record
from kedro_dcgan.evaluation.reference import ReferenceCache
from kedro_dcgan.evaluation.verdict import ClassShare, judge
from kedro_dcgan.model.sampling import generate, sample_inputs
from kedro_dcgan.model.saved import TrainedGenerator
from kedro_dcgan.pipelines.evaluation.conditional import measure_conditional
from kedro_dcgan.pipelines.evaluation.copies import SamplePixels, measure_copies
from kedro_dcgan.pipelines.evaluation.measurement import (
    SplitReferences,
    draw_pictures,
    measure_classes,
    measure_samples,
)
from kedro_dcgan.progress import track
from kedro_dcgan.reports.advice import RunFacts, advise_run
from kedro_dcgan.reports.evaluation import write_page, write_table
from kedro_dcgan.training.devices import choose_compute, has_bfloat16
from kedro_dcgan.training.threads import fast_threads

logger = logging.getLogger(__name__)

_BATCH = 100
# The images and the rounds by which the speed of an extractor is measured.
_TIMED_IMAGES, _TIMED_SIZE, _ROUNDS = 16, 64, 3
# bfloat16 changes the metrics and their names: require a clear gain.
_LEAST_GAIN = 1.1


def evaluate_generator(
    generator: TrainedGenerator,
    images: PreparedImages,
    manifest: pd.DataFrame,
    reference_features: ReferenceCache,
    evaluation: EvaluationParameters,
) -> tuple[dict[str, Any], Image.Image, Image.Image, Image.Image]:
    """Return the metrics, and pictures: samples beside real images, their nearest training images, best and worst ones.

    Raises:
        DataError: if the generator was trained on other images, or the test split has fewer than 2.
        ModelError: if weights of an extractor are missing or wrong.
    """
    _require_images(generator, images)
    device = choose_compute(evaluation.device, "float32", "evaluation.device").device
    weights, companions = evaluation.inception_weights, evaluation.inception_companions
    extractors = choose_extractors(evaluation.input_size, weights, device, evaluation.precision, companions)
    network = generator.build().to(device)
    inputs = sample_inputs(evaluation.samples, generator.config, evaluation.seed)
    with fast_extraction(extractors[0], device):
        samples = track(generate(network, inputs.split(_BATCH)), "evaluation", evaluation.samples)
        pixels = SamplePixels(PixelVectors(images.channels))
        references = [SplitReferences(reference_features, images, evaluation, extract) for extract in extractors]
        measured = measure_samples(pixels.watch(samples), references)
        copy_values, closest = measure_copies(measured[0], images, pixels, network, inputs)
        class_values, classes = measure_classes(measured[0], images)
        conditional_values, by_class = measure_conditional(measured[0], images, network, inputs)
        pictures = draw_pictures(measured[0], images, network, inputs, closest)
    values = [value for one in measured for value in one.values]
    record = {
        **_judgement([*measured[0].values, *copy_values], classes, generator, images, manifest),
        **evaluation_record(values + copy_values + class_values + conditional_values),
        "classes": classes,
        "by_class": by_class,
        "generator": generator.fingerprint(),
        "images_seen": generator.images_seen,
    }
    _log(values, copy_values, record)
    return record, *pictures


def _require_images(generator: TrainedGenerator, images: PreparedImages) -> None:
    images.require_digest(generator.dataset_digest)
    images.require_classes(generator.config.classes)
    images.require("test", 2, "a distance", "Add images, or give it a larger share of `ingestion.splits`.")


def _judgement(
    values: Sequence[MetricValue],
    classes: Mapping[str, Any],
    generator: TrainedGenerator,
    images: PreparedImages,
    manifest: pd.DataFrame,
) -> dict[str, Any]:
    shares = [
        ClassShare(share["class"], share["generated"], share["real"], share["covered"])
        for share in classes.get("shares", ())
    ]
    verdict = judge(values, shares, generator.facts.get("fault"))
    # Training and evaluation have one verdict: a fault that only the evaluation found is one of the training, too.
    training = str(generator.facts.get("verdict", "unknown"))
    if verdict.fault != generator.facts.get("fault"):
        training = f"{verdict.fault}, found by the evaluation"
    seen, count = int(generator.facts.get("trained_images", generator.images_seen)), images.count("train")
    run = RunFacts(
        verdict=verdict,
        training=training,
        epochs=float(f"{seen / max(1, count):.2g}"),
        ends_with_best=generator.images_seen >= seen,
        budget=generator.facts.get("budget"),
        r1=generator.facts.get("r1"),
        train_images=count,
        image_size=images.image_size,
        original_side=original_format(manifest)[0],
        format_advice=advise_format(manifest, images.image_size, images.channels),
    )
    return {
        "verdict": verdict.headline,
        "fault": verdict.fault,
        "copies": verdict.copies,
        "training": training,
        "advice": advise_run(run),
    }


def select_metrics(evaluation: dict[str, Any]) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the numbers that `dvc exp show` puts side by side, and the shares of the classes for `dvc plots`.

    The numbers are the metrics on the test split, and those on copies, which only the train split has.
    """
    of_copies = ("authenticity", "near_copies")
    chosen = [one for one in evaluation["numbers"] if one["split"] == "test" or one["metric"] in of_copies]
    values = {one["name"]: one["value"] for one in chosen}
    shares = pd.DataFrame(evaluation["classes"].get("shares", []), columns=["class", "generated", "real"])
    return {**values, "images_seen": evaluation["images_seen"]}, shares


def report_evaluation(
    evaluation: dict[str, Any], compared_samples: Image.Image, nearest_images: Image.Image, extreme_samples: Image.Image
) -> tuple[str, str]:
    """Return the evaluation as an HTML page and as a Markdown table."""
    pictures = {"samples": compared_samples, "neighbours": nearest_images, "extremes": extreme_samples}
    return write_page(evaluation, pictures), write_table(evaluation)


def choose_extractors(
    input_size: int, inception_weights: str | None, device: torch.device, precision: str, companions: bool = False
) -> list[FeatureExtractor]:
    """Return EfficientNet-Lite0 and, if its weights are available, Inception.

    inception_weights: a file, or `auto` for torch hub's cache. precision: `auto` measures which one is faster.
    companions: compute all metrics on Inception features, not only FID, which takes more memory.
    """
    if precision == "auto":
        precision = faster_precision(input_size, device)
    extractors: list[FeatureExtractor] = [EfficientNetLite0Features(input_size, device, precision)]
    if weights := find_weights(inception_weights):
        extractors.append(InceptionFeatures(weights, device, precision, companions))
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


def fast_extraction(extract: FeatureExtractor, device: torch.device) -> AbstractContextManager[object]:
    """Use the number of CPU threads with which an extractor is fastest."""
    return fast_threads(lambda: _speed(extract)) if device.type == "cpu" else nullcontext()


def _speed(extract: FeatureExtractor) -> float:
    images = torch.zeros(_TIMED_IMAGES, 3, _TIMED_SIZE, _TIMED_SIZE, dtype=torch.uint8)
    started = time.perf_counter()
    # `.cpu()` waits for the device.
    extract(images).cpu()
    return _TIMED_IMAGES / (time.perf_counter() - started)


def _log(values: Sequence[MetricValue], copies: Sequence[MetricValue], record: Mapping[str, Any]) -> None:
    of_test = [value for value in values if value.protocol.split == "test"]
    for value in of_test:
        if value.metric == "fd":
            estimate = value.estimate
            text = f"{value.name} {estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]"
            text += f"  floor {value.floor.value:.1f}" if value.floor else ""
            logger.info("evaluation    %s%s", text, "" if value.protocol.extractor == INCEPTION else "  (not FID)")
    by_metric = {value.metric: value for value in reversed(of_test)}
    names = [name for name in ("precision", "recall", "coverage") if name in by_metric]
    shares = [f"{name} {by_metric[name].estimate.value:.2f}" for name in names]
    logger.info("              %s", " · ".join(shares))
    if copies:
        in_pixels, in_features = (f"{one.estimate.value:.1%}" for one in copies)
        logger.info("              near-copies %s in pixels · %s in features", in_pixels, in_features)
    logger.info("verdict       %s", record["verdict"])
    logger.info("advice        %s", record["advice"])
