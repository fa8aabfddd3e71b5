"""Shards of prepared images: `.npy` files, memory-mapped, with a table of records and an index with their hashes.

index.json      {"format": 3, "source": "…", "preparation": {…}, "shards": [{"file": "00000.npy", "sha256": "…", …}]}
00000.npy       uint8 (N, channels, image_size, image_size)
00000.parquet   a record for each input that the shard was made from
"""

import functools
import json
import logging
import os
import shutil
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from kedro.io import AbstractDataset
from PIL import Image

from kedro_dcgan.data.scan import Preparation
from kedro_dcgan.data.shard_files import (
    IMAGES_FORMAT,
    SHARDS_FORMAT,
    Entry,
    ShardWriter,
    forget_resuming,
    number_shards,
    open_shard,
    read_prepared_images,
    read_shard_index,
    remake,
)
from kedro_dcgan.data.shards import ImageShards, PreparedImages, Scan
from kedro_dcgan.data.sources import Limits, Source, open_source
from kedro_dcgan.data.sources.boxes import Boxes, read_boxes
from kedro_dcgan.data.transforms import Crop
from kedro_dcgan.errors import DiskFullError, SourceError
from kedro_dcgan.storage import atomic_folder, replace_folder, report_full_disk, require_sha256

logger = logging.getLogger(__name__)


class ImageShardsDataset(AbstractDataset[Scan, ImageShards]):
    """Stores what a scan yields, shard by shard; a scan that was killed goes on after the last whole shard.

    The folder takes its place when the last shard is written. Until then the shards are in
    `.NAME.incomplete` beside it.

    Example:
        >>> import tempfile, pathlib, numpy as np
        >>> from kedro_dcgan.data.scan import ImageRecord, ScannedBlock
        >>> dataset = ImageShardsDataset(path=pathlib.Path(tempfile.mkdtemp()) / "shards")
        >>> preparation = Preparation(16, 1, "lanczos", Crop(), (255, 255, 255), 1, 1000, 1000)
        >>> scanned = ScannedBlock([ImageRecord("a.png", row=0)], np.zeros((1, 1, 16, 16), dtype=np.uint8), "")
        >>> dataset.save(Scan("here", preparation, 128, 1, lambda: iter([]), lambda blocks, done: iter([scanned])))
        >>> dataset.load().rows(np.array([0])).shape
        (1, 1, 16, 16)
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def save(self, data: Scan) -> None:
        """Write the shards as they come.

        Raises:
            DiskFullError: what was there before stays; what this scan has written goes.
        """
        # The folder may be a link to a larger disk.
        path = self.path.resolve()
        incomplete = path.with_name(f".{path.name}.incomplete")
        try:
            with report_full_disk(path):
                incomplete.mkdir(parents=True, exist_ok=True)
                _warn_of_a_full_disk(incomplete, data)
                _write(incomplete, data)
                replace_folder(incomplete, path)
        except DiskFullError:
            shutil.rmtree(incomplete, ignore_errors=True)
            raise
        forget_resuming(path)

    def load(self) -> ImageShards:
        """Map the shards; their hashes are checked where they are used for training and evaluation.

        Raises:
            DataError: if there are none, or they are of another format.
        """
        index = read_shard_index(self.path)
        remedy = remake(index["source"])
        stored = index["preparation"]
        preparation = Preparation(
            **{**stored, "crop": Crop(**stored["crop"]), "background": tuple(stored["background"])}
        )
        shards = [open_shard(self.path, entry["file"], entry["sha256"], remedy) for entry in index["shards"]]
        read_records = functools.partial(_read_records, self.path, index["shards"], remedy)
        return ImageShards(index["source"], preparation, shards, read_records)

    def _exists(self) -> bool:
        return (self.path / "index.json").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}


def _write(folder: Path, scan: Scan) -> None:
    writer = ShardWriter(folder, scan.source, scan.preparation, scan.inputs_per_shard)
    entries = writer.finished()
    holding, blocks = scan.after([entry["fingerprint"] for entry in entries])
    del entries[holding:]
    if holding:
        logger.info("ingestion     goes on after %d shards of a run that was cut off", holding)
    numbered = number_shards(blocks, holding, scan.inputs_per_shard)
    for number, of_shard in groupby(numbered, key=itemgetter(0)):
        entries.append(writer.write(number, (block for _, block in of_shard)))
    writer.write_index(SHARDS_FORMAT, entries)


def _warn_of_a_full_disk(folder: Path, scan: Scan) -> None:
    # How many images a tar archive holds is not known before.
    most = (scan.count or 0) * scan.preparation.channels * scan.preparation.image_size**2
    free = shutil.disk_usage(folder).free
    if most > free:
        logger.warning("The images may take %.1f GB, and there are %.1f GB left.", most / 1e9, free / 1e9)


def _read_records(
    folder: Path, entries: Sequence[Entry], remedy: str, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    tables, first_row = [], 0
    for entry in entries:
        file = folder / Path(entry["records"]).name
        require_sha256(file, entry["records_sha256"], remedy)
        table = pq.read_table(file, columns=None if columns is None else list(columns))
        if "row" in table.column_names:
            place = table.column_names.index("row")
            table = table.set_column(place, "row", pa.compute.add(table["row"], first_row))
        tables.append(table)
        first_row += entry["count"]
    records: pd.DataFrame = pa.concat_tables(tables).to_pandas(types_mapper=pd.ArrowDtype)
    return records


# TODO(merge) datasets.image_source_dataset


class ImageSources:
    """Opens sources; relative ones are looked for below the project."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._opened: dict[tuple[str, Limits], Source] = {}

    def open(self, source: str, limits: Limits) -> Source:
        """Return the source that `ingestion.source` names.

        Raises:
            SourceError: if there is no such source, or it is empty or too large.
        """
        # What is checked before a run is what is read in it: a large folder is listed once.
        key = (source, limits)
        if key not in self._opened:
            self._opened[key] = open_source(source, self._project, limits)
        return self._opened[key]

    def boxes(self, file: str) -> Boxes:
        """Return the boxes that `preprocessing.crop.boxes` names.

        Raises:
            SourceError: if the file cannot be read as a table of boxes.
        """
        return read_boxes(file, self._project)


