"""Measure a conditional generator: whether it shows the requested classes, and the quality of each class."""

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kedro_dcgan.data.shards import Classes, PreparedImages
from kedro_dcgan.evaluation.classes import compare_class
from kedro_dcgan.evaluation.classifier import Classifier
from kedro_dcgan.evaluation.intervals import Estimate, proportion_estimate
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
    config, protocol = generator.config, measured.references.protocol("test")
    if not (config.classes and images.classes and images.count("test")):
        return [], []
    requested, samples = classes_of(inputs, config), generate_all(generator, inputs)
    of_real, of_generated = _train_classifiers(
        images, images.classes, generator, measured.references.evaluation.seed + 1
    )
    every = np.arange(images.count("test"))
    test = torch.from_numpy(images.take("test", every)), torch.from_numpy(images.classes.labels["test"])
    accuracy, score = of_real.accuracy(*test), of_generated.accuracy(*test)
    agrees = of_real.predict(samples) == requested
    agreement = proportion_estimate(agrees)
    logger.info(
        f"classes       {agreement.value:.1%} of samples show their class (real images {accuracy.value:.1%}) · trained "
        f"on samples, a classifier reaches {score.value:.1%}"
    )

    rows = list[dict[str, Any]]()
    for number, name in enumerate(config.classes):
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


def _train_classifiers(
    images: PreparedImages, classes: Classes, generator: Generator, seed: int
) -> tuple[Classifier, Classifier]:
    """Train a classifier on real images, and one on as many generated ones, whose inputs have a seed."""
    count = min(images.count("train"), _MOST_IMAGES)
    drawn = np.sort(np.random.default_rng(0).permutation(images.count("train"))[:count])
    real = torch.from_numpy(images.take("train", drawn)), torch.from_numpy(classes.labels["train"][drawn])
    inputs = sample_inputs(count, generator.config, seed)
    generated = generate_all(generator, inputs), classes_of(inputs, generator.config)
    return Classifier(*real, len(classes.names)), Classifier(*generated, len(classes.names))


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
