"""Measure generated images against the splits of a dataset: metrics with their floors, covered classes and pictures.

The statistics of real images are cached. A floor is the same metric of as many real images.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kedro_dcgan.config import EvaluationParameters
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.evaluation.classes import ClassProbe, chance_divergence, covered_classes, jensen_shannon
from kedro_dcgan.evaluation.features import Collector, FeatureExtractor
from kedro_dcgan.evaluation.inception import SPLITS, InceptionFeatures, inception_score
from kedro_dcgan.evaluation.intervals import BLOCKS, Estimate, jackknife
from kedro_dcgan.evaluation.neighbours import nearest_indices
from kedro_dcgan.evaluation.protocol import MeasurementProtocol, MetricValue
from kedro_dcgan.evaluation.reference import Comparison, FeatureSet, Reference, ReferenceCache, feature_set
from kedro_dcgan.model.networks import Generator
from kedro_dcgan.model.sampling import generate_all
from kedro_dcgan.progress import track
from kedro_dcgan.reports.pictures import ClosestPairs, draw_evaluation, draw_too_few_images

# The split whose images give the floor.
_OTHER = {"test": "train", "train": "test"}
# Numbers of images shown, and of nearest training images beside each of the first ones.
_SAMPLES, _WITH_NEIGHBOURS, _EXTREMES, _NEIGHBOURS = 64, 20, 32, 5


@dataclass(frozen=True)
class SplitReferences:
    """The reference statistics of each split, by one extractor, and the floors."""

    cache: ReferenceCache
    images: PreparedImages
    evaluation: EvaluationParameters
    extract: FeatureExtractor
    _loaded: dict[str, Reference] = field(default_factory=dict)

    def protocol(self, split: str, extract: FeatureExtractor | None = None) -> MeasurementProtocol:
        """Return the protocol of generated images compared with a split, by this extractor or another one."""
        return MeasurementProtocol.of(
            extract or self.extract,
            generated=self.evaluation.samples,
            real=len(self.indices(split)),
            split=split,
            seed=self.evaluation.seed,
            digest=self.images.digest,
        )

    def indices(self, split: str) -> np.ndarray:
        """Return the images of a split that are its reference: all, or the same random `evaluation.real_images`."""
        shuffled = np.random.default_rng(0).permutation(self.images.count(split))
        return np.sort(shuffled[: self.evaluation.real_images])

    def of(self, split: str) -> Reference:
        """Return the reference of a split."""
        if split not in self._loaded:
            # It does not depend on the generated images.
            key = self.key("reference", self.protocol(split))
            del key["generated"], key["seed"]
            indices = self.indices(split)
            self._loaded[split] = self.cache.reference(key, lambda: Reference.of(self._collect(split, indices)))
        return self._loaded[split]

    def floors(self, split: str) -> dict[str, Estimate]:
        """Return the metrics of as many images of the other split; nothing if it has fewer."""
        other, count = _OTHER[split], self.evaluation.samples
        if self.images.count(other) < count:
            return {}

        def measure() -> dict[str, Estimate]:
            drawn = np.random.default_rng(self.evaluation.seed).permutation(self.images.count(other))[:count]
            collected = self._collect(other, np.sort(drawn))
            reference = self.of(split)
            return reference.measure(collected, reference.compare(feature_set(collected)))

        return self.cache.estimates(self.key("floor", self.protocol(split)), measure)

    def held_out_authenticity(self) -> dict[str, Estimate]:
        """Return the `authenticity` of all test images: a share does not depend on their number."""

        def measure() -> dict[str, Estimate]:
            comparison = self.of("train").compare(self.of("test").images)
            return {"authenticity": comparison.authenticity()} if comparison else {}

        return self.cache.estimates(self.key("authenticity of test images", self.protocol("train")), measure)

    def key(self, what: str, protocol: MeasurementProtocol) -> dict[str, Any]:
        """Return the key of cached numbers of real images: everything that they depend on."""
        return {"what": what, **asdict(protocol), "keeps": self.extract.keeps_features, "torch": torch.__version__}

    def batches(self, split: str, indices: np.ndarray) -> Iterator[Tensor]:
        """Yield images of a split, uint8, in batches of the extractor's size."""
        size = self.extract.batch_size
        for start in range(0, len(indices), size):
            yield torch.from_numpy(self.images.take(split, indices[start : start + size]))

    def _collect(self, split: str, indices: np.ndarray) -> Collector:
        batches = self.batches(split, indices)
        return Collector(self.extract, track(batches, f"  {split} images", len(indices)))


@dataclass(frozen=True)
class Measurement:
    """The metrics of generated images by one extractor, their features, and how these compare with the test split."""

    references: SplitReferences
    images: FeatureSet | None
    compared_with_test: Comparison | None
    values: Sequence[MetricValue]


