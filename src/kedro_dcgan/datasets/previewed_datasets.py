"""Atomic datasets that Kedro-Viz shows: it finds out by the type that `preview` returns."""

import base64
from typing import Any

# A private module, but the one that Kedro-Viz documents for previews.
from kedro_datasets._typing import HTMLPreview, ImagePreview, TablePreview

from kedro_dcgan.datasets.atomic import AtomicDataset


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
