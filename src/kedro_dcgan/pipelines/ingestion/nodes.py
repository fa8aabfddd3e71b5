"""Read every file of the source once, prepare the usable images, and record a verdict for each file."""

import io
import logging
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from kedro_dcgan.config import IngestionParameters, PreprocessingParameters
from kedro_dcgan.data import ACCEPTED, SKIPPED
from kedro_dcgan.data.advice import advise
from kedro_dcgan.data.manifest import COLUMNS, complete_manifest, count_near_duplicates, summarise
from kedro_dcgan.data.origin import given_origin, origin_of
from kedro_dcgan.data.scan import ScannedBlock, ScanTask, images_per_block, images_per_shard, scan_block
from kedro_dcgan.data.shard_writer import Scan
from kedro_dcgan.data.shards import ImageShards
from kedro_dcgan.data.sources import Block, ImageSources, Limits
from kedro_dcgan.data.transforms import Crop, Preparation
from kedro_dcgan.data.workers import map_in_order
from kedro_dcgan.errors import DataError
from kedro_dcgan.limits import usable_cores
from kedro_dcgan.progress import track
from kedro_dcgan.reports.dataset import draw_sizes, write_page
from kedro_dcgan.reports.pictures import SkippedTile, draw_accepted, draw_skipped, from_pixels

logger = logging.getLogger(__name__)

_SHOWN_ACCEPTED, _SHOWN_SKIPPED = 128, 48


def scan_images(
    raw_images: ImageSources, ingestion: IngestionParameters, preprocessing: PreprocessingParameters
) -> Scan:
    """Return a lazy scan of the source: each file is read once, when the scan is stored.

    Raises:
        SourceError: if the source or the boxes cannot be opened; while the scan is stored, if the source goes away.
    """
    source = raw_images.open(ingestion.source, limits_of(ingestion))
    boxes = raw_images.boxes(preprocessing.crop.boxes) if preprocessing.crop.boxes else None
    preparation = _preparation(ingestion, preprocessing, boxes.sha256 if boxes else None)
    size, channels = preparation.image_size, preparation.channels
    per_shard = images_per_shard(size, channels, preprocessing.shard_megabytes)
    read_blocks = partial(source.blocks, images_per_block(size, channels))
    workers = usable_cores() if ingestion.workers == "auto" else ingestion.workers

    def run(blocks: Iterable[Block], done: int) -> Iterator[ScannedBlock]:
        tasks = (ScanTask(block, boxes.find(block.paths) if boxes else None) for block in blocks)
        scanned = map_in_order(partial(scan_block, preparation=preparation), tasks, workers, ingestion.engine)
        return track(scanned, "ingestion", source.count, lambda block: len(block.records), done)

    origin = given_origin(ingestion)
    return Scan(ingestion.source, preparation, per_shard, source.count, read_blocks, run, origin)


def build_manifest(raw_images: ImageSources, image_shards: ImageShards, ingestion: IngestionParameters) -> pd.DataFrame:
    """Return the manifest: a row for each input with hash, label, verdict and split.

    Raises:
        DataError: if near-duplicates are to be found and the shards were made without perceptual hashes.
        SourceError: if the table of labels cannot be read.
    """
    near = ingestion.near_duplicates
    if near.action != "keep" and not image_shards.preparation.perceptual_hash:
        raise DataError(
            f"`ingestion.near_duplicates.action` must be keep for shards that were made with keep (got {near.action}). "
            "Ingest again: kedro run --pipelines=ingestion."
        )
    hashed = ["perceptual_hash"] if near.action != "keep" else []
    records = image_shards.read_records([name for name in COLUMNS if name != "split"] + hashed)
    train, validation = ingestion.splits.train, ingestion.splits.validation
    manifest = complete_manifest(records, train, validation, near.action, near.most_bits, ingestion.split_folders)
    if ingestion.labels:
        labels = raw_images.labels(ingestion.labels).of(manifest["path"].tolist())
        manifest["label"] = pd.Series(labels, index=manifest.index, dtype=manifest["label"].dtype)
    logger.info("ingestion     %s", summarise(manifest))
    if count := count_near_duplicates(manifest):
        logger.info("              %d near-duplicates of another image, in the same split", count)
    preparation = image_shards.preparation
    for advice in advise(manifest, preparation.image_size, preparation.channels):
        logger.info("              %s", advice)
    return manifest


