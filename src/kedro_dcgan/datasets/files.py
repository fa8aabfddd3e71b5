"""Datasets of single files, written atomically, and of the images that a training reads.

The datasets of images only know the folder: `kedro_dcgan.data` defines its format, and reads and writes it.
"""

import base64
import os
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import HTMLPreview, ImagePreview, TablePreview

from kedro_dcgan.data import shard_files, shard_writer, shards
from kedro_dcgan.data.manifest import require_valid
from kedro_dcgan.data.sources import ImageSources
from kedro_dcgan.errors import DataError, in_short
from kedro_dcgan.reports.dataset_card import CardFiles, DatasetCard, write_card
from kedro_dcgan.storage import atomic_file, sha256_of
from kedro_dcgan.stored_files import require_file


class FolderDataset(AbstractDataset[Any, Any]):
    """Data in a folder; they exist if the folder does, or the file `INDEX` in it. Subclasses load, save or both.

    metadata: for other programs. Kedro-Viz reads the layer from it.
    """

    INDEX = ""

    def __init__(self, path: str | Path, metadata: dict[str, Any] | None = None) -> None:
        self.path, self.metadata = Path(path), metadata

    def load(self) -> Any:
        raise DataError(f"`{self.path}` must not be loaded (it is write-only). Remove it from the node's inputs.")

    def save(self, data: Any) -> None:
        raise DataError(f"`{self.path}` must not be saved (it is read-only). Remove it from the node's outputs.")

    def _exists(self) -> bool:
        return (self.path / self.INDEX).exists()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}


class FileDataset(FolderDataset):
    """Data in a file."""

    def __init__(self, filepath: str | Path, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath, metadata)


class AtomicDataset(FileDataset):
    """Wraps any dataset of one local file: a reader sees the old file or the new one, never half of it."""

    def __init__(
        self, filepath: str | Path, dataset: str | dict[str, Any], metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(filepath, metadata)
        self._config = {"type": dataset} if isinstance(dataset, str) else dict(dataset)

    def load(self) -> Any:
        remedy = "Run the pipelines that make it: kedro run."
        require_file(self.path, remedy)
        try:
            return self._wrapped(self.path).load()
        except Exception as error:
            # Kedro adds lines of its own before the error of the library.
            fault = in_short(error.__cause__ or error)
            raise DataError(f"`{self.path}` must be readable ({fault}). {remedy}") from error

    def save(self, data: Any) -> None:
        with atomic_file(self.path) as temporary:
            self._wrapped(temporary).save(data)

    def _wrapped(self, path: Path) -> AbstractDataset[Any, Any]:
        return AbstractDataset.from_config(self.path.stem, {**self._config, "filepath": path.as_posix()})


class PictureDataset(AtomicDataset):
    """A PNG file, which Kedro-Viz shows."""

    def preview(self) -> ImagePreview:
        return ImagePreview(base64.b64encode(self.path.read_bytes()).decode())


class TableDataset(AtomicDataset):
    """A pandas DataFrame, which Kedro-Viz shows."""

    def preview(self, rows: int = 20) -> TablePreview:
        return TablePreview(self.load().head(rows).astype(object).to_dict(orient="split"))


class HistoryDataset(TableDataset):
    """The history of a training without its speeds, so that the same training gives the same file."""

    def save(self, data: Any) -> None:
        super().save(data.drop(columns=["images_per_second", "gigaflops_per_second"], errors="ignore"))


class ManifestDataset(TableDataset):
    """The manifest, checked when it is loaded."""

    def load(self) -> Any:
        loaded = super().load()
        require_valid(loaded, str(self.path))
        return loaded


class TextDataset(FileDataset):
    """A text in UTF-8, whatever the locale. Bytes of a file name that are not UTF-8 are written as escapes."""

    def load(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def save(self, data: str) -> None:
        with atomic_file(self.path) as temporary:
            temporary.write_text(data, encoding="utf-8", errors="backslashreplace")


class PageDataset(TextDataset):
    """An HTML page, which Kedro-Viz shows."""

    def preview(self) -> HTMLPreview:
        return HTMLPreview(self.load())


class DatasetCardDataset(TextDataset):
    """A dataset card; `manifest` and `shards` are the paths of what it describes, relative to the card."""

    def __init__(
        self, filepath: str | Path, manifest: str, shards: str, metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(filepath, metadata)
        self._manifest, self._shards = manifest, shards

    def save(self, data: DatasetCard) -> None:  # type: ignore[override]
        # The folder of the card may not exist yet.
        manifest = Path(os.path.normpath(self.path.parent / self._manifest))
        require_file(manifest, "Name it in the entry `dataset_card` of conf/base/catalog.yml.")
        super().save(write_card(data, CardFiles(self._manifest, sha256_of(manifest), self._shards)))


class BytesDataset(FileDataset):
    """Bytes in a file."""

    def save(self, data: bytes) -> None:
        with atomic_file(self.path) as temporary:
            temporary.write_bytes(data)

    def load(self) -> bytes:
        require_file(self.path, "Export it again: kedro run --pipelines=export.")
        return self.path.read_bytes()


class ImageSourceDataset(FolderDataset):
    """Loads an `ImageSources`, which opens sources; relative paths start at `path`."""

    def __init__(self, path: str | Path, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(path, metadata)
        self._sources = ImageSources(Path(os.path.normpath(self.path)))

    def load(self) -> ImageSources:
        return self._sources


class ImageShardsDataset(FolderDataset):
    """Stores a scan as shards; a scan that was killed resumes after its last finished shard."""

    INDEX = "index.json"

    def save(self, data: shard_writer.Scan) -> None:
        shard_writer.write_scan(data, self.path)

    def load(self) -> shards.ImageShards:
        return shard_files.read_image_shards(self.path)


class PreparedImagesDataset(FolderDataset):
    """Stores the row numbers of each split in `path`; the pixels stay in the folder `shards` beside it."""

    INDEX = "index.json"

    def __init__(self, path: str | Path, shards: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(path, metadata)
        self._shards = self.path.with_name(shards)

    def save(self, data: shards.PreparedImages) -> None:
        shard_files.write_prepared_images(data, self.path)

    def load(self) -> shards.PreparedImages:
        return shard_files.read_prepared_images(self.path, self._shards)
