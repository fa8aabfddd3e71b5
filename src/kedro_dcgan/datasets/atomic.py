"""Any single-file Kedro dataset, made safe against half-written files."""

import base64
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import HTMLPreview, ImagePreview, TablePreview

from kedro_dcgan.errors import DataError
from kedro_dcgan.storage import atomic_file


class AtomicDataset(AbstractDataset[Any, Any]):
    """Wraps a dataset that keeps its data in one local file; saves go to a temporary file first.

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
            DataError: if there is no such file.
        """
        if not self._exists():
            raise DataError(f"`{self.path}` must be there (it is not). Make it with the pipelines before: kedro run.")
        return self._wrapped(self.path).load()

    def save(self, data: Any) -> None:
        """Save with the wrapped dataset, then move the file into place."""
        with atomic_file(self.path) as temporary:
            self._wrapped(temporary).save(data)

    def _wrapped(self, path: Path) -> AbstractDataset[Any, Any]:
        return AbstractDataset.from_config(self.path.stem, {**self._config, "filepath": path.as_posix()})

    def _exists(self) -> bool:
        return self.path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.path), "dataset": self._config["type"]}


# TODO(merge) datasets.bytes_dataset


class BytesDataset(AbstractDataset[bytes, bytes]):
    """Keeps bytes in a file.

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
        """Write them; the file takes its place when it is complete."""
        with atomic_file(self.path) as temporary:
            temporary.write_bytes(data)

    def load(self) -> bytes:
        """Read them."""
        return self.path.read_bytes()

    def _exists(self) -> bool:
        return self.path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.path)}


# TODO(merge) datasets.previewed_datasets


class PictureDataset(AtomicDataset):
    """A PNG file, written by any dataset that writes one."""

    def preview(self) -> ImagePreview:
        """Return the picture, in base64."""
        return ImagePreview(base64.b64encode(self.path.read_bytes()).decode())


class TableDataset(AtomicDataset):
    """A table, kept by any dataset that loads as a pandas DataFrame."""

    def preview(self, rows: int = 20) -> TablePreview:
        """Return the first rows."""
        first: dict[str, Any] = self.load().head(rows).astype(object).to_dict(orient="split")
        return TablePreview(first)


class PageDataset(AtomicDataset):
    """An HTML page."""

    def preview(self) -> HTMLPreview:
        """Return the page."""
        return HTMLPreview(self.path.read_text(encoding="utf-8"))
