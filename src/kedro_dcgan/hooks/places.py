"""Where the catalog keeps things."""

from pathlib import Path

from kedro.io import DataCatalog


def saved_at(catalog: DataCatalog, name: str) -> Path:
    """Return the file or folder of one of our datasets: all that are written have one."""
    return Path(catalog[name].path)  # type: ignore[attr-defined]
