"""A CSV file of boxes: the part of each picture that matters, such as a face.

Columns `path`, `left`, `top`, `width`, `height`, in pixels of the upright picture; `path` is that of the
manifest. In CelebA's own table (`image_id`, `x_1`, `y_1`) bare file names stand for the files of one folder.
"""

import csv
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

from kedro_dcgan.data.orientation import Region
from kedro_dcgan.errors import SourceError

_CELEBA = {"image_id": "path", "x_1": "left", "y_1": "top"}
_COLUMNS = ("path", "left", "top", "width", "height")


class Boxes:
    """Boxes by path, or by the names of the files of `one_folder`; and the hash of the file they are from."""

    def __init__(self, by_path: Mapping[str, Region], sha256: str, one_folder: bool = False) -> None:
        self.sha256 = sha256
        self._by_path, self._one_folder = by_path, one_folder
        self._folder: str | None = None

    def of(self, paths: tuple[str, ...]) -> dict[str, Region]:
        """Return the boxes of those of `paths` that have one.

        Raises:
            SourceError: if bare names match the files of two folders: at most one can be meant.
        """
        found = {path: self._of(path) for path in paths}
        return {path: box for path, box in found.items() if box}

    def _of(self, path: str) -> Region | None:
        folder, _, name = path.rpartition("/")
        if not self._one_folder or name not in self._by_path:
            return self._by_path.get(path)
        if self._folder is None:
            self._folder = folder
        if folder != self._folder:
            raise SourceError(
                f"`preprocessing.crop.boxes` must have the column `path` where pictures are in several folders "
                f"(got `image_id` {name}, for the folders `{self._folder}` and `{folder}`). "
                "Write whole paths, or point ingestion.source at one of the folders."
            )
        return self._by_path[name]


def read_boxes(name: str, project: Path) -> Boxes:
    """Read the CSV file that `preprocessing.crop.boxes` names; a relative path is looked for below the project.

    Raises:
        SourceError: if it is not there, lacks a column, names a picture twice or holds something else than numbers.
    """
    try:
        path = project / Path(name).expanduser()
    except RuntimeError as error:  # A user that is not known.
        raise _refused(name, str(error).rstrip(".")) from None
    try:
        data = path.read_bytes()
        rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
        given = [column.strip() for column in rows.fieldnames or ()]
        rows.fieldnames = [_CELEBA.get(column, column) for column in given]
        missing = [column for column in _COLUMNS if column not in rows.fieldnames]
        if missing:
            raise _refused(path, f"it has no column {', '.join(missing)}")
        boxes = _regions(rows, path)
    except OSError as error:
        raise _refused(path, str(error.strerror)) from None
    except (ValueError, TypeError, OverflowError, csv.Error) as error:
        raise _refused(path, str(error)) from None
    return Boxes(boxes, hashlib.sha256(data).hexdigest(), one_folder="image_id" in given)


def _regions(rows: "csv.DictReader[str]", path: Path) -> dict[str, Region]:
    boxes: dict[str, Region] = {}
    for row in rows:
        if row["path"] in boxes:
            raise _refused(path, f"line {rows.line_num} is a second box for {row['path']}")
        boxes[row["path"]] = _region(row)
    return boxes


def _region(row: dict[str, str]) -> Region:
    left, top, width, height = (round(float(row[name])) for name in _COLUMNS[1:])
    return left, top, left + width, top + height


def _refused(path: Path | str, problem: str) -> SourceError:
    return SourceError(
        f"`preprocessing.crop.boxes` must be a CSV file with the columns {', '.join(_COLUMNS)} "
        f"(got {path}: {problem}). Mend it, or set it to null."
    )
