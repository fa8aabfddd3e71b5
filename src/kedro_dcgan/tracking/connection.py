"""The MLflow server: the settings (`conf/*/tracking.yml`), the connection, and which errors are worth a retry.

Functions import MLflow themselves: it takes seconds, and most commands do not need it.

A permanent error is caused by the record: the server will never accept it. A conflict occurs when two clients write
the same row at once; the loser retries within seconds. All other errors are transient. MLflow 3.17 raises these
(`store/db/utils.py` wraps each session, `store/tracking/sqlalchemy_store.py` handles exceptions):

| call | cause | error code |
|---|---|---|
| `log_inputs` | two runs insert the same dataset at once (`dataset_pk`: experiment, name, digest) | BAD_REQUEST |
| `log_batch`, params | two clients insert the same new parameter at once | BAD_REQUEST |
| `log_batch`, `log_param` | the run has the parameter with another value: no conflict | INVALID_PARAMETER_VALUE |
| `set_tag`, aliases and tags of models | select, then insert: two clients insert at once | BAD_REQUEST |
| `create_experiment` | another run created it first: `records` looks it up | RESOURCE_ALREADY_EXISTS |
| any | deadlock, serialization failure, locked SQLite file (OperationalError) | TEMPORARILY_UNAVAILABLE |
| any | another error of SQLAlchemy: invalid data, no free connection | BAD_REQUEST |

Neither the error code nor the HTTP status identifies a conflict: BAD_REQUEST and INVALID_PARAMETER_VALUE are both 400.
The message does. MLflow passes on SQLAlchemy's, which starts with the class of the driver's exception:
`(psycopg.errors.UniqueViolation) duplicate key value violates unique constraint "dataset_pk"`. Only that first line
counts: the values of the record follow, and may contain any text.
"""

import logging
import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import UnidentifiedImageError
from pydantic import Field, ValidationError

from kedro_dcgan.config import ParameterGroup
from kedro_dcgan.errors import DataError, DiskFullError, ModelError, ParameterError, TrackingError
from kedro_dcgan.tracking.database import create_database

if TYPE_CHECKING:
    from mlflow import MlflowClient

_Result = TypeVar("_Result")

# `user:password@`: the password may contain anything but blanks. Over HTTP, `host:port/` is not a login, and a token
# may stand alone before the `@`.
_LOGIN = re.compile(r"(\w[\w+.-]*://)(?:([^\s/:]*:)(?!\d+(?:[/\s]|$))\S*@|[^\s/@]+@)")
_DATABASE_LOGIN = re.compile(r"((?!https?:)\b\w[\w+.-]*://[^\s/:]*:)\S*@")
_PASSWORD = re.compile(r"(?i)((?:password|passwd|pwd)(?:=|%3D))[^\s&;'\"%]+")

# Seconds before each retry. The jitter keeps clients that collided from colliding again.
_PAUSES, _JITTER = (0.2, 0.4, 0.8, 1.6), (0.5, 1.5)
# Codes for invalid records: a name that MLflow does not allow, a parameter with another value than in the run. Most
# errors of its database have BAD_REQUEST, which is therefore transient.
_PERMANENT_CODES = ("INVALID_PARAMETER_VALUE", "MALFORMED_REQUEST")
# HTTP statuses of an upload if the store, or a proxy, does not accept the size or the type of the file.
_PERMANENT_STATUSES = (400, 411, 413, 414, 415, 422)

# The class of the driver's exception and the first line of its message.
_DRIVER_ERROR = re.compile(r"(?:[A-Z_]+: )?(?:\(raised as a result of [^)]*\)\s*)?\((?:\w+\.)+(\w+)\) ([^\n]*)")
_INTEGRITY = re.compile(
    r"IntegrityError|(?:Unique|ForeignKey|NotNull|Check|Exclusion|Restrict|IntegrityConstraint)Violation"
)
# psycopg raises subclasses of its DataError.
_DATA = re.compile(
    r"DataError|StringDataRightTruncation|NumericValueOutOfRange|CharacterNotInRepertoire|UntranslatableCharacter"
    r"|InvalidTextRepresentation"
)
_LOCKING = re.compile(r"(?i)deadlock|SerializationFailure|could not serialize|is locked|lock wait timeout")


class TrackingSettings(ParameterGroup):
    """The content of `tracking.yml`."""

    # MLflow's tracking URI.
    server: str = Field(min_length=1)
    # Where new experiments store artifacts; null: the server decides.
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


