"""CSV files about the images of a source: bounding boxes, the part of each image to crop around, and labels."""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kedro_dcgan.data.transforms import Region
from kedro_dcgan.errors import SourceError

# The columns of a file of boxes: a path as in the manifest, and pixels of the upright image. The table of CelebA has
# other names, and bare file names, which stand for the files of one folder.
_BOX_COLUMNS = ("path", "left", "top", "width", "height")
_CELEBA = {"image_id": "path", "x_1": "left", "y_1": "top"}
# The columns of a file of labels, and names that other tables have for them.
_LABEL_COLUMNS = ("path", "label")
_OTHER_NAMES = {
    **dict.fromkeys(("file", "filename", "file_name", "image", "image_id", "image_path"), "path"),
    **dict.fromkeys(("category", "class", "target"), "label"),
}

_Value = TypeVar("_Value")


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


@dataclass(frozen=True)
class Labels:
    """Labels by path as in the manifest, or by file name if no path of the table has a folder."""

    by_path: Mapping[str, str]

    def of(self, paths: Sequence[str]) -> list[str | None]:
        """Return the label of each image, or None if the table has none.

        Raises:
            SourceError: if the table names no image at all, or a file name without a folder that several images have.
        """
        names = list(paths)
        if not any("/" in known for known in self.by_path):
            names = [path.rpartition("/")[2] for path in paths]
            again = next((name for name, count in Counter(names).items() if count > 1 and name in self.by_path), None)
            if again:
                first, second, *_ = [path for path in paths if path.rpartition("/")[2] == again]
                raise SourceError(
                    f"`ingestion.labels` must have paths with folders if files of several folders have the same name "
                    f"(got {again}, for `{first}` and `{second}`). Write them as in the manifest."
                )
        found = [self.by_path.get(name) for name in names]
        if paths and not any(found):
            known = next(iter(self.by_path), "nothing")
            raise SourceError(
                f"`ingestion.labels` must name images of the source (it names {known[:200]}, but the first image is "
                f"{paths[0]}). Write paths as in the manifest, or only file names."
            )
        return found


def read_boxes(file: Path | str) -> Boxes:
    """Read the CSV file that `preprocessing.crop.boxes` names.

    Raises:
        SourceError: if it is missing, lacks a column, has two boxes for an image or a value that is not a number.
    """

    def parse(row: Mapping[str, str | None], line: int) -> Region:
        values = []
        for column in _BOX_COLUMNS[1:]:
            text = row[column]
            try:
                values.append(round(float(text or "")))
            except (ValueError, OverflowError):
                got = "no value" if text is None else repr(text[:50])
                raise ValueError(f"line {line} has {got} in place of a number for {column}") from None
        left, top, width, height = values
        return left, top, left + width, top + height

    boxes, columns, sha256 = _read("preprocessing.crop.boxes", "box", file, _BOX_COLUMNS, _CELEBA, parse)
    return Boxes(boxes, sha256, "path" not in columns)


def read_labels(file: Path | str) -> Labels:
    """Read the CSV file that `ingestion.labels` names.

    Raises:
        SourceError: if it is missing, lacks a column, or has two labels or an empty one for an image.
    """

    def parse(row: Mapping[str, str | None], line: int) -> str:
        if not (label := (row["label"] or "").strip()):
            raise ValueError(f"line {line} has no label")
        if not label.isprintable():
            raise ValueError(f"line {line} has a label with a line break or another invisible character")
        return label

    return Labels(_read("ingestion.labels", "label", file, _LABEL_COLUMNS, _OTHER_NAMES, parse)[0])


def _read(
    parameter: str,
    what: str,
    file: Path | str,
    columns: Sequence[str],
    other_names: Mapping[str, str],
    parse: Callable[[Mapping[str, str | None], int], _Value],
) -> tuple[dict[str, _Value], list[str], str]:
    """Return the value of each path in a CSV file, the columns as they are written, and the hash of the file."""
    try:
        data = Path(file).expanduser().read_bytes()
        text = data.decode("utf-8-sig")
        values, found = _parse(text, what, columns, other_names, parse)
    except (OSError, RuntimeError, ValueError, csv.Error) as error:
        problem = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
        if isinstance(error, UnicodeDecodeError):
            line = 1 + data.count(b"\n", 0, error.start)
            problem = f"line {line} is not UTF-8"
        raise SourceError(
            f"`{parameter}` must be a CSV file with the columns {', '.join(columns)} "
            f"(got {file}: {problem}). Correct it, or set the parameter to null."
        ) from None
    return values, found, hashlib.sha256(data).hexdigest()


def _parse(
    text: str,
    what: str,
    columns: Sequence[str],
    other_names: Mapping[str, str],
    parse: Callable[[Mapping[str, str | None], int], _Value],
) -> tuple[dict[str, _Value], list[str]]:
    """Return the values and the columns; a `ValueError` names the line."""
    rows = csv.DictReader(io.StringIO(text, newline=""))
    found = [column.strip() for column in rows.fieldnames or ()]
    names = list(found)
    for place, column in enumerate(found):
        # The first column with another name counts, unless there is one with the right name.
        if other_names.get(column, column) not in names:
            names[place] = other_names[column]
    rows.fieldnames, missing = names, [column for column in columns if column not in names]
    if missing:
        raise ValueError(f"it has no column {', '.join(missing)}, only {', '.join(found)[:200] or 'an empty line'}")
    values: dict[str, _Value] = {}
    for row in rows:
        if not row["path"] or None in row:
            problem = "no path" if not row["path"] else "more cells than columns: quote a path that has a comma"
            raise ValueError(f"line {rows.line_num} has {problem}")
        path = row["path"].strip().removeprefix("./")
        if path in values:
            raise ValueError(f"line {rows.line_num} is a second {what} for {path}")
        values[path] = parse(row, rows.line_num)
    return values, found
