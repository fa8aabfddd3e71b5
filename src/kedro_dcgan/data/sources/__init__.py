"""Sources of images, one module for each kind; and bounding boxes, the part of each image to crop around.

`count` is the number of inputs of a source, or None if it is known only after reading all of them. `blocks(size)`
yields all inputs in an order that depends on the content alone; a new block begins after every `size` inputs. A
`SourceError` is raised if the source cannot be read, is empty, damaged or cut off, or changes while it is read.

Workers read the blocks. A block has the `paths` of its inputs for the manifest. `fingerprint()` returns a hash that
changes when an input changes, without reading the inputs, and `read()` yields the inputs in the order of `paths`.

Nothing from a source is written to disk, and no name in it is used as a path to write to.
"""

import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kedro_dcgan.data.sources.archive import TarSource, ZipSource
from kedro_dcgan.data.sources.builtin import DIGITS, TorchvisionBlock, TorchvisionSource, write_digits
from kedro_dcgan.data.sources.folder import FolderBlock, FolderSource
from kedro_dcgan.data.sources.idx import IdxSource
from kedro_dcgan.data.sources.source import Input, Limits, MemoryBlock, invalid_source
from kedro_dcgan.data.transforms import Region
from kedro_dcgan.errors import SourceError

__all__ = ["Block", "Boxes", "ImageSources", "Input", "Limits", "Source", "open_source"]

Source = FolderSource | IdxSource | TarSource | ZipSource | TorchvisionSource
Block = FolderBlock | MemoryBlock | TorchvisionBlock

# The columns of a file of boxes: a path as in the manifest, and pixels of the upright image. The table of CelebA has
# other names, and bare file names, which stand for the files of one folder.
_COLUMNS = ("path", "left", "top", "width", "height")
_CELEBA = {"image_id": "path", "x_1": "left", "y_1": "top"}


@dataclass
class Boxes:
    """Boxes by path, or by file name if all images are in `one_folder`; `sha256` is the hash of the CSV file."""

    by_path: Mapping[str, Region]
    sha256: str
    one_folder: bool
    _folder: str | None = None

    def find(self, paths: Iterable[str]) -> dict[str, Region]:
        """Return the boxes of those `paths` that have one; bare names must match the files of one folder."""
        boxes = {}
        for path in paths:
            folder, _, name = path.rpartition("/")
            if self.one_folder and name in self.by_path:
                self._folder = folder if self._folder is None else self._folder
                if folder != self._folder:
                    raise SourceError(
                        "`preprocessing.crop.boxes` must have the column `path` if images are in several folders "
                        f"(got `image_id` {name}, for the folders `{self._folder}` and `{folder}`). "
                        "Write relative paths, or point ingestion.source at one of the folders."
                    )
                boxes[path] = self.by_path[name]
            elif path in self.by_path:
                boxes[path] = self.by_path[path]
        return boxes


class ImageSources:
    """Opens sources and files of boxes; relative paths start at the project folder."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._sources: dict[tuple[str, Limits], Source] = {}

    def open(self, source: str, limits: Limits) -> Source:
        """Return the source that `ingestion.source` names, as `open_source`."""
        # Cached, since listing a large folder takes long: the checks before a run and the run share one source.
        key = source, limits
        if key not in self._sources:
            self._sources[key] = open_source(source, self._project, limits)
        return self._sources[key]

    def boxes(self, name: str) -> Boxes:
        """Read the CSV file that `preprocessing.crop.boxes` names.

        Raises:
            SourceError: if it is missing, lacks a column, has two boxes for an image or a value that is not a number.
        """
        path: Path | str = name
        try:
            path = self._project / Path(name).expanduser()
            data = path.read_bytes()
            rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
            columns = [column.strip() for column in rows.fieldnames or ()]
            rows.fieldnames = [_CELEBA.get(column, column) for column in columns]
            missing = [column for column in _COLUMNS if column not in rows.fieldnames]
            if missing:
                raise ValueError(f"it has no column {', '.join(missing)}")
            boxes: dict[str, Region] = {}
            for row in rows:
                if row["path"] in boxes:
                    raise ValueError(f"line {rows.line_num} is a second box for {row['path']}")
                left, top, width, height = (round(float(row[column])) for column in _COLUMNS[1:])
                boxes[row["path"]] = (left, top, left + width, top + height)
        except (OSError, RuntimeError, ValueError, TypeError, OverflowError, csv.Error) as error:
            problem = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
            raise SourceError(
                f"`preprocessing.crop.boxes` must be a CSV file with the columns {', '.join(_COLUMNS)} "
                f"(got {path}: {problem}). Correct it, or set the parameter to null."
            ) from None
        return Boxes(boxes, hashlib.sha256(data).hexdigest(), one_folder="image_id" in columns)


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
        raise invalid_source("be a folder, an archive or an IDX file", f"{name}: {error}") from None
    if not exists:
        if path != project / DIGITS:
            raise invalid_source("be a folder, an archive or an IDX file", f"{path}, nothing there")
        write_digits(path)
    kind: Callable[[Path, Limits], Source] | None = None
    if path.is_dir():
        kind = IdxSource if IdxSource.recognises(path) else FolderSource
    elif path.is_file():  # Opening a pipe would block.
        # Tar comes before zip: a zip is recognised by its end, and the last member of a tar archive may be a zip.
        kind = next((kind for kind in (IdxSource, TarSource, ZipSource) if kind.recognises(path)), None)
    if kind is None:
        raise invalid_source("be a folder, a zip or tar archive or an IDX file", f"{path}, another kind of file")
    source = kind(path, limits)
    if source.count == 0:
        raise invalid_source("hold at least one file", f"{path}, empty")
    return source
