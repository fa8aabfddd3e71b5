"""Look at every file of the source once and write down what it is."""

import logging
from typing import Protocol

import pandas as pd

from kedro_dcgan.errors import SourceError
from kedro_dcgan.images.manifest import ACCEPTED, ImageRecord, build_manifest, inspect, summarise, unreadable
from kedro_dcgan.parameters import IngestionParameters
from kedro_dcgan.progress import track

logger = logging.getLogger(__name__)


class Source(Protocol):
    """Files that may be images, by relative path."""

    def paths(self) -> list[str]: ...
    def read(self, path: str) -> bytes: ...


class Sources(Protocol):
    """Opens the source that a parameter names."""

    def open(self, source: str) -> Source: ...


def scan_images(raw_images: Sources, ingestion: IngestionParameters) -> pd.DataFrame:
    """Return the manifest: a row for each file with hash, verdict and split.

    Raises:
        SourceError: if the source cannot be opened or holds no usable image.
    """
    source = raw_images.open(ingestion.source)
    paths = source.paths()
    records = [_look_at(source, path, ingestion) for path in track(paths, "ingestion", len(paths))]
    manifest = build_manifest(records, ingestion.splits.train, ingestion.splits.validation)
    summary = summarise(manifest)
    if not (manifest["verdict"] == ACCEPTED).any():
        raise SourceError(
            f"`ingestion.source` must hold at least one usable image (got {ingestion.source}: {summary}). "
            "Pass another folder with --params ingestion.source=FOLDER."
        )
    logger.info("ingestion     %s", summary)
    return manifest


def _look_at(source: Source, path: str, ingestion: IngestionParameters) -> ImageRecord:
    try:
        data = source.read(path)
    except SourceError as error:
        return unreadable(path, str(error))
    return inspect(path, data, ingestion.min_size, ingestion.max_pixels)
