"""Compare two sources of images of any origin and size, without a model."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kedro_dcgan.data import NOT_COUNTED
from kedro_dcgan.data.decode import open_image, read_pixels, strict_pillow
from kedro_dcgan.data.scan import skip_reason
from kedro_dcgan.data.sources import Input, Limits, Source, open_source
from kedro_dcgan.data.transforms import set_upright
from kedro_dcgan.errors import DataError, SourceError, UnusableImageError
from kedro_dcgan.evaluation.features import Collector, FeatureExtractor
from kedro_dcgan.evaluation.protocol import MeasurementProtocol, MetricValue, evaluation_record
from kedro_dcgan.evaluation.reference import Reference, feature_set
from kedro_dcgan.progress import track

_LIMITS, _PIXELS = Limits(file_bytes=100_000_000, files=10_000_000), 100_000_000
_BLOCK, _BATCH_PIXELS = 64, 4_000_000
_WHITE = (255, 255, 255)


def compare_sources(real: str, generated: str, project: Path, extractors: Sequence[FeatureExtractor]) -> dict[str, Any]:
    """Return the record of an evaluation of generated images against real ones.

    real, generated: as `ingestion.source`; relative paths start at `project`. Images are oriented, but only the
    extractor resizes them. Unreadable files are skipped and counted.

    Raises:
        SourceError: if a source cannot be opened.
        DataError: if a source has fewer than 2 images.
    """
    # Open both before reading the first image, to report a wrong name at once.
    opened: dict[str, Source] = {}
    for name, path in (("real", real), ("generated", generated)):
        if not path:
            raise SourceError(f"`--{name}` must be a folder, an archive or torchvision:NAME (got nothing). Name one.")
        with _errors_name_the_option(name):
            opened[name] = open_source(path, project, _LIMITS)
    sides = {name: _Side(name, source, extractors) for name, source in opened.items()}

    # Compare their features by each extractor.
    values: list[MetricValue] = []
    counts, digest = {name: side.count for name, side in sides.items()}, sides["real"].digest
    for of_generated, of_real in zip(sides["generated"].collectors, sides["real"].collectors, strict=True):
        protocol = MeasurementProtocol.of(of_generated.extract, **counts, split="real", seed=0, digest=digest)
        reference = Reference.of(of_real)
        comparison = reference.compare(feature_set(of_generated))
        estimates = reference.measure(of_generated, comparison) | (comparison.subset_estimates() if comparison else {})
        values += [MetricValue(name, protocol, estimate) for name, estimate in estimates.items()]
    return {
        **evaluation_record(values),
        "skipped": {name: side.skipped for name, side in sides.items()},
        "sizes": {name: sorted(side.sizes) for name, side in sides.items()},
    }


@contextmanager
def _errors_name_the_option(name: str) -> Iterator[None]:
    """Replace the pipeline's parameter in error messages of a source by the option of the command line."""
    try:
        yield
    except SourceError as error:
        text = str(error).replace("--params ingestion.source=", f"--{name} ").replace("ingestion.source", f"--{name}")
        raise SourceError(text) from None


class _Side:
    """The features and sizes of all images of a source.

    digest: 16 hex digits of a SHA-256 that depends on the content of the files, and not on their names.
    """

    def __init__(self, name: str, source: Source, extractors: Sequence[FeatureExtractor]) -> None:
        self.sizes, self._hashes, self._reasons = set[str](), list[str](), Counter[str]()
        self.collectors = [Collector(extract) for extract in extractors]
        inputs = (item for block in source.blocks(_BLOCK) for item in block.read())
        with _errors_name_the_option(name), strict_pillow():
            for batch in _batches(self._decode(track(inputs, name, source.count, lambda _: 1))):
                for collector in self.collectors:
                    collector.add(batch)
        self.count = len(self._hashes)
        if self.count < 2:
            reasons = "".join(f"; {count:,} skipped as {reason}" for reason, count in self._reasons.most_common(3))
            raise DataError(f"`--{name}` must hold at least 2 images (got {self.count}{reasons}). Name another.")
        self.digest = hashlib.sha256("\n".join(sorted(self._hashes)).encode()).hexdigest()[:16]

    @property
    def skipped(self) -> int:
        """The number of unreadable files; hidden files, links and files beside the images do not count."""
        return self._reasons.total() - sum(self._reasons[str(reason)] for reason in NOT_COUNTED)

    def _decode(self, inputs: Iterator[Input]) -> Iterator[Tensor]:
        for item in inputs:
            try:
                if item.problem:
                    raise item.problem
                header = open_image(item.data, _PIXELS)
                pixels, _ = read_pixels(header, _WHITE)
            except UnusableImageError as error:
                self._reasons[str(skip_reason(error, item))] += 1
                continue
            self._hashes.append(hashlib.sha256(item.data).hexdigest())
            upright = set_upright(pixels, header.orientation).transpose(2, 0, 1)
            self.sizes.add(f"{upright.shape[2]}x{upright.shape[1]}")
            yield torch.from_numpy(upright.copy()).expand(3, -1, -1)


def _batches(images: Iterator[Tensor]) -> Iterator[Tensor]:
    """Stack consecutive images of equal size; large images make small batches."""
    batch: list[Tensor] = []
    for image in images:
        most = max(1, min(_BLOCK, _BATCH_PIXELS // image[0].numel()))
        if batch and (image.shape != batch[0].shape or len(batch) >= most):
            yield torch.stack(batch)
            batch = []
        batch.append(image)
    if batch:
        yield torch.stack(batch)
