"""A CSV file of boxes: the part of each picture that matters, such as a face.

Columns `path`, `left`, `top`, `width`, `height`, in pixels of the upright picture. CelebA's own names
(`image_id`, `x_1`, `y_1`) are known too. `path` is that of the manifest, or the bare file name.
"""

import csv
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kedro_dcgan.errors import SourceError
from kedro_dcgan.images.orientation import Region

_CELEBA = {"image_id": "path", "x_1": "left", "y_1": "top"}
_COLUMNS = ("path", "left", "top", "width", "height")


@dataclass(frozen=True)
class Boxes:
    """Boxes by path, and the hash of the file they are from."""

    by_path: Mapping[str, Region]
    sha256: str

    def of(self, paths: tuple[str, ...]) -> dict[str, Region]:
        """Return the boxes of those of `paths` that have one."""
        found = {path: self.by_path.get(path) or self.by_path.get(path.rpartition("/")[2]) for path in paths}
        return {path: box for path, box in found.items() if box}


def read_boxes(path: Path) -> Boxes:
    """Read a CSV file of boxes.

    Raises:
        SourceError: if it is not there, lacks a column or holds something else than numbers.
    """
    try:
        data = path.read_bytes()
        rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
        rows.fieldnames = [_CELEBA.get(name.strip(), name.strip()) for name in rows.fieldnames or ()]
        missing = [name for name in _COLUMNS if name not in rows.fieldnames]
        if missing:
            raise _refused(path, f"it has no column {', '.join(missing)}")
        boxes = {row["path"]: _region(row) for row in rows}
    except OSError as error:
        raise _refused(path, str(error.strerror)) from None
    except (ValueError, TypeError, OverflowError, csv.Error) as error:
        raise _refused(path, str(error)) from None
    return Boxes(boxes, hashlib.sha256(data).hexdigest())


def _region(row: dict[str, str]) -> Region:
    left, top, width, height = (round(float(row[name])) for name in _COLUMNS[1:])
    return left, top, left + width, top + height


def _refused(path: Path, problem: str) -> SourceError:
    return SourceError(
        f"`preprocessing.crop.boxes` must be a CSV file with the columns {', '.join(_COLUMNS)} "
        f"(got {path}: {problem}). Mend it, or set it to null."
    )
