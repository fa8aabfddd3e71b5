"""The real side of an evaluation: found out once for a dataset and an extractor, then read."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kedro_dcgan.config import EvaluationParameters
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.evaluation.features import Collector, FeatureExtractor
from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.protocol import MeasurementProtocol
from kedro_dcgan.evaluation.reference import Reference, feature_set
from kedro_dcgan.evaluation.reference_files import ReferenceFolder
from kedro_dcgan.progress import track

logger = logging.getLogger(__name__)

# Where other real images come from, to be measured as if they were generated.
_OTHER = {"test": "train", "train": "test"}


class References:
    """What one extractor sees in the real images of a dataset."""

    def __init__(
        self,
        stored: ReferenceFolder,
        images: PreparedImages,
        evaluation: EvaluationParameters,
        extract: FeatureExtractor,
    ) -> None:
        self._stored, self._images, self._evaluation, self._extract = stored, images, evaluation, extract
        self._known: dict[str, Reference] = {}

    def protocol(self, split: str) -> MeasurementProtocol:
        """Return how generated images are measured against a split."""
        return MeasurementProtocol.of(
            self._extract,
            generated=self._evaluation.samples,
            real=len(self.indices(split)),
            split=split,
            seed=self._evaluation.seed,
            dataset_digest=self._images.digest,
        )

    def indices(self, split: str) -> np.ndarray:
        """Return which images of a split are its reference: all, or so many drawn at random, always the same."""
        count, most = self._images.count(split), self._evaluation.real_images
        if most is None or count <= most:
            return np.arange(count)
        return np.sort(np.random.default_rng(0).permutation(count)[:most])

    def of(self, split: str) -> Reference:
        """Return the reference of a split."""
        if split not in self._known:
            key, indices = self._key("reference", split), self.indices(split)
            # It does not depend on what is measured against it.
            key = {name: value for name, value in key.items() if name not in ("generated", "seed")}
            self._known[split] = self._stored.reference(key, lambda: Reference.of(self._collect(split, indices)))
        return self._known[split]

    def floor(self, split: str) -> dict[str, Estimate]:
        """Return what as many other real images have; nothing where there are not as many."""
        other, count = _OTHER[split], self._evaluation.samples
        if self._images.count(other) < count:
            return {}

        def measure() -> dict[str, Estimate]:
            drawn = np.random.default_rng(self._evaluation.seed).permutation(self._images.count(other))[:count]
            collected = self._collect(other, np.sort(drawn))
            reference = self.of(split)
            return reference.measure(collected, reference.compare(feature_set(collected)))

        return self._estimates("floor", split, measure)

    def held_out_authenticity(self) -> dict[str, Estimate]:
        """Return the test images' `authenticity`, however many there are: a share does not depend on their number."""

        def measure() -> dict[str, Estimate]:
            comparison = self.of("train").compare(self.of("test").images)
            return {"authenticity": comparison.authenticity()} if comparison else {}

        return self._estimates("authenticity of test images", "train", measure)

    def _estimates(self, what: str, split: str, measure: Callable[[], dict[str, Estimate]]) -> dict[str, Estimate]:
        def make() -> dict[str, Any]:
            return {name: asdict(estimate) for name, estimate in measure().items()}

        stored = self._stored.numbers(self._key(what, split), make)
        return {name: Estimate(**estimate) for name, estimate in stored.items()}

    def _key(self, what: str, split: str) -> dict[str, Any]:
        keeps_features = self._extract.keeps_features
        return {"what": what, **asdict(self.protocol(split)), "keeps": keeps_features, "torch": torch.__version__}

    def _collect(self, split: str, indices: np.ndarray) -> Collector:
        batches = track(self._batches(split, indices), f"  {split} images", len(indices))
        return Collector(self._extract).add_all(batches)

    def _batches(self, split: str, indices: np.ndarray) -> Iterator[Tensor]:
        for start in range(0, len(indices), self._extract.batch_size):
            batch = indices[start : start + self._extract.batch_size]
            yield torch.from_numpy(self._images.take(split, batch))
