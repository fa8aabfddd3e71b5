"""Where runs are tracked, from `conf/*/tracking.yml`; no address is shown with its password."""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from pydantic import Field, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from kedro_dcgan.config import ParameterGroup
from kedro_dcgan.errors import ParameterError, TrackingError

# `user:password@`, where the password may hold anything but blanks. Over HTTP it is no `port/`, and a token may stand
# alone before the `@`.
_LOGIN = re.compile(r"(\w[\w+.-]*://)(?:([^\s/:]*:)(?!\d+(?:[/\s]|$))\S*@|[^\s/@]+@)")
_DATABASE_LOGIN = re.compile(r"((?!https?:)\b\w[\w+.-]*://[^\s/:]*:)\S*@")
_PASSWORD = re.compile(r"(?i)((?:password|passwd|pwd)(?:=|%3D))[^\s&;'\"%]+")


class TrackingSettings(ParameterGroup):
    """What `tracking.yml` says.

    `server` is what MLflow takes as tracking URI; `artifact_location` is where a new experiment keeps its files
    (nothing: the server decides); `journals` is the folder of the runs' own records.
    """

    server: str = Field(min_length=1)
    artifact_location: str | None
    journals: Path
    experiment: str = Field(min_length=1)
    run_name: str | None
    system_metrics_seconds: float = Field(ge=0)
    ui_port: int = Field(ge=1, le=65535)

    @property
    def shown_server(self) -> str:
        """The address as it may be shown."""
        return masked(self.server)


def masked(text: str) -> str:
    """Return a text with the passwords and tokens of all addresses in it replaced by `***`."""
    text = _DATABASE_LOGIN.sub(r"\1***@", text)
    return _PASSWORD.sub(r"\1***", _LOGIN.sub(lambda found: f"{found[1]}{found[2] or ''}***@", text))


def in_one_line(error: BaseException) -> str:
    """Return what an error says: short, in one line, without passwords."""
    return masked(" ".join(str(error).split()) or type(error).__name__)[:300]


def read_settings(loaded: Mapping[str, Any]) -> TrackingSettings:
    """Check what the files say.

    Raises:
        ParameterError: in one line, the first fault.
    """
    try:
        settings = TrackingSettings.model_validate(dict(loaded))
    except ValidationError as error:
        fault = error.errors()[0]
        name = ".".join(map(str, fault["loc"]))
        raise ParameterError(
            f"`{name}` of tracking.yml is not valid ({fault['msg']}). Mend it in conf/*/tracking.yml."
        ) from None
    # A place on this disk is none for a server's experiments.
    is_here = settings.server.startswith("http") and "://" not in (settings.artifact_location or "")
    return settings.model_copy(update={"artifact_location": None}) if is_here else settings


# TODO(merge) tracking.server


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
