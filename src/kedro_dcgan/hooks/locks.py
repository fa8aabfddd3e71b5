"""Two runs never write to one place at once: the second is refused, before it has done anything."""

import contextlib
import logging
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
from kedro_dcgan.hooks.places import places_of
from kedro_dcgan.storage import sweep

logger = logging.getLogger(__name__)


class LockHooks:
    """Holds a lock on each place that a run writes to, from its beginning to its end.

    The locks are the kernel's: those of a process that was killed are free at once.
    """

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Take the locks, all or none; then remove what killed runs have left in their places."""
        self._locks = contextlib.ExitStack()
        places = places_of(catalog, pipeline.all_outputs())
        with self._locks:
            for place in places:
                self._locks.enter_context(_locked(place))
                sweep(place)
            # All taken: they are kept until the run ends.
            self._locks = self._locks.pop_all()

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """Give the locks back."""
        self._locks.close()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        """Give the locks back."""
        self._locks.close()


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    locks = place.parent / ".locks"
    _require_writable(place, locks)
    lock, owner = FileLock(locks / f"{place.name}.lock", timeout=0), locks / f"{place.name}.owner"
    try:
        lock.acquire()
    except Timeout:
        raise DataError(
            f"`{place}` must not be written to by two runs at once ({_read(owner)} is at it). "
            "Wait for it to end, or end it."
        ) from None
    try:
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        owner.write_text(f"process {os.getpid()}, `{command}`, since {time.strftime('%H:%M:%S')},", encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _require_writable(place: Path, locks: Path) -> None:
    try:
        for folder in (locks, place) if place.is_dir() else (locks,):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise DataError(
            f"`{place}` must be where files can be written ({error.strerror}: {error.filename or place}). "
            "Mend that, or name another place in conf/base/catalog.yml."
        ) from None


def _read(owner: Path) -> str:
    try:
        return owner.read_text(encoding="utf-8")
    except OSError:
        return "another process"
