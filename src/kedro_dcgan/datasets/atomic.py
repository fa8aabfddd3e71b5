"""Datasets that write one file atomically: a reader sees the old file or the new one, never half of it."""

import base64
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import HTMLPreview, ImagePreview, TablePreview

from kedro_dcgan.errors import DataError
from kedro_dcgan.storage import atomic_file


class AtomicDataset(AbstractDataset[Any, Any]):
    """Wraps any dataset of one local file.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "numbers.json"
        >>> dataset = AtomicDataset(filepath=path, dataset={"type": "json.JSONDataset"})
        >>> dataset.save({"one": 1})
        >>> dataset.load()
        {'one': 1}
    """

    def __init__(self, filepath: str | Path, dataset: str | dict[str, Any]) -> None:
        self.path = Path(filepath)
        self._config = {"type": dataset} if isinstance(dataset, str) else dict(dataset)

    def load(self) -> Any:
        """Load with the wrapped dataset.

        Raises:
            DataError: if the file does not exist.
        """
        if not self._exists():
            raise DataError(f"`{self.path}` must exist (it does not). Run the pipelines that make it: kedro run.")
        return self._wrapped(self.path).load()

    def save(self, data: Any) -> None:
        """Save with the wrapped dataset to a temporary file, then rename it."""
        with atomic_file(self.path) as temporary:
            self._wrapped(temporary).save(data)

    def _wrapped(self, path: Path) -> AbstractDataset[Any, Any]:
        return AbstractDataset.from_config(self.path.stem, {**self._config, "filepath": path.as_posix()})

    def _exists(self) -> bool:
        return self.path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.path), "dataset": self._config["type"]}


class BytesDataset(AbstractDataset[bytes, bytes]):
    """Bytes in a file.

    Example:
        >>> import tempfile
        >>> dataset = BytesDataset(filepath=Path(tempfile.mkdtemp()) / "model.onnx")
        >>> dataset.save(b"some")
        >>> dataset.load()
        b'some'
    """

    def __init__(self, filepath: str | Path) -> None:
        self.path = Path(filepath)

    def save(self, data: bytes) -> None:
        """Write the bytes."""
        with atomic_file(self.path) as temporary:
            temporary.write_bytes(data)

    def load(self) -> bytes:
        """Read the bytes."""
        return self.path.read_bytes()

    def _exists(self) -> bool:
        return self.path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.path)}


class PictureDataset(AtomicDataset):
    """A PNG file, which Kedro-Viz shows."""

    def preview(self) -> ImagePreview:
        """Return the picture in base64."""
        return ImagePreview(base64.b64encode(self.path.read_bytes()).decode())


class TableDataset(AtomicDataset):
    """A pandas DataFrame, which Kedro-Viz shows."""

    def preview(self, rows: int = 20) -> TablePreview:
        """Return the first rows."""
        first: dict[str, Any] = self.load().head(rows).astype(object).to_dict(orient="split")
        return TablePreview(first)


class PageDataset(AtomicDataset):
    """An HTML page, which Kedro-Viz shows."""

    def preview(self) -> HTMLPreview:
        """Return the page."""
        return HTMLPreview(self.path.read_text(encoding="utf-8"))
