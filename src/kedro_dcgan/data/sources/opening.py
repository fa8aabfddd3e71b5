"""From the parameter `ingestion.source` to a source."""

from pathlib import Path

from kedro_dcgan.data.sources.digits import DIGITS, write_digits
from kedro_dcgan.data.sources.folder import FolderSource
from kedro_dcgan.data.sources.idx import IdxSource
from kedro_dcgan.data.sources.source import Limits, Source, empty
from kedro_dcgan.data.sources.tar import TarSource
from kedro_dcgan.data.sources.torchvision import TorchvisionSource
from kedro_dcgan.data.sources.zip import ZipSource
from kedro_dcgan.errors import SourceError

# The first kind that knows a path takes it. A zip is known by its end: a tar archive may end in a zip.
KINDS = (IdxSource, TarSource, ZipSource, FolderSource)


def open_source(name: str, project: Path, limits: Limits) -> Source:
    """Return the source that `ingestion.source` names; a relative path is looked for below the project.

    Raises:
        SourceError: if there is no such source, or it is empty or too large.
    """
    if name.startswith(TorchvisionSource.PREFIX):
        return TorchvisionSource(name.removeprefix(TorchvisionSource.PREFIX), project, limits)
    try:
        path = project / Path(name).expanduser()
        there = path.exists()
    except (OSError, RuntimeError) as error:  # A folder that may not be entered, a user that is not known.
        raise _refused("be a folder, an archive or an IDX file", f"{name}: {error}") from None
    if path == project / DIGITS and not there:
        write_digits(path)
    elif not there:
        raise _refused("be a folder, an archive or an IDX file", f"{path}, nothing there")
    kind = next((kind for kind in KINDS if kind.recognises(path)), None)
    if kind is None:
        raise _refused("be a folder, a zip or tar archive or an IDX file", f"{path}, another kind of file")
    source: Source = kind(path, limits)
    if source.count == 0:
        raise empty(path)
    return source


def _refused(rule: str, value: str) -> SourceError:
    return SourceError(f"`ingestion.source` must {rule} (got {value}). Pass another: --params ingestion.source=PATH.")
