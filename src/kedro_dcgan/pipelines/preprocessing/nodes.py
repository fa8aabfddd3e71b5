"""Select the dataset for training from the shards and the manifest: which images, in which split, in which order."""

import logging

import pandas as pd

from kedro_dcgan.config import PreprocessingParameters
from kedro_dcgan.data.manifest import SPLITS
from kedro_dcgan.data.scan import Preparation
from kedro_dcgan.data.shards import ImageShards, PreparedImages, select
from kedro_dcgan.errors import DataError

logger = logging.getLogger(__name__)

_REMEDY = "Ingest again with the options that you want: kedro run --pipelines=ingestion,preprocessing."


def prepare_images(
    image_shards: ImageShards, manifest: pd.DataFrame, preprocessing: PreprocessingParameters
) -> PreparedImages:
    """Return the accepted images of the manifest as the dataset; the pixels stay as they are.

    Raises:
        DataError: if the shards were made with other parameters, or the manifest from other shards.
    """
    preparation = image_shards.preparation
    _require_equal_parameters(preparation, preprocessing)
    columns = ["path", "sha256", "row"]
    records = image_shards.read_records(columns).sort_values("path", ignore_index=True)
    if not records.astype(object).equals(manifest[columns].astype(object)):
        raise DataError(f"the manifest must be that of the image shards (it is from other files). {_REMEDY}")
    crop, size, channels = preparation.crop, preparation.image_size, preparation.channels
    transform = f"{size}x{channels} {preparation.resample} {crop.mode} {crop.side} {preparation.background}"
    images = select(image_shards, manifest, transform)
    colours, shards = "grey" if channels == 1 else "RGB", len(images.shards)
    counts = " · ".join(f"{split} {images.count(split):,}" for split in SPLITS)
    logger.info(
        "preprocessing %dx%d %s, uint8, %d shard%s, digest %s · %s",
        *(size, size, colours, shards, "" if shards == 1 else "s", images.digest, counts),
    )
    return images


def _require_equal_parameters(made_with: Preparation, requested: PreprocessingParameters) -> None:
    stored = {name: getattr(made_with, name) for name in ("image_size", "channels", "resample", "background")}
    stored |= {"crop.mode": made_with.crop.mode, "crop.side": made_with.crop.side, "crop.boxes": made_with.boxes}
    crop = {f"crop.{name}": value for name, value in requested.crop.model_dump().items()}
    wanted = {**requested.model_dump(), **crop}
    for name, value in stored.items():
        if wanted[name] != value:
            raise DataError(
                f"`preprocessing.{name}` must be the one that the image shards were made with ({value}; "
                f"got {wanted[name]}). {_REMEDY}"
            )
