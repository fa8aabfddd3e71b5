"""Where datasets of the catalog are saved."""

from collections.abc import Iterable
from pathlib import Path

from kedro.io import DataCatalog


def saved_at(catalog: DataCatalog, name: str) -> Path:
    """Return the file or folder of a dataset that is saved to disk."""
    return Path(catalog[name].path)  # type: ignore[attr-defined]


def places_of(catalog: DataCatalog, names: Iterable[str]) -> list[Path]:
    """Return the files and folders of those datasets that are saved to disk, not kept in memory."""
    return sorted(saved_at(catalog, name) for name in names if hasattr(catalog[name], "path"))
