"""Sources of images, one module for each kind; and CSV files about their images (`tables`).

`count` is the number of inputs of a source, or None if it is known only after reading all of them. `blocks(size)`
yields all inputs in an order that depends on the content alone; a new block begins after every `size` inputs. A
`SourceError` is raised if the source cannot be read, is empty, damaged or cut off, or changes while it is read.

Workers read the blocks. A block has the `paths` of its inputs for the manifest. `fingerprint()` returns a hash that
changes when an input changes, without reading the inputs, and `read()` yields the inputs in the order of `paths`.

Nothing from a source is written to disk, and no name in it is used as a path to write to.
"""

import re
from pathlib import Path

from kedro_dcgan.data.sources.archive import TarSource, ZipSource
from kedro_dcgan.data.sources.arrays import ArraySource
from kedro_dcgan.data.sources.builtin import DIGITS, PARTS, TorchvisionBlock, TorchvisionSource, write_digits
from kedro_dcgan.data.sources.folder import FolderBlock, FolderSource
from kedro_dcgan.data.sources.source import Input, Limits, MemoryBlock, SourceFile, invalid_source, is_side_file
from kedro_dcgan.data.sources.tables import Boxes, Labels, read_boxes, read_labels
from kedro_dcgan.errors import SourceError

__all__ = ["Block", "Boxes", "ImageSources", "Input", "Labels", "Limits", "Source", "is_side_file", "open_source"]

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


class ImageSources:
    """Opens sources and CSV files; relative paths start at the project folder."""

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
        """Return the boxes that `preprocessing.crop.boxes` names, as `read_boxes`."""
        return read_boxes(self._path_of(name))

    def labels(self, name: str) -> Labels:
        """Return the labels that `ingestion.labels` names, as `read_labels`."""
        return read_labels(self._path_of(name))

    def _path_of(self, name: str) -> Path | str:
        try:
            return self._project / Path(name).expanduser()
        except (RuntimeError, ValueError):  # An unknown user, a null byte: reading it names the fault.
            return name


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
