"""Two sources of images of any origin and any sizes, compared."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kedro_dcgan.data.decode import open_image, read_pixels, strict_pillow
from kedro_dcgan.data.orientation import set_upright
from kedro_dcgan.data.scan import Input
from kedro_dcgan.data.sources import Limits, Source, open_source
from kedro_dcgan.errors import DataError, SourceError, UnusableImageError
from kedro_dcgan.evaluation.features import Collector, FeatureExtractor
from kedro_dcgan.evaluation.protocol import MeasurementProtocol, Number, as_json
from kedro_dcgan.evaluation.reference import Reference, feature_set
from kedro_dcgan.progress import track

_LIMITS, _PIXELS = Limits(file_bytes=100_000_000, files=10_000_000), 100_000_000
_BLOCK, _BATCH_PIXELS = 64, 4_000_000
_WHITE = (255, 255, 255)


def compare_sources(real: str, generated: str, project: Path, extractors: Sequence[FeatureExtractor]) -> dict[str, Any]:
    """Return the numbers of generated images against real ones, in the form of an evaluation; no model is needed.

    real, generated: as `ingestion.source`; relative paths are looked for below `project`.

    Each image is upright, as large as it is, and resized by the extractor alone. What cannot be read is left out
    and counted.

    Raises:
        SourceError: if a source cannot be opened.
        DataError: if one has fewer than 2 images.
    """
    # A wrong name is found before the first image is looked at.
    sources = {name: _open(name, where, project) for name, where in (("real", real), ("generated", generated))}
    sides = {name: _looked_at(name, source, extractors) for name, source in sources.items()}
    of_real, of_generated = sides["real"], sides["generated"]
    numbers: list[Number] = []
    for ours, theirs in zip(of_generated.collected, of_real.collected, strict=True):
        protocol = MeasurementProtocol.of(
            ours.extract,
            generated=of_generated.count,
            real=of_real.count,
            split="real",
            seed=0,
            dataset_digest=of_real.digest(),
        )
        reference = Reference.of(theirs)
        comparison = reference.compare(feature_set(ours))
        found = reference.measure(ours, comparison)
        if comparison:
            found |= comparison.of_subsets()
        numbers += [Number(name, protocol, estimate) for name, estimate in found.items()]
    return {
        **as_json(numbers),
        "skipped": {name: side.skipped for name, side in sides.items()},
        "sizes": {name: sorted(side.sizes) for name, side in sides.items()},
    }


def _open(name: str, where: str, project: Path) -> Source:
    if not where:
        raise SourceError(f"`--{name}` must be a folder, an archive or torchvision:NAME (got nothing). Name one.")
    with _named(name):
        return open_source(where, project, _LIMITS)


def _looked_at(name: str, source: Source, extractors: Sequence[FeatureExtractor]) -> "_Side":
    with _named(name):
        return _Side(name, source, extractors)


@contextmanager
def _named(name: str) -> Iterator[None]:
    # Sources know themselves as the pipeline's parameter.
    try:
        yield
    except SourceError as error:
        said = str(error).replace("--params ingestion.source=", f"--{name} ").replace("ingestion.source", f"--{name}")
        raise SourceError(said) from None


class _Side:
    """A source that has been looked at from its first image to its last."""

    def __init__(self, name: str, source: Source, extractors: Sequence[FeatureExtractor]) -> None:
        self.count, self.skipped, self._hashes = 0, 0, list[str]()
        self.sizes = set[str]()
        self.collected = [Collector(extract) for extract in extractors]
        inputs = (item for block in source.blocks(_BLOCK) for item in block.read())
        with strict_pillow():
            for batch in _in_batches(self._decoded(track(inputs, name, source.count, lambda _: 1))):
                for collector in self.collected:
                    collector.add(batch)
        if self.count < 2:
            raise DataError(f"`--{name}` must hold at least 2 images (got {self.count}). Name another.")

    def digest(self) -> str:
        """Return 16 hex digits of the SHA-256 over the files' own, in whatever order they came."""
        return hashlib.sha256("\n".join(sorted(self._hashes)).encode()).hexdigest()[:16]

    def _decoded(self, inputs: Iterator[Input]) -> Iterator[Tensor]:
        for item in inputs:
            try:
                if item.problem:
                    raise item.problem
                header = open_image(item.data, _PIXELS)
                pixels, _ = read_pixels(header, _WHITE)
            except UnusableImageError:
                self.skipped += 1
                continue
            self.count += 1
            self._hashes.append(hashlib.sha256(item.data).hexdigest())
            upright = set_upright(pixels, header.orientation).transpose(2, 0, 1)
            self.sizes.add(f"{upright.shape[2]}x{upright.shape[1]}")
            yield torch.from_numpy(upright.copy()).expand(3, -1, -1)


def _in_batches(images: Iterator[Tensor]) -> Iterator[Tensor]:
    # Neighbours of one size together, but never so many that large photos fill the memory.
    batch: list[Tensor] = []
    for image in images:
        most = max(1, min(_BLOCK, _BATCH_PIXELS // image[0].numel()))
        if batch and (image.shape != batch[0].shape or len(batch) >= most):
            yield torch.stack(batch)
            batch = []
        batch.append(image)
    if batch:
        yield torch.stack(batch)
