"""Test generated images for copies of training images, in pixels and in features."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.evaluation.copies import PixelVectors, closeness, near_copies
from kedro_dcgan.evaluation.features import FeatureExtractor
from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.protocol import MeasurementProtocol, MetricValue
from kedro_dcgan.model.networks import Generator
from kedro_dcgan.model.sampling import generate_all
from kedro_dcgan.pipelines.evaluation.measurement import Measurement, SplitReferences
from kedro_dcgan.reports.pictures import ClosestPairs

_SHOWN = 10


@dataclass(frozen=True)
class SamplePixels:
    """The pixel vectors of samples, collected while these pass through `watch`."""

    extract: PixelVectors
    vectors: list[Tensor] = field(default_factory=list)

    def watch(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the batches, uint8 `(N, C, H, W)`."""
        for batch in batches:
            self.vectors.append(self.extract(batch))
            yield batch


def measure_copies(
    measured: Measurement, images: PreparedImages, pixels: SamplePixels, generator: Generator, inputs: Tensor
) -> tuple[list[MetricValue], list[ClosestPairs]]:
    """Return the share of near-copies among the measured samples in each space, and the closest pairs.

    `inputs` are those of the samples. With too few images, there is nothing.
    """
    references, generated = measured.references, measured.images
    train, test = (references.of(split).images for split in ("train", "test"))
    if not (generated and train and test):
        return [], []
    real = {
        split: torch.cat(list(map(pixels.extract, references.batches(split, references.indices(split)))))
        for split in ("train", "test")
    }
    spaces: dict[str, tuple[FeatureExtractor, Tensor, Tensor, Tensor]] = {
        "pixels": (pixels.extract, torch.cat(pixels.vectors), real["train"], real["test"]),
        "features": (references.extract, generated.features, train.features, test.features),
    }
    values, pairs = list[MetricValue](), list[ClosestPairs]()
    for space, (extract, vectors, training, held_out) in spaces.items():
        protocol = references.protocol("train", extract)
        ratios, nearest = closeness(vectors, training)
        floor = _of_real_images(references, protocol, training, held_out)
        values.append(MetricValue("near_copies", protocol, near_copies(ratios), floor))
        closest = ratios.argsort()[:_SHOWN]
        shown = images.take("train", references.indices("train")[nearest[closest].numpy()])
        pairs.append(ClosestPairs(space, generate_all(generator, inputs[closest]).numpy(), shown))
    return values, pairs


def _of_real_images(
    references: SplitReferences, protocol: MeasurementProtocol, training: Tensor, held_out: Tensor
) -> Estimate:
    # It does not depend on the generated images.
    key = references.key(f"near-copies among {len(held_out)} held-out images", protocol)
    del key["generated"], key["seed"]
    measured = references.cache.estimates(key, lambda: {"share": near_copies(closeness(held_out, training)[0])})
    return measured["share"]
