"""Which classes the generator makes, where the images have labels."""

from typing import Any

import pandas as pd
import torch

from kedro_dcgan.data.manifest import labels_of
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.evaluation.classes import ClassProbe, chance_divergence, covered, divergence
from kedro_dcgan.evaluation.intervals import BLOCKS, Estimate, jackknife
from kedro_dcgan.metrics.number import Number
from kedro_dcgan.pipelines.evaluation.measuring import Measurement


def look_for_classes(
    measured: Measurement, images: PreparedImages, manifest: pd.DataFrame
) -> tuple[list[Number], dict[str, Any]]:
    """Return `classes_covered` and `class_divergence`, and each class's shares; nothing for images without labels."""
    references = measured.references
    train, test = (references.of(split).images for split in ("train", "test"))
    labels = {split: labels_of(manifest, images.rows[split][references.indices(split)]) for split in ("train", "test")}
    if not (measured.images and train and test and labels["train"] and labels["test"]):
        return [], {}
    probe = ClassProbe.fit(train.features, labels["train"])
    generated, real = probe.shares(measured.images.features), probe.shares(test.features)
    is_covered = covered(generated, real)
    protocol, known = references.protocol("test"), float(len(probe.classes))
    blocks = measured.images.features.tensor_split(BLOCKS)
    divergences = jackknife(
        blocks,
        divergence(generated, real),
        lambda left_out: divergence(probe.shares(torch.cat([*blocks[:left_out], *blocks[left_out + 1 :]])), real),
    )
    floor = chance_divergence(real, len(measured.images.features))
    numbers = [
        Number("classes_covered", protocol, Estimate.alone(float(is_covered.sum())), Estimate.alone(known)),
        Number("class_divergence", protocol, divergences, Estimate.alone(floor)),
    ]
    accuracy = probe.accuracy(test.features, labels["test"])
    return numbers, {
        "classifier_accuracy_test": accuracy.value,
        "covered": int(is_covered.sum()),
        "shares": [
            {"class": name, "generated": float(a), "real": float(b), "covered": bool(c)}
            for name, a, b, c in zip(probe.classes, generated, real, is_covered, strict=True)
        ],
    }
