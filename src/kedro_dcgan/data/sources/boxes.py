"""Bounding boxes from a CSV file: the part of each image to crop around, such as a face.

The columns are `path` (as in the manifest), `left`, `top`, `width` and `height`, in pixels of the upright image.
The table of CelebA (`image_id`, `x_1`, `y_1`) has bare file names, which stand for the files of one folder.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from kedro_dcgan.data.transforms import Region
from kedro_dcgan.errors import SourceError

_CELEBA = {"image_id": "path", "x_1": "left", "y_1": "top"}
_COLUMNS = ("path", "left", "top", "width", "height")


class Boxes:
    """Boxes by path, or by file name if all images are in `one_folder`; `sha256` is the hash of the CSV file."""

    def __init__(self, by_path: Mapping[str, Region], sha256: str, one_folder: bool = False) -> None:
        self.sha256 = sha256
        self._by_path, self._one_folder = by_path, one_folder
        self._folder: str | None = None

    def find(self, paths: Iterable[str]) -> dict[str, Region]:
        """Return the boxes of those `paths` that have one.

        Raises:
            SourceError: if bare names match files in two folders, which is ambiguous.
        """
        found = {path: self._find(path) for path in paths}
        return {path: box for path, box in found.items() if box}

    def _find(self, path: str) -> Region | None:
        folder, _, name = path.rpartition("/")
        if not self._one_folder or name not in self._by_path:
            return self._by_path.get(path)
        if self._folder is None:
            self._folder = folder
        if folder != self._folder:
            raise SourceError(
                f"`preprocessing.crop.boxes` must have the column `path` if images are in several folders "
                f"(got `image_id` {name}, for the folders `{self._folder}` and `{folder}`). "
                "Write relative paths, or point ingestion.source at one of the folders."
            )
        return self._by_path[name]


def read_boxes(name: str, project: Path) -> Boxes:
    """Read the CSV file that `preprocessing.crop.boxes` names; a relative path starts at the project folder.

    Raises:
        SourceError: if it is missing, lacks a column, has two boxes for an image or a value that is not a number.
    """
    try:
        path = project / Path(name).expanduser()
    except RuntimeError as error:  # An unknown user.
        raise _invalid(name, str(error).rstrip(".")) from None
    try:
        data = path.read_bytes()
        rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
        columns = [column.strip() for column in rows.fieldnames or ()]
        rows.fieldnames = [_CELEBA.get(column, column) for column in columns]
        missing = [column for column in _COLUMNS if column not in rows.fieldnames]
        if missing:
            raise _invalid(path, f"it has no column {', '.join(missing)}")
        boxes = _regions(rows, path)
    except OSError as error:
        raise _invalid(path, str(error.strerror)) from None
    except (ValueError, TypeError, OverflowError, csv.Error) as error:
        raise _invalid(path, str(error)) from None
    return Boxes(boxes, hashlib.sha256(data).hexdigest(), one_folder="image_id" in columns)


def _regions(rows: "csv.DictReader[str]", path: Path) -> dict[str, Region]:
    boxes: dict[str, Region] = {}
    for row in rows:
        if row["path"] in boxes:
            raise _invalid(path, f"line {rows.line_num} is a second box for {row['path']}")
        left, top, width, height = (round(float(row[name])) for name in _COLUMNS[1:])
        boxes[row["path"]] = (left, top, left + width, top + height)
    return boxes


def _invalid(path: Path | str, problem: str) -> SourceError:
    return SourceError(
        f"`preprocessing.crop.boxes` must be a CSV file with the columns {', '.join(_COLUMNS)} "
        f"(got {path}: {problem}). Correct it, or set the parameter to null."
    )
