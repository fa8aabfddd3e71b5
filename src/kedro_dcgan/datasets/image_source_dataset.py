"""Where images come from: gives nodes the means to open the source that a parameter names."""

import os
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset

from kedro_dcgan.data.sources import Limits, Source, open_source
from kedro_dcgan.data.sources.boxes import Boxes, read_boxes
from kedro_dcgan.errors import SourceError


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
