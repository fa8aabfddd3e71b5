"""The tracking settings (`conf/*/tracking.yml`) and the connection to the server. Shown addresses omit passwords."""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from kedro_dcgan.config import ParameterGroup
from kedro_dcgan.errors import ParameterError, TrackingError

# `user:password@`: the password may contain anything but blanks. Over HTTP, `host:port/` is not a login, and a token
# may stand alone before the `@`.
_LOGIN = re.compile(r"(\w[\w+.-]*://)(?:([^\s/:]*:)(?!\d+(?:[/\s]|$))\S*@|[^\s/@]+@)")
_DATABASE_LOGIN = re.compile(r"((?!https?:)\b\w[\w+.-]*://[^\s/:]*:)\S*@")
_PASSWORD = re.compile(r"(?i)((?:password|passwd|pwd)(?:=|%3D))[^\s&;'\"%]+")


class TrackingSettings(ParameterGroup):
    """The content of `tracking.yml`.

    `server` is MLflow's tracking URI. `artifact_location` is where new experiments store artifacts (null: the server
    decides). `journals` is the folder of the journals.
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
        """The address without passwords. Upload states store it too."""
        return mask_passwords(self.server)


def mask_passwords(text: str) -> str:
    """Replace the passwords and tokens of all addresses in a text with `***`."""
    text = _DATABASE_LOGIN.sub(r"\1***@", text)
    return _PASSWORD.sub(r"\1***", _LOGIN.sub(lambda found: f"{found[1]}{found[2] or ''}***@", text))


def in_one_line(error: BaseException) -> str:
    """Return the message of an error in one line, without passwords, at most 300 characters."""
    return mask_passwords(" ".join(str(error).split()) or type(error).__name__)[:300]


def read_settings(loaded: Mapping[str, Any]) -> TrackingSettings:
    """Validate the content of `tracking.yml`.

    Raises:
        ParameterError: for the first invalid value.
    """
    try:
        settings = TrackingSettings.model_validate(dict(loaded))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise ParameterError(
            f"`{name}` of tracking.yml is not valid ({first['msg']}). Correct it in conf/*/tracking.yml."
        ) from None
    # A server cannot store artifacts on this disk.
    is_local = settings.server.startswith("http") and "://" not in (settings.artifact_location or "")
    return settings.model_copy(update={"artifact_location": None}) if is_local else settings


# The functions below import MLflow, which takes seconds: most commands do not need it.


def connect(settings: TrackingSettings) -> None:
    """Set the server of MLflow's fluent API."""
    import mlflow

    # It logs four lines for each failed attempt to reach a database.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(settings.server)
    mlflow.set_registry_uri(settings.server)


def ping() -> None:
    """Send a request to the server.

    Raises:
        Exception: if it does not answer, of any type.
    """
    import mlflow

    mlflow.search_experiments(max_results=1)


@contextmanager
def reachable(settings: TrackingSettings) -> Iterator[None]:
    """Report an unreachable server in one line.

    Raises:
        TrackingError: if the server does not answer.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, OSError, SQLAlchemyError, ImportError) as error:
        raise TrackingError(
            f"`{settings.shown_server}` must answer (it does not: {in_one_line(error)}). "
            "Start it, or set MLFLOW_TRACKING_URI."
        ) from None
