"""The cached reference statistics of a dataset's splits, and the floors: the metrics of real images."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kedro_dcgan.config import EvaluationParameters
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.evaluation.comparison import feature_set
from kedro_dcgan.evaluation.features import Collector, FeatureExtractor
from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.protocol import MeasurementProtocol
from kedro_dcgan.evaluation.reference import Reference, ReferenceCache
from kedro_dcgan.progress import track

# The split whose images are measured as if they were generated.
_OTHER = {"test": "train", "train": "test"}


class SplitReferences:
    """The reference statistics of each split, by one extractor."""

    def __init__(
        self, cache: ReferenceCache, images: PreparedImages, evaluation: EvaluationParameters, extract: FeatureExtractor
    ) -> None:
        self.extract = extract
        self._cache, self._images, self._evaluation = cache, images, evaluation
        self._loaded: dict[str, Reference] = {}

    def protocol(self, split: str) -> MeasurementProtocol:
        """Return the protocol of generated images compared with a split."""
        return MeasurementProtocol.of(
            self.extract,
            generated=self._evaluation.samples,
            real=len(self.indices(split)),
            split=split,
            seed=self._evaluation.seed,
            dataset_digest=self._images.digest,
        )

    def indices(self, split: str) -> np.ndarray:
        """Return the images of a split that are its reference: all, or the same random `evaluation.real_images`."""
        count, most = self._images.count(split), self._evaluation.real_images
        if most is None or count <= most:
            return np.arange(count)
        return np.sort(np.random.default_rng(0).permutation(count)[:most])

    def of(self, split: str) -> Reference:
        """Return the reference of a split."""
        if split not in self._loaded:
            # It does not depend on the generated images.
            key = self._key("reference", split)
            del key["generated"], key["seed"]
            self._loaded[split] = self._cache.reference(
                key, lambda: Reference.of(self._collect(split, self.indices(split)))
            )
        return self._loaded[split]

    def floor(self, split: str) -> dict[str, Estimate]:
        """Return the metrics of as many images of the other split; nothing if it has fewer."""
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
        """Return the `authenticity` of all test images: a share does not depend on their number."""

        def measure() -> dict[str, Estimate]:
            comparison = self.of("train").compare(self.of("test").images)
            return {"authenticity": comparison.authenticity()} if comparison else {}

        return self._estimates("authenticity of test images", "train", measure)

    def _estimates(self, what: str, split: str, measure: Callable[[], dict[str, Estimate]]) -> dict[str, Estimate]:
        def compute() -> dict[str, Any]:
            return {name: asdict(estimate) for name, estimate in measure().items()}

        stored = self._cache.numbers(self._key(what, split), compute)
        return {name: Estimate(**estimate) for name, estimate in stored.items()}

    def _key(self, what: str, split: str) -> dict[str, Any]:
        keeps_features = self.extract.keeps_features
        return {"what": what, **asdict(self.protocol(split)), "keeps": keeps_features, "torch": torch.__version__}

    def _collect(self, split: str, indices: np.ndarray) -> Collector:
        def batches() -> Iterator[Tensor]:
            size = self.extract.batch_size
            for start in range(0, len(indices), size):
                yield torch.from_numpy(self._images.take(split, indices[start : start + size]))

        return Collector(self.extract).add_all(track(batches(), f"  {split} images", len(indices)))
