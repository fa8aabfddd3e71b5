"""The database of a sweep, in a file or on a server: opened by several processes, and with one line for each error."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import SQLAlchemyError

from kedro_dcgan.errors import DataError, in_short
from kedro_dcgan.locks import hold_lock

# Seconds before each new attempt to open a shared database.
_PAUSES = (0.5, 1.0, 2.0, None)
# Seconds to wait for another process that writes to an SQLite file.
_LOCK_SECONDS = 60


def create_or_load(name: str, url: str | None, folder: Path, pruner: optuna.pruners.BasePruner) -> optuna.Study:
    """Return the study of a name in the database of a URL, or in a file of the folder."""
    for pause in _PAUSES:
        try:
            return optuna.create_study(
                study_name=name, storage=_storage(url, folder), pruner=pruner, load_if_exists=True
            )
        except (SQLAlchemyError, StorageInternalError):
            # Another machine may create the tables or the study at the same time.
            if not url or pause is None:
                raise
            time.sleep(pause)
    raise AssertionError


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Let one process of a folder at a time create the database or claim a trial."""
    with hold_lock(folder / "study.lock", _LOCK_SECONDS) as is_held:
        if not is_held:
            raise DataError(f"`{folder / 'study.lock'}` must be free (another process holds it). Try again later.")
        yield


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Raise DataError for any error of the database."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError, sqlite3.Error, ImportError) as error:
        raise DataError(
            f"the database of the sweep must be readable and writable (it is not: {in_short(error)}). Check "
            "`sweep.storage`, then continue with the same command."
        ) from None


def _storage(url: str | None, folder: Path) -> RDBStorage:
    if url:
        return RDBStorage(url)
    # Not through an address: a path may have characters that are special there. Several processes may write.
    file = folder / "optuna.db"
    connect = partial(sqlite3.connect, file, timeout=_LOCK_SECONDS, check_same_thread=False)
    return RDBStorage("sqlite:///optuna.db", engine_kwargs={"creator": connect})