class ImageSourceDataset(AbstractDataset[None, ImageSources]):
    """Loads as an opener of sources.

    Example:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "a.png").write_bytes(b"not really an image")
        >>> ImageSourceDataset(path=folder).load().open(".", Limits(1000, 10)).count
        1
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._sources = ImageSources(Path(os.path.normpath(self.path)))

    def load(self) -> ImageSources:
        """Return the opener."""
        return self._sources

    def save(self, data: None) -> NoReturn:
        """Refuse: sources are only read."""
        raise SourceError("image sources are only read. Remove this dataset from the node's outputs.")

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}


# TODO(merge) datasets.prepared_images_dataset


class PreparedImagesDataset(AbstractDataset[PreparedImages, PreparedImages]):
    """Keeps the selection in `path`; the pixels stay in the folder `shards` beside it.

    Example:
        >>> import tempfile, pathlib
        >>> dataset = PreparedImagesDataset(path=pathlib.Path(tempfile.mkdtemp()) / "images", shards="shards")
        >>> dataset.save(PreparedImages(16, 1, "0123", [], {"train": np.arange(3)}))
        >>> np.load(dataset.path / "train.npy").tolist()
        [0, 1, 2]
    """

    def __init__(self, path: str | Path, shards: str) -> None:
        self.path = Path(path)
        self.shards = self.path.with_name(shards)

    def save(self, data: PreparedImages) -> None:
        """Write which rows are in which split."""
        with atomic_folder(self.path) as folder:
            for split, rows in data.rows.items():
                np.save(folder / f"{split}.npy", rows.astype(np.int64), allow_pickle=False)
            index = {
                "format": IMAGES_FORMAT,
                "image_size": data.image_size,
                "channels": data.channels,
                "digest": data.digest,
                "shards": [{"file": shard.file, "sha256": shard.sha256} for shard in data.shards],
                "splits": {split: f"{split}.npy" for split in data.rows},
            }
            (folder / "index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")

    def load(self) -> PreparedImages:
        """Check every shard against its hash, once in a process, and map it.

        Raises:
            DataError: if a shard is missing, damaged or another one, or the index is of another format.
        """
        return read_prepared_images(self.path, self.shards)

    def _exists(self) -> bool:
        return (self.path / "index.json").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path), "shards": str(self.shards)}


# TODO(merge) datasets.image_folder_dataset


class ImageFolderDataset(AbstractDataset[np.ndarray, np.ndarray]):
    """Keeps uint8 images `(N, C, H, W)` as `00000.png`, `00001.png` and so on.

    Example:
        >>> import tempfile, pathlib
        >>> dataset = ImageFolderDataset(path=pathlib.Path(tempfile.mkdtemp()) / "samples")
        >>> dataset.save(np.zeros((2, 1, 4, 4), dtype=np.uint8))
        >>> dataset.load().shape
        (2, 1, 4, 4)
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def save(self, data: np.ndarray) -> None:
        """Write all images; the folder takes its place when they are complete."""
        with atomic_folder(self.path) as folder:
            for number, image in enumerate(data):
                pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
                Image.fromarray(np.ascontiguousarray(pixels)).save(folder / f"{number:05d}.png")

    def load(self) -> np.ndarray:
        """Read all images."""
        pixels = [np.asarray(Image.open(file)) for file in sorted(self.path.glob("*.png"))]
        return np.stack([image[None] if image.ndim == 2 else image.transpose(2, 0, 1) for image in pixels])

    def _exists(self) -> bool:
        return self.path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}
