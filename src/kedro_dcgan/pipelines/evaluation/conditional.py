"""Measure a conditional generator: whether it shows the requested classes, and the quality of each class."""

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.evaluation.classes import compare_class
from kedro_dcgan.evaluation.classifier import Classifier
from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.protocol import MetricValue
from kedro_dcgan.model.networks import Generator
from kedro_dcgan.model.sampling import classes_of, generate_all, sample_inputs
from kedro_dcgan.pipelines.evaluation.measurement import Measurement

logger = logging.getLogger(__name__)

# The largest number of images that a classifier is trained on: more of them hardly change its accuracy.
_MOST_IMAGES = 50_000


def measure_conditional(
    measured: Measurement, images: PreparedImages, generator: Generator, inputs: Tensor
) -> tuple[list[MetricValue], list[dict[str, Any]]]:
    """Return the metrics of a conditional generator, and those of each class; nothing for other generators.

    `inputs` are those of the measured samples. `class_agreement` is the share of samples that a classifier, trained on
    real images, assigns to the requested class. `class_accuracy_score` is the accuracy on test images of a classifier
    that is trained on generated images. Both have the accuracy of the classifier of real images as their floor.
    """
    references, classes = measured.references, images.classes
    if not (generator.config.classes and classes and images.count("test")):
        return [], []
    requested, samples = classes_of(inputs, generator.config), generate_all(generator, inputs)
    names, protocol = generator.config.classes, references.protocol("test")

    # Train a classifier on real images, and one on as many generated ones.
    count = min(images.count("train"), _MOST_IMAGES)
    drawn = np.sort(np.random.default_rng(0).permutation(images.count("train"))[:count])
    train = torch.from_numpy(images.take("train", drawn)), torch.from_numpy(classes.labels["train"][drawn])
    test = _split(images, "test")
    of_real = Classifier(*train, len(names))
    others = sample_inputs(count, generator.config, references.evaluation.seed + 1)
    of_generated = Classifier(generate_all(generator, others), classes_of(others, generator.config), len(names))
    accuracy, score = of_real.accuracy(*test), of_generated.accuracy(*test)
    agrees = of_real.predict(samples) == requested
    agreement = of_real.accuracy(samples, requested)
    logger.info(
        f"classes       {agreement.value:.1%} of samples show their class (real images {accuracy.value:.1%}) · trained "
        f"on samples, a classifier reaches {score.value:.1%}"
    )

    # Compare the features of each class.
    rows = list[dict[str, Any]]()
    for number, name in enumerate(names):
        chosen = requested == number
        of_class = _compare(measured, images, chosen, number)
        of_class["agreement"] = float(agrees[chosen].double().mean()) if chosen.any() else None
        rows.append({"class": name, "samples": int(chosen.sum()), **of_class})
    values = [
        MetricValue("class_agreement", protocol, agreement, accuracy),
        MetricValue("class_accuracy_score", protocol, score, accuracy),
    ]
    for metric in ("fd", "diversity"):
        if known := [row[metric] for row in rows if row[metric] is not None]:
            values.append(MetricValue(f"class_{metric}", protocol, Estimate(sum(known) / len(known))))
    return values, rows


def _compare(measured: Measurement, images: PreparedImages, chosen: Tensor, number: int) -> dict[str, float | None]:
    """Return the metrics of the samples of a class on their features, as `compare_class`."""
    references, classes = measured.references, images.classes
    real = {split: references.of(split).images for split in ("train", "test")}
    if not (measured.images and classes and real["train"] and real["test"]):
        return dict.fromkeys(("fd", "precision", "recall", "diversity"))
    of_class = {
        split: found.features[torch.from_numpy(classes.labels[split][references.indices(split)] == number)]
        for split, found in real.items()
        if found
    }
    return compare_class(measured.images.features[chosen], of_class["test"], of_class["train"])


def _split(images: PreparedImages, split: str) -> tuple[Tensor, Tensor]:
    assert images.classes is not None  # noqa: S101
    pixels = torch.from_numpy(images.take(split, np.arange(images.count(split))))
    return pixels, torch.from_numpy(images.classes.labels[split])
