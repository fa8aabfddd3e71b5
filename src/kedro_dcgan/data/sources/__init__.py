"""Sources of images: one module for each kind.

A source lists its inputs in blocks, in an order that depends on nothing but its content; workers read the blocks.
Nothing from a source is written to disk, and no name in it is used as a path to write to.
"""

from pathlib import Path

from kedro_dcgan.data.sources.archive import TarSource, ZipSource
from kedro_dcgan.data.sources.boxes import Boxes, read_boxes
from kedro_dcgan.data.sources.builtin import DIGITS, TorchvisionSource, write_digits
from kedro_dcgan.data.sources.folder import FolderSource
from kedro_dcgan.data.sources.idx import IdxSource
from kedro_dcgan.data.sources.source import Block, Input, Limits, Source, empty_source_error
from kedro_dcgan.errors import SourceError

__all__ = ["Block", "Boxes", "ImageSources", "Input", "Limits", "Source", "open_source"]

# The first kind that recognises a path opens it. Tar comes before zip: a zip is recognised by its end, and the last
# member of a tar archive may be a zip.
_KINDS = (IdxSource, TarSource, ZipSource, FolderSource)


class ImageSources:
    """Opens sources and files of boxes; relative paths start at the project folder."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._sources: dict[tuple[str, Limits], Source] = {}

    def open(self, source: str, limits: Limits) -> Source:
        """Return the source that `ingestion.source` names.

        Raises:
            SourceError: if there is no such source, or it is empty or too large.
        """
        # Cached, since listing a large folder takes long: the checks before a run and the run share one source.
        key = (source, limits)
        if key not in self._sources:
            self._sources[key] = open_source(source, self._project, limits)
        return self._sources[key]

    def boxes(self, file: str) -> Boxes:
        """Return the boxes that `preprocessing.crop.boxes` names.

        Raises:
            SourceError: if the file cannot be read as a table of boxes.
        """
        return read_boxes(file, self._project)


def open_source(name: str, project: Path, limits: Limits) -> Source:
    """Return the source that `ingestion.source` names; a relative path starts at the project folder.

    Raises:
        SourceError: if there is no such source, or it is empty or too large.
    """
    if name.startswith(TorchvisionSource.PREFIX):
        return TorchvisionSource(name.removeprefix(TorchvisionSource.PREFIX), project, limits)
    try:
        path = project / Path(name).expanduser()
        exists = path.exists()
    except (OSError, RuntimeError) as error:  # A folder without permission, an unknown user.
        raise _invalid_source("be a folder, an archive or an IDX file", f"{name}: {error}") from None
    if not exists:
        if path != project / DIGITS:
            raise _invalid_source("be a folder, an archive or an IDX file", f"{path}, nothing there")
        write_digits(path)
    kind = next((kind for kind in _KINDS if kind.recognises(path)), None)
    if kind is None:
        raise _invalid_source("be a folder, a zip or tar archive or an IDX file", f"{path}, another kind of file")
    source: Source = kind(path, limits)
    if source.count == 0:
        raise empty_source_error(path)
    return source


def _invalid_source(rule: str, value: str) -> SourceError:
    return SourceError(f"`ingestion.source` must {rule} (got {value}). Pass another: --params ingestion.source=PATH.")
