"""Crop and resize the accepted images into shards of uint8 arrays."""

import hashlib
import logging
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import pandas as pd

from kedro_dcgan.errors import DataError
from kedro_dcgan.images.decode import decode
from kedro_dcgan.images.manifest import ACCEPTED, SPLITS
from kedro_dcgan.images.shards import Shard, ShardStream, dataset_digest, images_per_shard
from kedro_dcgan.images.transforms import to_array
from kedro_dcgan.parameters import IngestionParameters, PreprocessingParameters
from kedro_dcgan.progress import track

logger = logging.getLogger(__name__)


class Source(Protocol):
    """Files by relative path."""

    def read(self, path: str) -> bytes: ...


class Sources(Protocol):
    """Opens the source that a parameter names."""

    def open(self, source: str) -> Source: ...


def prepare_images(
    raw_images: Sources,
    manifest: pd.DataFrame,
    ingestion: IngestionParameters,
    preprocessing: PreprocessingParameters,
) -> ShardStream:
    """Return the accepted images as a stream of shards, split by split, in the manifest's order.

    Raises:
        DataError: while the stream is read, if a file is not the one that was ingested.
    """
    accepted = manifest[manifest["verdict"] == ACCEPTED]
    transform = preprocessing.model_dump_json(exclude={"shard_megabytes"})
    digest = dataset_digest(list(zip(accepted["sha256"], accepted["split"], strict=True)), transform)
    shards = _shards(raw_images.open(ingestion.source), accepted, ingestion, preprocessing)
    colours = "grey" if preprocessing.channels == 1 else "RGB"
    size = preprocessing.image_size
    logger.info("preprocessing %dx%d %s, uint8, %d images, digest %s", size, size, colours, len(accepted), digest)
    return ShardStream(size, preprocessing.channels, digest, shards)


def _shards(
    source: Source, accepted: pd.DataFrame, ingestion: IngestionParameters, preprocessing: PreprocessingParameters
) -> Iterator[Shard]:
    in_order = pd.concat([accepted[accepted["split"] == split] for split in SPLITS])
    rows = iter(track(list(in_order.itertuples()), "preprocessing", len(in_order)))
    capacity = images_per_shard(preprocessing.image_size, preprocessing.channels, preprocessing.shard_megabytes)
    for split in SPLITS:
        left = int((accepted["split"] == split).sum())
        while left:
            count = min(capacity, left)
            left -= count
            yield Shard(
                split,
                np.stack([_prepare(source, next(rows), ingestion, preprocessing) for _ in range(count)]),
            )


def _prepare(
    source: Source, row: object, ingestion: IngestionParameters, preprocessing: PreprocessingParameters
) -> np.ndarray:
    path, sha256 = row.path, row.sha256  # type: ignore[attr-defined]  # a named tuple of the manifest's columns
    data = source.read(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError(
            f"`{path}` must be the file that was ingested (it has changed). Run kedro run --pipelines=ingestion again."
        )
    image, _, _ = decode(data, ingestion.min_size, ingestion.max_pixels)
    return to_array(image, preprocessing.image_size, preprocessing.channels, preprocessing.resample)
