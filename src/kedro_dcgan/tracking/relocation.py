"""Moved and copied projects: rewrite the absolute paths in the local database of the project.

MLflow stores an absolute path for the artifacts of each experiment, run, model and version. After `mv` or `cp -r`,
these paths still lead to the old folder: files would not be found, and new ones would be written there. The database
belongs to the folder that it lies in, so its paths must, too. Databases outside the project and servers are not
touched, nor is another artifact store (`artifact_location` of `tracking.yml`).
"""

import logging
import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kedro_dcgan.errors import TrackingError
from kedro_dcgan.tracking.connection import TrackingSettings
from kedro_dcgan.tracking.journal import Journal

logger = logging.getLogger(__name__)

# The columns of MLflow's database with absolute locations of artifacts.
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)
# Seconds to wait for another process that writes the database.
_LOCK_TIMEOUT = 20.0


def relocate(settings: TrackingSettings) -> None:
    """Let all paths in the project's own SQLite database start at the folder where the database lies now.

    Raises:
        TrackingError: if the project was moved and the database cannot be written.
    """
    database = _database_of(settings.server)
    if database is None or not database.is_file() or not database.stat().st_size:
        return
    # `file:` URIs and plain paths: MLflow stores a location as it is given.
    location, roots = settings.artifact_location or "", (str(database.parent), database.parent.as_uri())
    root = next((root for root in roots if location.startswith(f"{root}/")), None)
    if root is None:
        return
    try:
        with closing(sqlite3.connect(database, _LOCK_TIMEOUT)) as connection:
            stored = [value for (value,) in connection.execute("SELECT DISTINCT artifact_location FROM experiments")]
            for old in _former_roots(stored, database, location.removeprefix(root)):
                # The journals first: if this is interrupted, the next command repeats it.
                _rename_server(settings, Path(_local_path(old), database.name))
                with connection:
                    for table, column in _COLUMNS:
                        connection.execute(
                            f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) "  # noqa: S608
                            f"WHERE substr({column}, 1, length(:old) + 1) = :old || '/'",
                            {"new": root, "old": old},
                        )
                logger.info(
                    "database      moved or copied from %s: MLflow now finds and writes the files here",
                    _local_path(old),
                )
    except sqlite3.Error as error:
        if "no such table: experiments" in str(error):
            # Another process is creating the database.
            return
        raise TrackingError(
            f"`{database}` must be readable and writable (it is not: {error}). Correct its permissions, or restore it."
        ) from None


def _database_of(server: str) -> Path | None:
    # SQLAlchemy decodes the path of `sqlite:////absolute/path`.
    scheme, separator, path = server.partition(":///")
    if not separator or scheme.partition("+")[0] != "sqlite":
        return None
    return Path(unquote(path)).absolute()


def _local_path(location: str) -> str:
    return unquote(urlsplit(location).path) if location.startswith("file:") else location


def _former_roots(stored: list[str], database: Path, inside: str) -> list[str]:
    # Return the folders in which the database lay when its experiments were created, other than the present one.
    former = []
    for location in stored:
        old = (location or "").removesuffix(inside)
        if old == location or not old.startswith(("/", "file:")):
            continue
        # Path.exists fails in folders that this user may not enter.
        folder, exists = _local_path(old), os.path.exists
        is_here = folder == str(database.parent) or (exists(folder) and database.parent.samefile(folder))
        # A store without a database beside it was chosen by the user, unless its files came along.
        is_chosen = exists(f"{folder}{inside}") and not exists(f"{folder}/{database.name}")
        if not is_here and not (is_chosen and not exists(f"{database.parent}{inside}")):
            former.append(old)
    return former


def _rename_server(settings: TrackingSettings, former_database: Path) -> None:
    # Otherwise a journal would count as one of another server: its pending records would stay, and a resumed training
    # would upload all records again.
    for journal in Journal.find_all(settings.journals):
        state = journal.stored_upload_state()
        if state and _database_of(state.server) == former_database:
            journal.save_upload_state(replace(state, server=settings.shown_server))
