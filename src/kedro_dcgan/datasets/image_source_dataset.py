"""Where images come from. A folder for now; a new kind of source is one more class with `paths` and `read`."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset
from PIL import Image

from kedro_dcgan.datasets.atomic import atomic_folder
from kedro_dcgan.errors import SourceError
from kedro_dcgan.images.digits import embedded_digits

DIGITS = "data/01_raw/digits"


class FolderSource:
    """The regular files below a folder, by path relative to it. Links are not followed, hidden files are left out.

    Raises:
        SourceError: on construction, if a folder may not be listed.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        # A name that is not UTF-8 is known by its escaped form, which manifests and people can read.
        self._files = {os.fsencode(path).decode("utf-8", "backslashreplace"): path for path in self._walk()}

    def paths(self) -> list[str]:
        """Return the relative paths, with `/`, in the order of their bytes."""
        return sorted(self._files, key=str.encode)

    def read(self, path: str) -> bytes:
        """Return one file's bytes.

        Raises:
            SourceError: if the file is not there or may not be read.
        """
        if path not in self._files:
            raise SourceError(
                f"`ingestion.source` must be the one that was ingested ({self._root} has no {path}). "
                "Pass that one, or ingest this one: kedro run --pipelines=ingestion."
            )
        try:
            return (self._root / self._files[path]).read_bytes()
        except OSError as error:
            raise SourceError(
                f"`{self._root / path}` must be readable ({error.strerror}). Change that, or ingest without it."
            ) from None

    def _walk(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self._root, onerror=_refuse_folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                path = Path(folder, name)
                if not name.startswith(".") and stat.S_ISREG(path.lstat().st_mode):
                    yield path.relative_to(self._root).as_posix()


def _refuse_folder(error: OSError) -> NoReturn:
    raise SourceError(f"`{error.filename}` must be a folder that may be listed ({error.strerror}). Change that.")


class ImageSources:
    """Opens sources; relative ones are looked for below the project."""

    def __init__(self, project: Path) -> None:
        self._project = project

    def open(self, source: str) -> FolderSource:
        """Return the source that `ingestion.source` names. The embedded digits are written if they are not there.

        Raises:
            SourceError: if it is not a folder, or has no files.
        """
        folder = self._project / Path(source).expanduser()
        if folder == self._project / DIGITS and not folder.exists():
            write_digits(folder)
        if not folder.is_dir():
            problem = "a file" if folder.exists() else "nothing there"
            _refuse("must be a folder of images", f"{folder}, {problem}")
        opened = FolderSource(folder)
        if not opened.paths():
            _refuse("must be a folder with at least one file", f"{folder}, empty")
        return opened


class ImageSourceDataset(AbstractDataset[None, ImageSources]):
    """Gives nodes the means to open the source that a parameter names.

    Example:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "a.png").write_bytes(b"not really an image")
        >>> ImageSourceDataset(path=folder).load().open(".").paths()
        ['a.png']
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def load(self) -> ImageSources:
        """Return the opener."""
        return ImageSources(Path(os.path.normpath(self.path)))

    def save(self, data: None) -> NoReturn:
        """Refuse: sources are only read."""
        raise SourceError("image sources are only read. Remove this dataset from the node's outputs.")

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}


def write_digits(folder: Path) -> int:
    """Write the embedded digits as PNG files into `folder` and return how many there are."""
    with atomic_folder(folder) as temporary:
        count = 0
        for path, image in embedded_digits():
            target = temporary / path
            target.parent.mkdir(exist_ok=True)
            # Uncompressed, so that the bytes, and with them hashes and splits, are the same on every machine.
            Image.fromarray(image).save(target, compress_level=0)
            count += 1
    return count


def _refuse(rule: str, value: str) -> NoReturn:
    raise SourceError(f"`ingestion.source` {rule} (got {value}). Pass another with --params ingestion.source=FOLDER.")
