"""Files as they are now, kept until they have been sent."""

import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from kedro_dcgan.errors import DataError


class KeptFiles:
    """A folder that has one of its own, with a name of ours, for what was kept together."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, paths: Sequence[Path]) -> str:
        """Keep files and folders as they are now; return the name of what holds them here.

        Ours are never changed but replaced, so that a second link to a file is as good as a copy. When it fails,
        nothing is kept.
        """
        name = uuid.uuid4().hex
        kept = self._folder / name
        try:
            kept.mkdir(parents=True)
            for path in paths:
                if path.is_dir():
                    shutil.copytree(path, kept / path.name, copy_function=_link)
                else:
                    _link(path, kept / path.name)
        except BaseException:
            self.drop(name)
            raise
        return name

    def folder(self, name: str) -> Path:
        """Return the folder of what was kept under a name.

        Raises:
            DataError: if it is gone.
        """
        kept = self._folder / name
        if not kept.is_dir():
            raise DataError(f"`{kept}` must be there to be sent (it is not).")
        return kept

    def file(self, name: str) -> Path:
        """Return the one file that was kept under a name.

        Raises:
            DataError: if it is gone.
        """
        return next(self.folder(name).iterdir())

    def drop(self, name: str) -> None:
        """Forget what was kept under a name."""
        shutil.rmtree(self._folder / name, ignore_errors=True)


def _link(source: Path | str, target: Path | str) -> None:
    try:
        os.link(source, target)
    except OSError:
        # Another disk, or one without links.
        shutil.copy2(source, target)
