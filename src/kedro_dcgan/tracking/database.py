"""MLflow's database in an SQLite file: created whole, or not at all.

MLflow creates its tables in hundreds of steps, which take seconds. A process that is killed meanwhile would leave a
file that MLflow can neither use nor repair.
"""

from pathlib import Path
from urllib.parse import quote

from kedro_dcgan.locks import hold_lock
from kedro_dcgan.storage import atomic_file, remove_leftovers

# Seconds to wait for another process that creates the same file.
_PATIENCE = 120.0


def database_url(file: Path) -> str:
    """Return the URL of an SQLite file. Its path must be absolute."""
    path = file.as_posix()
    if "%" not in path and "?" not in path:
        return f"sqlite:///{path}"
    # SQLAlchemy decodes the path. MLflow does not, and creates the folder before the last slash: hide all but one.
    return f"sqlite:////{quote(path[1:], safe='')}"


def create_database(server: str, locks: Path) -> None:
    """Create the file of a server's address such as `sqlite:////path/mlflow.db`, unless it exists.

    `locks` is a folder for the lock between processes. Other addresses are left alone.
    """
    from sqlalchemy.engine import make_url

    if not server.startswith("sqlite:///"):
        return
    file = Path(str(make_url(server).database))
    if file.exists():
        return
    locks.mkdir(parents=True, exist_ok=True)
    with hold_lock(locks / "database.lock", _PATIENCE) as is_held:
        if is_held and not file.exists():
            remove_leftovers(file)
            for journal in file.parent.glob(f".{file.stem}.*.incomplete{file.suffix}-journal"):
                journal.unlink()
            with atomic_file(file) as temporary:
                _create_tables(temporary)


def _create_tables(file: Path) -> None:
    from mlflow import MlflowClient

    MlflowClient(database_url(file)).search_experiments(max_results=1)


def is_same_database(one: str | None, other: str) -> bool:
    """Return whether two addresses name the same database, whatever the driver and the login."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if not one:
        return False
    try:
        urls = [make_url(address) for address in (one, other)]
    except ArgumentError:
        return False
    names = [(url.get_backend_name(), url.host, url.port, url.database) for url in urls]
    return names[0] == names[1]
