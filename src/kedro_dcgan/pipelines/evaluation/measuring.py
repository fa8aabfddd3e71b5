"""One pass over the generated images, through every extractor; then what each of them says."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from kedro_dcgan.data.manifest import labels_of
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.evaluation.classes import ClassProbe, chance_divergence, covered, divergence
from kedro_dcgan.evaluation.feature_set import Comparison, FeatureSet
from kedro_dcgan.evaluation.features import Collector
from kedro_dcgan.evaluation.inception import SPLITS, InceptionFeatures, inception_score
from kedro_dcgan.evaluation.intervals import BLOCKS, Estimate, jackknife
from kedro_dcgan.evaluation.protocol import Number
from kedro_dcgan.evaluation.reference import feature_set
from kedro_dcgan.pipelines.evaluation.references import References


@dataclass
class Measurement:
    """What an extractor has seen of the generated images, and what it knows of the real ones."""

    references: References
    collected: Collector
    images: FeatureSet | None = field(default=None)
    comparisons: dict[str, Comparison] = field(default_factory=dict)

    def numbers(self, splits: Sequence[str]) -> list[Number]:
        """Return every number against every one of these splits."""
        self.images = feature_set(self.collected)
        return [number for split in splits for number in self._against(split)] + self._score(splits[0])

    def _score(self, split: str) -> list[Number]:
        # It looks at no real image, so it has no floor; few images have no splits.
        extract = self.collected.extract
        if not isinstance(extract, InceptionFeatures) or not self.images or len(self.images.features) < SPLITS:
            return []
        score = inception_score(extract.probabilities(self.images.features))
        return [Number("inception_score", self.references.protocol(split), score)]

    def _against(self, split: str) -> list[Number]:
        reference, protocol = self.references.of(split), self.references.protocol(split)
        floors, comparison = self.references.floor(split), reference.compare(self.images)
        found: dict[str, Estimate] = reference.measure(self.collected, comparison)
        if comparison:
            self.comparisons[split] = comparison
        if comparison and split == "test":
            found |= comparison.of_subsets()
        if comparison and split == "train":
            found["authenticity"] = comparison.authenticity()
            floors = floors | self.references.held_out_authenticity()
        return [Number(name, protocol, estimate, floors.get(name)) for name, estimate in found.items()]


def show_to_all(batches: Iterable[Tensor], collectors: Sequence[Collector]) -> None:
    """Show every batch to every extractor."""
    for batch in batches:
        for collector in collectors:
            collector.add(batch)


# TODO(merge) pipelines.evaluation.classes


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