def measure_samples(batches: Iterable[Tensor], references: Sequence[SplitReferences]) -> list[Measurement]:
    """Compare batches of generated images with the test split and with the train split, by each extractor."""
    collectors = [Collector(one.extract) for one in references]
    for batch in batches:
        for collector in collectors:
            collector.add(batch)
    return [_measure(*pair) for pair in zip(references, collectors, strict=True)]


def _measure(references: SplitReferences, collected: Collector) -> Measurement:
    images, extract = feature_set(collected), collected.extract
    compared = {split: references.of(split).compare(images) for split in _OTHER}
    values: list[MetricValue] = []
    for split, comparison in compared.items():
        estimates = references.of(split).measure(collected, comparison)
        floors = references.floors(split)
        if comparison and split == "test":
            estimates |= comparison.subset_estimates()
        if comparison and split == "train":
            estimates["authenticity"] = comparison.authenticity()
            floors = floors | references.held_out_authenticity()
        protocol = references.protocol(split)
        values += [MetricValue(name, protocol, estimate, floors.get(name)) for name, estimate in estimates.items()]

    # The Inception Score uses no real images, so it has no floor.
    if isinstance(extract, InceptionFeatures) and images and len(images.features) >= SPLITS:
        score = inception_score(extract.probabilities(images.features))
        values.append(MetricValue("inception_score", references.protocol("test"), score))
    return Measurement(references, images, compared["test"], values)


def measure_classes(measured: Measurement, images: PreparedImages) -> tuple[list[MetricValue], dict[str, Any]]:
    """Return `classes_covered`, `class_divergence` and the share of each class; nothing for unlabelled images."""
    # Fit a classifier to labelled training images.
    references, classes = measured.references, images.classes
    train, test = (references.of(split).images for split in ("train", "test"))
    if not (measured.images and train and test and classes and len(classes.names) > 1):
        return [], {}
    names = np.array(classes.names)
    labels = {split: names[classes.labels[split][references.indices(split)]].tolist() for split in ("train", "test")}
    probe, features = ClassProbe(train.features, labels["train"]), measured.images.features

    # Compare the predicted classes of generated images with those of test images.
    generated, real = probe.histogram(features), probe.histogram(test.features)
    is_covered = covered_classes(generated, real)
    blocks = features.tensor_split(BLOCKS)
    rests = (torch.cat([*blocks[:index], *blocks[index + 1 :]]) for index in range(BLOCKS))
    without = [jensen_shannon(probe.histogram(rest), real) for rest in rests]
    divergence = jackknife(jensen_shannon(generated, real), without)
    count, known = Estimate(float(is_covered.sum())), Estimate(float(len(probe.classes)))
    chance, protocol = Estimate(chance_divergence(real, len(features))), references.protocol("test")
    values = [
        MetricValue("classes_covered", protocol, count, known),
        MetricValue("class_divergence", protocol, divergence, chance),
    ]
    return values, {
        "classifier_accuracy_test": probe.accuracy(test.features, labels["test"]).value,
        "covered": int(is_covered.sum()),
        "shares": [
            {"class": name, "generated": float(a), "real": float(b), "covered": bool(c)}
            for name, a, b, c in zip(probe.classes, generated, real, is_covered, strict=True)
        ],
    }


def draw_pictures(
    measured: Measurement,
    images: PreparedImages,
    generator: Generator,
    inputs: Tensor,
    closest: Sequence[ClosestPairs],
) -> tuple[Image.Image, Image.Image, Image.Image]:
    """Draw samples, their nearest training images, and the best and worst samples, if there are enough images."""
    train = measured.references.of("train").images
    if not (measured.images and train and measured.compared_with_test):
        return draw_too_few_images(), draw_too_few_images(), draw_too_few_images()
    samples = generate_all(generator, inputs[:_SAMPLES]).numpy()
    real = images.take("test", np.random.default_rng(0).permutation(images.count("test"))[:_SAMPLES])
    indices = nearest_indices(measured.images.features[:_WITH_NEIGHBOURS], train.features, _NEIGHBOURS)
    nearest = images.take("train", measured.references.indices("train")[indices.flatten().numpy()])
    nearest = nearest.reshape(*indices.shape, *nearest.shape[1:])
    # Best first: in most real balls; ties by the distance to the nearest real image.
    balls = measured.compared_with_test.neighbourhoods
    order = torch.from_numpy(np.lexsort((balls.nearest_real.numpy(), -balls.real_balls.numpy())))
    extremes = (inputs[chosen] for chosen in (order[:_EXTREMES], order[-_EXTREMES:]))
    best, worst = (generate_all(generator, chosen).numpy() for chosen in extremes)
    return draw_evaluation(samples, real, nearest, closest, best, worst)
