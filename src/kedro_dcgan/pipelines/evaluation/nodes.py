"""Compare generated images with the test split and with the train split."""

import logging
from typing import Any

import pandas as pd
import torch
from PIL import Image

from kedro_dcgan.config import EvaluationParameters
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.evaluation.features import FeatureExtractor
from kedro_dcgan.evaluation.protocol import INCEPTION, MetricValue, evaluation_record
from kedro_dcgan.evaluation.reference import ReferenceCache
from kedro_dcgan.evaluation.verdict import Findings, verdict
from kedro_dcgan.model.sampling import generate, sample_latents
from kedro_dcgan.model.saved import TrainedGenerator
from kedro_dcgan.pipelines.evaluation.extractors import choose_extractors, fast_extraction
from kedro_dcgan.pipelines.evaluation.measurement import (
    Measurement,
    measure_classes,
    measure_samples,
    select_pictures,
)
from kedro_dcgan.pipelines.evaluation.references import SplitReferences
from kedro_dcgan.progress import track
from kedro_dcgan.reports.evaluation import write_page, write_table
from kedro_dcgan.reports.pictures import draw_evaluation
from kedro_dcgan.training.devices import choose_compute

logger = logging.getLogger(__name__)

_BATCH = 100
_SPLITS = ("test", "train")


def evaluate_generator(
    generator: TrainedGenerator,
    images: PreparedImages,
    manifest: pd.DataFrame,
    reference_features: ReferenceCache,
    evaluation: EvaluationParameters,
) -> tuple[dict[str, Any], Image.Image, Image.Image, Image.Image]:
    """Return the metrics against both splits, and three pictures.

    The pictures: samples beside real images, samples with their nearest training images, best and worst samples. The
    floor of a metric is its value for as many real images; it is missing if there are fewer.

    Raises:
        DataError: if the generator was trained on other images, or the test split has fewer than 2.
        ModelError: if weights of an extractor are missing or wrong.
    """
    images.require_digest(generator.dataset_digest)
    images.require("test", 2, "a distance", "Add images, or give it a larger share of `ingestion.splits`.")
    device = choose_compute(evaluation.device, "float32", "evaluation.device").device
    extractors = _extractors(evaluation, device)
    network = generator.build().to(device)
    latents = sample_latents(evaluation.samples, generator.config, evaluation.seed)
    with fast_extraction(extractors[0], device):
        samples = track(generate(network, latents, _BATCH), "evaluation", evaluation.samples)
        references = [SplitReferences(reference_features, images, evaluation, extract) for extract in extractors]
        measured = measure_samples(samples, references, _SPLITS)
        class_values, classes = measure_classes(measured[0], images, manifest)
        pictures = select_pictures(measured[0], images, network, latents)
    values = [value for one in measured for value in one.values]
    record = {
        "verdict": verdict(_findings(measured[0], classes)),
        **evaluation_record(values + class_values),
        "classes": classes,
        "generator": generator.fingerprint(),
        "images_seen": generator.images_seen,
    }
    _log(values, record["verdict"])
    return record, *draw_evaluation(pictures)


def _extractors(evaluation: EvaluationParameters, device: torch.device) -> list[FeatureExtractor]:
    weights, companions = evaluation.inception_weights, evaluation.inception_companions
    return choose_extractors(evaluation.input_size, weights, device, evaluation.precision, companions)


def report_evaluation(
    evaluation: dict[str, Any], compared_samples: Image.Image, nearest_images: Image.Image, extreme_samples: Image.Image
) -> tuple[str, str]:
    """Return the evaluation as an HTML page and as a Markdown table."""
    pictures = {"samples": compared_samples, "neighbours": nearest_images, "extremes": extreme_samples}
    return write_page(evaluation, pictures), write_table(evaluation)


def _findings(measured: Measurement, classes: dict[str, Any]) -> Findings:
    # Authenticity compares with the train split, all other metrics with the test split.
    chosen = [one for one in measured.values if (one.protocol.split == "test") != (one.metric == "authenticity")]
    return Findings(
        {value.metric: value.estimate.value for value in chosen},
        {value.metric: value.floor.value for value in chosen if value.floor},
        (classes["covered"], len(classes["shares"])) if classes else None,
    )


def _log(values: list[MetricValue], sentence: str) -> None:
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
    logger.info("              %s", " · ".join([*shares, sentence]))
