"""The files that belong to the records of a journal: kept until they are uploaded.

The attachments of one record share a folder with a random name, and the record stores that name as `file`.
"""

import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from kedro_dcgan.errors import DataError


class Attachments:
    """The folder `files` of a journal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, paths: Sequence[Path]) -> str:
        """Store the current content of files and folders; return the name of the folder that holds them.

        Hard links are enough: this project never changes a file in place, it replaces the file. If an error occurs,
        nothing is stored.
        """
        name = uuid.uuid4().hex
        target = self._folder / name
        try:
            target.mkdir(parents=True)
            for path in paths:
                if path.is_dir():
                    shutil.copytree(path, target / path.name, copy_function=_link_or_copy)
                else:
                    _link_or_copy(path, target / path.name)
        except BaseException:
            self.remove(name)
            raise
        return name

    def folder(self, name: str) -> Path:
        """Return the folder with the attachments of a record.

        Raises:
            DataError: if it is missing.
        """
        folder = self._folder / name
        if not folder.is_dir():
            raise DataError(f"`{folder}` must exist to be uploaded (it is missing).")
        return folder

    def file(self, name: str) -> Path:
        """Return the only attachment of a record.

        Raises:
            DataError: if it is missing.
        """
        return next(self.folder(name).iterdir())

    def remove(self, name: str) -> None:
        """Delete the attachments of a record."""
        shutil.rmtree(self._folder / name, ignore_errors=True)


def _link_or_copy(source: Path | str, target: Path | str) -> None:
    try:
        os.link(source, target)
    except OSError:
        # The target is on another disk, or its file system has no hard links.
        shutil.copy2(source, target)
