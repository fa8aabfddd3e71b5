"""File locks: two runs never write to the same file or folder at once.

A lock belongs to the kernel, so the locks of a killed process are free at once. Next to each lock, `.locks/NAME.owner`
names the process that holds it, for the error message of the second run.
"""

import contextlib
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from kedro_dcgan.errors import DataError
from kedro_dcgan.storage import remove_leftovers


class LockHooks:
    """Lock the path of each dataset that a run writes, from start to end."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Take all locks or none, then remove the temporary files of killed runs."""
        self._locks = contextlib.ExitStack()
        outputs = [name for name in pipeline.all_outputs() if hasattr(catalog[name], "path")]
        with contextlib.ExitStack() as taken:
            for path in sorted(path_of(catalog, name) for name in outputs):
                taken.enter_context(_locked(path))
                remove_leftovers(path)
            self._locks = taken.pop_all()

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """Release the locks."""
        self._locks.close()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        """Release the locks."""
        self._locks.close()


def path_of(catalog: DataCatalog, name: str) -> Path:
    """Return the file or folder of a dataset on disk."""
    return Path(catalog[name].path)  # type: ignore[attr-defined]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    folder = path.parent / ".locks"
    _require_writable(path, folder)
    lock, owner = FileLock(folder / f"{path.name}.lock", timeout=0), folder / f"{path.name}.owner"
    try:
        lock.acquire()
    except Timeout:
        raise DataError(
            f"`{path}` must not be written to by two runs at once ({_owner_in(owner)} holds the lock). "
            "Wait for that run to end, or stop it."
        ) from None
    try:
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        owner.write_text(f"process {os.getpid()}, `{command}`, since {time.strftime('%H:%M:%S')},", encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _require_writable(path: Path, locks: Path) -> None:
    try:
        for folder in (locks, path) if path.is_dir() else (locks,):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise DataError(
            f"`{path}` must be writable ({error.strerror}: {error.filename or path}). "
            "Fix that, or set another path in conf/base/catalog.yml."
        ) from None


def _owner_in(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return "another process"
