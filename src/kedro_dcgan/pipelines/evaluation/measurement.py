"""Compute metrics, covered classes and pictures from the features of generated images."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from kedro_dcgan.data.manifest import labels_of
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.evaluation.classes import ClassProbe, chance_divergence, covered_classes, jensen_shannon
from kedro_dcgan.evaluation.comparison import Comparison, feature_set
from kedro_dcgan.evaluation.features import Collector
from kedro_dcgan.evaluation.inception import SPLITS, InceptionFeatures, inception_score
from kedro_dcgan.evaluation.intervals import BLOCKS, Estimate, jackknife
from kedro_dcgan.evaluation.neighbours import nearest_indices
from kedro_dcgan.evaluation.protocol import MetricValue
from kedro_dcgan.model.networks import Generator
from kedro_dcgan.model.sampling import generate_all
from kedro_dcgan.pipelines.evaluation.references import SplitReferences
from kedro_dcgan.reports.pictures import EvaluationPictures

# Numbers of images shown, and of nearest training images beside each of the first ones.
_SAMPLES, _WITH_NEIGHBOURS, _EXTREMES, _NEIGHBOURS = 64, 20, 32, 5


class Measurement:
    """The features of generated images, by one extractor, compared with those of the real splits."""

    def __init__(self, references: SplitReferences, collected: Collector, splits: Sequence[str]) -> None:
        self.references, self.collected = references, collected
        self.images = feature_set(collected)
        compared = {split: references.of(split).compare(self.images) for split in splits}
        self.comparisons: dict[str, Comparison] = {split: one for split, one in compared.items() if one}
        self.values = [value for split in splits for value in self._against(split)] + self._score(splits[0])

    def _against(self, split: str) -> list[MetricValue]:
        protocol, comparison = self.references.protocol(split), self.comparisons.get(split)
        estimates, floors = self.references.of(split).measure(self.collected, comparison), self.references.floor(split)
        if comparison and split == "test":
            estimates |= comparison.subset_estimates()
        if comparison and split == "train":
            estimates["authenticity"] = comparison.authenticity()
            floors = floors | self.references.held_out_authenticity()
        return [MetricValue(name, protocol, estimate, floors.get(name)) for name, estimate in estimates.items()]

    def _score(self, split: str) -> list[MetricValue]:
        # The score uses no real images, so it has no floor.
        extract = self.collected.extract
        if not isinstance(extract, InceptionFeatures) or not self.images or len(self.images.features) < SPLITS:
            return []
        score = inception_score(extract.probabilities(self.images.features))
        return [MetricValue("inception_score", self.references.protocol(split), score)]


def measure_samples(
    batches: Iterable[Tensor], references: Sequence[SplitReferences], splits: Sequence[str]
) -> list[Measurement]:
    """Compare batches of generated images with the splits, by each extractor."""
    collectors = [Collector(one.extract) for one in references]
    for batch in batches:
        for collector in collectors:
            collector.add(batch)
    return [Measurement(*pair, splits) for pair in zip(references, collectors, strict=True)]


def measure_classes(
    measured: Measurement, images: PreparedImages, manifest: pd.DataFrame
) -> tuple[list[MetricValue], dict[str, Any]]:
    """Return `classes_covered`, `class_divergence` and the share of each class; nothing for unlabelled images."""
    references = measured.references
    train, test = (references.of(split).images for split in ("train", "test"))
    labels = {split: labels_of(manifest, images.rows[split][references.indices(split)]) for split in ("train", "test")}
    if not (measured.images and train and test and labels["train"] and labels["test"]):
        return [], {}
    probe, features = ClassProbe.fit(train.features, labels["train"]), measured.images.features
    generated, real = probe.histogram(features), probe.histogram(test.features)
    is_covered = covered_classes(generated, real)
    blocks = features.tensor_split(BLOCKS)

    def without_block(index: int) -> float:
        return jensen_shannon(probe.histogram(torch.cat([*blocks[:index], *blocks[index + 1 :]])), real)

    divergence = jackknife(blocks, jensen_shannon(generated, real), without_block)
    count, known, chance = (
        Estimate.without_interval(float(value))
        for value in (is_covered.sum(), len(probe.classes), chance_divergence(real, len(features)))
    )
    protocol = references.protocol("test")
    return [
        MetricValue("classes_covered", protocol, count, known),
        MetricValue("class_divergence", protocol, divergence, chance),
    ], {
        "classifier_accuracy_test": probe.accuracy(test.features, labels["test"]).value,
        "covered": int(is_covered.sum()),
        "shares": [
            {"class": name, "generated": float(a), "real": float(b), "covered": bool(c)}
            for name, a, b, c in zip(probe.classes, generated, real, is_covered, strict=True)
        ],
    }


def select_pictures(
    measured: Measurement, images: PreparedImages, generator: Generator, latents: Tensor
) -> EvaluationPictures | None:
    """Return samples, their nearest training images, and the best and worst samples; None without features."""
    train = measured.references.of("train").images
    if not (measured.images and train and "test" in measured.comparisons):
        return None

    def draw(indices: Tensor) -> np.ndarray:
        return generate_all(generator, latents[indices]).numpy()

    first = torch.arange(min(_SAMPLES, len(latents)))
    shown = first[:_WITH_NEIGHBOURS]
    nearest = nearest_indices(measured.images.features[shown], train.features, _NEIGHBOURS)
    near = images.take("train", measured.references.indices("train")[nearest.flatten().numpy()])
    near = near.reshape(len(shown), _NEIGHBOURS, *near.shape[1:])
    # Best first: in the most real balls, and among equals nearest to a real image.
    balls = measured.comparisons["test"].neighbourhoods
    order = torch.from_numpy(np.lexsort((balls.nearest_real.numpy(), -balls.real_balls.numpy())))
    return EvaluationPictures(
        samples=draw(first),
        real=images.take("test", np.random.default_rng(0).permutation(images.count("test"))[:_SAMPLES]),
        neighbours=np.concatenate([draw(shown)[:, None], near], axis=1).reshape(-1, *near.shape[2:]),
        best=draw(order[:_EXTREMES]),
        worst=draw(order[-_EXTREMES:]),
    )