def read_settings(loaded: Mapping[str, Any]) -> TrackingSettings:
    """Validate the content of `tracking.yml`; raise ParameterError for the first invalid value."""
    try:
        settings = TrackingSettings.model_validate(dict(loaded))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise ParameterError(f"`{name}` of tracking.yml is not valid ({first['msg']}). Correct it in conf/.") from None
    # A server cannot store artifacts on this disk.
    is_local = settings.server.startswith("http") and "://" not in (settings.artifact_location or "")
    return settings.model_copy(update={"artifact_location": None}) if is_local else settings


def mask_passwords(text: str) -> str:
    """Replace the passwords and tokens of all addresses in a text with `***`."""
    text = _DATABASE_LOGIN.sub(r"\1***@", text)
    return _PASSWORD.sub(r"\1***", _LOGIN.sub(lambda match: f"{match[1]}{match[2] or ''}***@", text))


def in_one_line(error: BaseException) -> str:
    """Return the message of an error in one line, without passwords, at most 300 characters."""
    return mask_passwords(" ".join(str(error).split()) or type(error).__name__)[:300]


def connect(settings: TrackingSettings) -> None:
    """Set the server of MLflow's fluent API; create its database if that is a file which does not exist yet."""
    import mlflow

    # MLflow logs four lines for each failed attempt to reach a database.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.ERROR)
    create_database(settings.server, settings.journals)
    mlflow.set_tracking_uri(settings.server)
    mlflow.set_registry_uri(settings.server)


def create_experiment(client: "MlflowClient", name: str, artifact_location: str | None) -> None:
    """Create an experiment, unless it exists."""
    from mlflow.exceptions import MlflowException

    try:
        # The UI then shows model training first, not language models.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        client.create_experiment(name, artifact_location, kind)
    except MlflowException as error:
        # Another run may have created it in between.
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def ping() -> None:
    """Send a request to the server; an error of any type means that it does not answer."""
    import mlflow

    mlflow.search_experiments(max_results=1)


@contextmanager
def reachable(settings: TrackingSettings) -> Iterator[None]:
    """Raise TrackingError if the server does not answer."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, OSError, SQLAlchemyError, ImportError) as error:
        raise TrackingError(
            f"`{settings.shown_server}` must answer (it does not: {in_one_line(error)}). "
            "Start it, or set MLFLOW_TRACKING_URI."
        ) from None


def retry_conflicts(call: Callable[[], _Result]) -> _Result:
    """Return the result of `call`. Retry it after a conflict, at most four times within about three seconds."""
    for pause in _PAUSES:
        try:
            return call()
        except Exception as error:
            if not is_conflict(error):
                raise
        sleep(pause * random.uniform(*_JITTER))  # noqa: S311  (not for security)
    return call()


def is_permanent(error: Exception) -> bool:
    """Return whether an error is permanent: a healthy server will never accept this record.

    The list is closed. An unknown error is transient, because a failed retry costs less than a lost record.
    """
    import requests
    from mlflow.exceptions import MlflowException

    if is_conflict(error) or isinstance(error, DiskFullError):
        return False
    if isinstance(error, MlflowException):
        # The database cannot store a value, such as text with a NUL character in PostgreSQL.
        return error.error_code in _PERMANENT_CODES or bool(_DATA.fullmatch(_driver_error(error)[0]))
    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code in _PERMANENT_STATUSES
    # An attachment is missing or damaged, or a name is not valid text.
    return isinstance(error, (DataError, ModelError, UnidentifiedImageError, UnicodeError))


def is_conflict(error: Exception) -> bool:
    """Return whether the database rolled the transaction back because of a concurrent one."""
    name, message = _driver_error(error)
    return is_integrity_error(error) or bool(name and _LOCKING.search(f"{name} {message}"))


def is_integrity_error(error: Exception) -> bool:
    """Return whether a row violates a constraint: a conflict, or an invalid record if all retries fail as well."""
    return bool(_INTEGRITY.fullmatch(_driver_error(error)[0]))


def _driver_error(error: Exception) -> tuple[str, str]:
    # The class of the driver's exception and the first line of its message; empty for other errors.
    import requests

    message = str(error)
    # MLflow's client raises requests' HTTPError for an upload, and its own RestException otherwise.
    if isinstance(error, requests.HTTPError) and error.response is not None:
        try:
            message = str(error.response.json()["message"])
        except (ValueError, LookupError, TypeError):
            message = ""
    match = _DRIVER_ERROR.match(message)
    return (match[1], match[2]) if match else ("", "")
