"""The server of a project, and what is said when it does not answer."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import mlflow
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from kedro_dcgan.errors import TrackingError
from kedro_dcgan.tracking.settings import TrackingSettings, in_one_line


def connect(settings: TrackingSettings) -> None:
    """Let MLflow's own functions use the server of the project."""
    # It tells of each attempt to reach a database, in four lines.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(settings.server)
    mlflow.set_registry_uri(settings.server)


def require_answer() -> None:
    """Ask the server something.

    Raises:
        Exception: of many kinds, if it does not answer.
    """
    mlflow.search_experiments(max_results=1)


@contextmanager
def reachable(settings: TrackingSettings) -> Iterator[None]:
    """Say in one line that the server did not answer.

    Raises:
        TrackingError: if it did not.
    """
    try:
        yield
    except (MlflowException, OSError, SQLAlchemyError, ImportError) as error:
        raise TrackingError(
            f"`{settings.shown_server}` must answer (it does not: {in_one_line(error)}). "
            "Start it, or set MLFLOW_TRACKING_URI."
        ) from None