def report_dataset(
    image_shards: ImageShards, manifest: pd.DataFrame, ingestion: IngestionParameters
) -> tuple[Image.Image, Image.Image, Figure, str]:
    """Return the reports: contact sheets of accepted and of skipped images, a chart of the sizes, and the page."""
    preparation = image_shards.preparation
    accepted = manifest.loc[manifest["verdict"] == ACCEPTED, "row"].to_numpy(dtype=np.int64)
    shown = np.random.default_rng(0).permutation(len(accepted))[:_SHOWN_ACCEPTED]
    accepted_sheet = draw_accepted(image_shards.rows(accepted[shown]))
    skipped_sheet = draw_skipped(_skipped_tiles(image_shards, manifest))
    sizes = draw_sizes(manifest, preparation.min_size)
    pictures: dict[str, Image.Image | Figure] = {"accepted": accepted_sheet, "skipped": skipped_sheet, "sizes": sizes}
    near = ingestion.near_duplicates.action
    origin = origin_of(image_shards.source, manifest, ingestion, image_shards.origin)
    page = write_page(manifest, image_shards.source, origin, preparation, near, pictures)
    return accepted_sheet, skipped_sheet, sizes, page


def _skipped_tiles(image_shards: ImageShards, manifest: pd.DataFrame) -> list[SkippedTile]:
    # These are few: the shards keep no more thumbnails of each reason than one sheet shows.
    pictured = image_shards.read_records(["path", "thumbnail"]).dropna().drop_duplicates("path")
    thumbnails = pictured.set_index("path")["thumbnail"]
    # Show all reasons in turn, inputs with a picture first.
    skipped = manifest[manifest["verdict"] == SKIPPED]
    has_no_picture = ~(skipped["path"].isin(thumbnails.index) | skipped["row"].notna())
    shown = skipped.assign(has_no_picture=has_no_picture).sort_values(["has_no_picture", "path"])
    shown = shown.assign(turn=shown.groupby("reason").cumcount()).sort_values(["turn", "reason"]).head(_SHOWN_SKIPPED)
    tiles = []
    for path, reason, row in shown[["path", "reason", "row"]].itertuples(index=False):
        picture = None
        if not pd.isna(row):
            picture = from_pixels(image_shards.rows(np.array([row]))[0])
        elif thumbnail := thumbnails.get(path):
            picture = Image.open(io.BytesIO(thumbnail), formats=("JPEG",))
        tiles.append(SkippedTile(path, reason, picture))
    return sorted(tiles, key=lambda tile: (tile.reason, tile.path))


def limits_of(ingestion: IngestionParameters) -> Limits:
    """Return the limits of a source."""
    return Limits(ingestion.max_file_megabytes * 1_000_000, ingestion.max_files)


def _preparation(
    ingestion: IngestionParameters, preprocessing: PreprocessingParameters, boxes_sha256: str | None
) -> Preparation:
    return Preparation(
        image_size=preprocessing.image_size,
        channels=preprocessing.channels,
        resample=preprocessing.resample,
        crop=Crop(preprocessing.crop.mode, preprocessing.crop.side),
        background=preprocessing.background,
        min_size=ingestion.min_size or preprocessing.image_size,
        max_pixels=ingestion.max_pixels,
        max_file_bytes=limits_of(ingestion).file_bytes,
        perceptual_hash=ingestion.near_duplicates.action != "keep",
        boxes=preprocessing.crop.boxes,
        boxes_sha256=boxes_sha256,
    )
