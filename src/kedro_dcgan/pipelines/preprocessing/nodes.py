"""Select the images of the dataset, their splits and their order from the shards and the manifest."""

import logging
from dataclasses import replace

import pandas as pd

from kedro_dcgan.config import IngestionParameters, PreprocessingParameters
from kedro_dcgan.data.manifest import SPLITS
from kedro_dcgan.data.origin import origin_of
from kedro_dcgan.data.shards import ImageShards, PreparedImages, select, transform_of
from kedro_dcgan.errors import DataError
from kedro_dcgan.reports.dataset_card import DatasetCard, describe_dataset

logger = logging.getLogger(__name__)

_REMEDY = "Ingest again with the options that you want: kedro run --pipelines=ingestion,preprocessing."


def prepare_images(
    image_shards: ImageShards,
    manifest: pd.DataFrame,
    ingestion: IngestionParameters,
    preprocessing: PreprocessingParameters,
) -> tuple[PreparedImages, DatasetCard]:
    """Return the accepted images of the manifest as the dataset, and its card; the pixels stay as they are.

    Raises:
        DataError: if the shards were made with other parameters, or the manifest from other shards.
    """
    # Require the parameters that the shards were made with.
    preparation = image_shards.preparation
    crop, size, channels = preparation.crop, preparation.image_size, preparation.channels
    stored = {name: getattr(preparation, name) for name in ("image_size", "channels", "resample", "background")}
    stored |= {"crop.mode": crop.mode, "crop.side": crop.side, "crop.boxes": preparation.boxes}
    configured = preprocessing.model_dump()
    configured |= {f"crop.{name}": value for name, value in configured["crop"].items()}
    for name, value in stored.items():
        if configured[name] != value:
            raise DataError(
                f"`preprocessing.{name}` must be the one that the image shards were made with ({value}; "
                f"got {configured[name]}). {_REMEDY}"
            )

    # Require the manifest of these shards.
    columns = ["path", "sha256", "row"]
    records = image_shards.read_records(columns).sort_values("path", ignore_index=True)
    if not records.astype(object).equals(manifest[columns].astype(object)):
        raise DataError(f"the manifest must be that of the image shards (it is from other files). {_REMEDY}")

    # Select the accepted images. Their licence may have become known after they were read.
    origin = origin_of(image_shards.source, manifest, ingestion, image_shards.origin)
    images = replace(select(image_shards, manifest, transform_of(preparation)), origin=origin)
    colours = "grey" if channels == 1 else "RGB"
    shards = f"{len(images.shards)} shard{'' if len(images.shards) == 1 else 's'}"
    counts = " · ".join(f"{split} {images.count(split):,}" for split in SPLITS)
    logger.info(f"preprocessing {size}x{size} {colours}, uint8, {shards}, digest {images.digest} · {counts}")
    return images, describe_dataset(images, preparation, manifest)
