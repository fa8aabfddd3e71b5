"""Measure the generator against images that it has not seen, and against those that it has."""

import logging
from typing import Any

import pandas as pd
import torch
from PIL import Image

from kedro_dcgan.config import EvaluationParameters
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.evaluation.choice import choose_extractors
from kedro_dcgan.evaluation.features import Collector, FeatureExtractor
from kedro_dcgan.evaluation.inception import find_weights
from kedro_dcgan.evaluation.protocol import INCEPTION, Number, as_json
from kedro_dcgan.evaluation.reference_files import ReferenceFolder
from kedro_dcgan.evaluation.verdict import Findings, verdict
from kedro_dcgan.model.sampling import generate, sample_latents
from kedro_dcgan.model.saved import TrainedGenerator
from kedro_dcgan.pipelines.evaluation.measuring import Measurement, look_for_classes, show_to_all
from kedro_dcgan.pipelines.evaluation.pictures import choose
from kedro_dcgan.pipelines.evaluation.references import References
from kedro_dcgan.pipelines.evaluation.speed import faster_precision, threads_for
from kedro_dcgan.progress import track
from kedro_dcgan.reports.evaluation import write_page, write_table
from kedro_dcgan.reports.pictures import draw_extremes, draw_neighbours, draw_samples
from kedro_dcgan.training.devices import choose_compute

logger = logging.getLogger(__name__)

_BATCH = 100
_SPLITS = ("test", "train")


def evaluate_generator(
    generator: TrainedGenerator,
    images: PreparedImages,
    manifest: pd.DataFrame,
    reference_features: ReferenceFolder,
    evaluation: EvaluationParameters,
) -> tuple[dict[str, Any], Image.Image, Image.Image, Image.Image]:
    """Return the numbers of generated images against the test and the train split, and pictures of them.

    The pictures: samples beside real images, samples with their nearest training images, the best and the worst.
    Beside each number stands its floor, what as many real images have: no generator that is not copying gets far
    below it. Where there are not as many, it is absent.

    Raises:
        DataError: if the generator was trained on other images, or the test split has fewer than 2.
        ModelError: if weights of an extractor are missing or wrong.
    """
    images.require_digest(generator.dataset_digest)
    images.require("test", 2, "a distance", "Add images, or give it a larger share of `ingestion.splits`.")
    device = choose_compute(evaluation.device, "float32", "evaluation.device").device
    network = generator.build().to(device)
    extractors = _extractors(evaluation, device)
    with threads_for(extractors[0], device):
        measurements = [
            Measurement(References(reference_features, images, evaluation, one), Collector(one)) for one in extractors
        ]
        latents = sample_latents(evaluation.samples, generator.config, evaluation.seed)
        samples = track(generate(network, latents, _BATCH), "evaluation", evaluation.samples)
        show_to_all(samples, [measurement.collected for measurement in measurements])
        numbers = [number for measurement in measurements for number in measurement.numbers(_SPLITS)]
        of_classes, classes = look_for_classes(measurements[0], images, manifest)
        pictures = choose(measurements[0], images, network, latents)
    result = {
        "verdict": verdict(_findings(numbers, classes)),
        **as_json(numbers + of_classes),
        "classes": classes,
        "generator": generator.fingerprint(),
        "images_seen": generator.images_seen,
    }
    _say(numbers, result["verdict"])
    return result, draw_samples(pictures), draw_neighbours(pictures), draw_extremes(pictures)


def _extractors(evaluation: EvaluationParameters, device: torch.device) -> list[FeatureExtractor]:
    return choose_extractors(
        evaluation.input_size,
        find_weights(evaluation.inception_weights),
        device,
        faster_precision(evaluation.input_size, device) if evaluation.precision == "auto" else evaluation.precision,
        evaluation.inception_companions,
    )


def report_evaluation(
    evaluation: dict[str, Any], compared_samples: Image.Image, nearest_images: Image.Image, extreme_samples: Image.Image
) -> tuple[str, str]:
    """Return a page for people and a table for a README."""
    pictures = {"samples": compared_samples, "neighbours": nearest_images, "extremes": extreme_samples}
    return write_page(evaluation, pictures), write_table(evaluation)


def _findings(numbers: list[Number], classes: dict[str, Any]) -> Findings:
    # Of the primary extractor, against the test split, and for copies against the train split.
    ours = [number for number in numbers if number.protocol.extractor == numbers[0].protocol.extractor]
    chosen = [number for number in ours if (number.protocol.split == "test") != (number.metric == "authenticity")]
    return Findings(
        {number.metric: number.estimate.value for number in chosen},
        {number.metric: number.floor.value for number in chosen if number.floor},
        (classes["covered"], len(classes["shares"])) if classes else None,
    )


def _say(numbers: list[Number], said: str) -> None:
    of_test = [number for number in numbers if number.protocol.split == "test"]
    for number in of_test:
        if number.metric == "fd":
            is_fid = number.protocol.extractor == INCEPTION
            logger.info("evaluation    %s %s%s", number.name, _with_interval(number), "" if is_fid else "  (not FID)")
    by_metric = {number.metric: number for number in reversed(of_test)}
    shares = [
        f"{name} {by_metric[name].estimate.value:.2f}"
        for name in ("precision", "recall", "coverage")
        if name in by_metric
    ]
    logger.info("              %s", " · ".join([*shares, said]))


def _with_interval(number: Number) -> str:
    estimate = number.estimate
    floor = f"  floor {number.floor.value:.1f}" if number.floor else ""
    return f"{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]{floor}"
