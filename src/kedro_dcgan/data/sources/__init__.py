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
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kedro_dcgan.data.sources.archive import TarSource, ZipSource
from kedro_dcgan.data.sources.arrays import ArraySource
from kedro_dcgan.data.sources.builtin import DIGITS, PARTS, TorchvisionBlock, TorchvisionSource, write_digits
from kedro_dcgan.data.sources.folder import FolderBlock, FolderSource
from kedro_dcgan.data.sources.source import Input, Limits, MemoryBlock, SourceFile, invalid_source, is_side_file
from kedro_dcgan.data.transforms import Region
from kedro_dcgan.errors import SourceError

__all__ = ["Block", "Boxes", "ImageSources", "Input", "Limits", "Source", "is_side_file", "open_source"]

Source = FolderSource | ArraySource | TarSource | ZipSource | TorchvisionSource
Block = FolderBlock | MemoryBlock | TorchvisionBlock

# The first bytes of files that people pass as a source, and what to do with them.
_UNPACK, _CONVERT = "unpack it and pass the folder", "write its images to a folder, as PNG files"
_OTHER_KINDS = {
    b"\xff\xd8\xff": "a single image: pass its folder",
    b"\x89PNG": "a single image: pass its folder",
    b"7z\xbc\xaf": f"a 7z archive: {_UNPACK}",
    b"Rar!": f"a RAR archive: {_UNPACK}",
    b"\x28\xb5\x2f\xfd": f"compressed by zstd: {_UNPACK}",
    b"PAR1": f"a Parquet file: {_CONVERT}",
    b"\x89HDF": f"an HDF5 file: {_CONVERT}",
    b"MATLAB": f"a MATLAB file: {_CONVERT}",
    b"\x80": f"a pickle, which is never loaded: {_CONVERT}",
}

# A larger folder is not searched for archives: zip, gzip, bzip2, xz, and tar, which has its mark later.
_MAX_ARCHIVES = 1000
_ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")

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
            text = data.decode("utf-8-sig")
            boxes, one_folder = _parse_boxes(text)
        except (OSError, RuntimeError, ValueError, csv.Error) as error:
            problem = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
            if isinstance(error, UnicodeDecodeError):
                line = 1 + data.count(b"\n", 0, error.start)
                problem = f"line {line} is not UTF-8"
            raise SourceError(
                f"`preprocessing.crop.boxes` must be a CSV file with the columns {', '.join(_COLUMNS)} "
                f"(got {path}: {problem}). Correct it, or set the parameter to null."
            ) from None
        return Boxes(boxes, hashlib.sha256(data).hexdigest(), one_folder)


def _parse_boxes(text: str) -> tuple[dict[str, Region], bool]:
    """Return the boxes of a CSV file, and whether they are by bare file name; a `ValueError` names the line."""
    rows = csv.DictReader(io.StringIO(text, newline=""))
    columns = [column.strip() for column in rows.fieldnames or ()]
    rows.fieldnames = [_CELEBA.get(column, column) for column in columns]
    missing = [column for column in _COLUMNS if column not in rows.fieldnames]
    if missing:
        raise ValueError(f"it has no column {', '.join(missing)}, only {', '.join(columns)[:200] or 'an empty line'}")
    boxes: dict[str, Region] = {}
    for row in rows:
        if not row["path"] or None in row:
            problem = "no path" if not row["path"] else "more cells than columns: quote a path that has a comma"
            raise ValueError(f"line {rows.line_num} has {problem}")
        if row["path"] in boxes:
            raise ValueError(f"line {rows.line_num} is a second box for {row['path']}")
        values = []
        for column in _COLUMNS[1:]:
            try:
                values.append(round(float(row[column])))
            except (ValueError, TypeError, OverflowError):
                got = "no value" if row[column] is None else repr(row[column][:50])
                raise ValueError(f"line {rows.line_num} has {got} in place of a number for {column}") from None
        left, top, width, height = values
        boxes[row["path"]] = (left, top, left + width, top + height)
    return boxes, "image_id" in columns


def open_source(name: str, project: Path, limits: Limits) -> Source:
    """Return the source that `ingestion.source` names; a relative path starts at the project folder.

    Raises:
        SourceError: if there is no such source, or it is empty or too large.
    """
    if name.startswith(TorchvisionSource.PREFIX):
        return TorchvisionSource(name.removeprefix(TorchvisionSource.PREFIX), project, limits)
    rule = "be a folder, a zip or tar archive, or an array (IDX, npy, npz)"
    try:
        path = project / Path(name).expanduser()
        exists = path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # A folder without permission, an unknown user, a null byte.
        raise invalid_source(rule, f"{name}: {error}") from None
    if not exists:
        if path != project / DIGITS:
            raise _missing_source(name, path, rule)
        write_digits(path)
    holder: FolderSource | TarSource | ZipSource | None = None
    source: Source | None = None
    if path.is_dir():
        holder = FolderSource(path, limits)
    elif path.is_file() and (source := ArraySource.of_file(path, limits)) is None:  # Opening a pipe would block.
        # Tar comes before zip: a zip is recognised by its end, and the last member of a tar archive may be a zip.
        kind = next((kind for kind in (TarSource, ZipSource) if kind.recognises(path)), None)
        holder = kind(path, limits) if kind else None
    source = source or (holder and (ArraySource.within(holder, limits) or holder))
    if isinstance(source, FolderSource):
        _require_no_archives(source, path)
    if source is None:
        start = SourceFile.on_disk(path.resolve(), path.name).start if path.is_file() else b""
        kind_found = next((text for magic, text in _OTHER_KINDS.items() if start.startswith(magic)), "")
        raise invalid_source(rule, f"{path}, {kind_found or 'another kind of file'}")
    if source.count == 0:
        raise invalid_source("hold at least one file", f"{path}, empty")
    return source


def _require_no_archives(folder: FolderSource, path: Path) -> None:
    """Raise a `SourceError` if all files of a small folder are archives, apart from side files and unreadable ones."""
    files = list(folder.files()) if folder.count <= _MAX_ARCHIVES else []
    beside = sum(is_side_file(file.path) for file in files)
    archives = [file for file in files if file.start.startswith(_ARCHIVES) or file.start[257:262] == b"ustar"]
    if archives and len(archives) == folder.count - len(folder.problems) - beside:
        raise SourceError(
            f"`ingestion.source` must hold images (got {path}, {len(archives):,} archives such as {archives[0].path}). "
            "Pass one of them, or unpack them: --params ingestion.source=PATH."
        )


def _missing_source(name: str, path: Path, rule: str) -> SourceError:
    """Return the error for a source that is not there, with the remedy for an address or the bare name of a dataset."""
    address = re.match(r"[a-zA-Z][\w+.-]+://", name)
    if address:
        # The rest of an address may hold a password.
        return SourceError(
            f"`ingestion.source` must be on this machine (got an address, {address[0]}…). Download it, or mount it, "
            "and pass its path: --params ingestion.source=PATH."
        )
    known = {dataset.lower(): dataset for dataset in PARTS}.get(name.lower())
    hint = f". Did you mean {TorchvisionSource.PREFIX}{known}?" if known else ""
    return invalid_source(rule, f"{path}, nothing there{hint}")
