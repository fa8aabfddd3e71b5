"""Database conflicts: two clients write the same row at once. The loser retries soon.

What MLflow 3.17 raises (`store/db/utils.py` wraps each session, `store/tracking/sqlalchemy_store.py` has exceptions):

| call | cause | error code |
|---|---|---|
| `log_inputs` | two runs insert the same dataset at once (`dataset_pk`: experiment, name, digest) | BAD_REQUEST |
| `log_batch`, params | two clients insert the same new parameter at once | BAD_REQUEST |
| `log_batch`, `log_param` | the run has the parameter with another value: no conflict | INVALID_PARAMETER_VALUE |
| `log_batch`, metrics | the run has the metric: MLflow skips it | none |
| `log_batch`, tags | MLflow itself retries three times | INTERNAL_ERROR in the end |
| `set_tag`, aliases and tags of models | select, then insert: two clients insert at once | BAD_REQUEST |
| `create_experiment` | another run was faster: `remote` looks it up | RESOURCE_ALREADY_EXISTS |
| any | deadlock, serialization failure, locked SQLite file (OperationalError) | TEMPORARILY_UNAVAILABLE |
| any | another error of SQLAlchemy: data that do not fit, no free connection | BAD_REQUEST |

The error code alone does not identify a conflict, nor does the HTTP status: BAD_REQUEST and INVALID_PARAMETER_VALUE are
both 400. The message does. MLflow passes on SQLAlchemy's, which starts with the class of the driver's exception:
`(psycopg.errors.UniqueViolation) duplicate key value violates unique constraint "dataset_pk"`. Only that first line
counts: the values of the record follow, and may contain any text.
"""

import random
import re
from collections.abc import Callable
from time import sleep
from typing import TypeVar

import requests
from mlflow.exceptions import MlflowException
from PIL import UnidentifiedImageError

from kedro_dcgan.errors import DataError, DiskFullError, ModelError

_Result = TypeVar("_Result")

# Seconds before each retry. The jitter keeps clients that collided from colliding again.
_PAUSES = (0.2, 0.4, 0.8, 1.6)
_JITTER = (0.5, 1.5)

_DRIVER_ERROR = re.compile(r"(?:[A-Z_]+: )?(?:\(raised as a result of [^)]*\)\s*)?\((?:\w+\.)+(\w+)\) ([^\n]*)")
_INTEGRITY = re.compile(
    r"IntegrityError|(?:Unique|ForeignKey|NotNull|Check|Exclusion|Restrict|IntegrityConstraint)Violation"
)
# psycopg names the subclasses of its DataError.
_DATA = (
    "DataError",
    "StringDataRightTruncation",
    "NumericValueOutOfRange",
    "CharacterNotInRepertoire",
    "UntranslatableCharacter",
    "InvalidTextRepresentation",
)
_LOCKING = re.compile(r"(?i)deadlock|SerializationFailure|could not serialize|is locked|lock wait timeout")


def is_conflict(error: Exception) -> bool:
    """Tell whether the database rolled the transaction back because of a concurrent one, as far as the error says."""
    name, message = _driver_error(error)
    return is_integrity_error(error) or bool(name and _LOCKING.search(f"{name} {message}"))


def is_integrity_error(error: Exception) -> bool:
    """Tell whether a row violates a constraint: a conflict, or a fault of the record if all retries fail as well."""
    return bool(_INTEGRITY.fullmatch(_driver_error(error)[0]))


def is_data_error(error: Exception) -> bool:
    """Tell whether the database cannot store a value, such as text with a NUL character in PostgreSQL."""
    return _driver_error(error)[0] in _DATA


def retry_conflicts(send: Callable[[], _Result]) -> _Result:
    """Call `send`; retry it after a conflict, at most four times within about three seconds. Return its result.

    Raises:
        Exception: any other error of `send`, and the conflict of the last retry.
    """
    for pause in _PAUSES:
        try:
            return send()
        except Exception as error:
            if not is_conflict(error):
                raise
        sleep(pause * random.uniform(*_JITTER))  # noqa: S311  (no secret)
    return send()


def _driver_error(error: Exception) -> tuple[str, str]:
    # The class of the driver's exception and the first line of its message; empty if it is no database error.
    found = _DRIVER_ERROR.match(_message(error))
    return (found[1], found[2]) if found else ("", "")


def _message(error: Exception) -> str:
    # MLflow's client raises requests' HTTPError for an upload, and its own RestException for all else.
    if not isinstance(error, requests.HTTPError) or error.response is None:
        return str(error)
    try:
        return str(error.response.json()["message"])
    except (ValueError, LookupError, TypeError):
        return ""


# TODO(merge) tracking.refusals

# The record's content is not valid: a name that MLflow does not allow, a parameter that the run has with another value.
# All other codes are transient. BAD_REQUEST too: MLflow gives it to most errors of its database (see `conflicts`).
_CODES = ("INVALID_PARAMETER_VALUE", "MALFORMED_REQUEST")
# The file is too large, or the store, or a proxy before it, does not take its kind.
_STATUSES = (400, 411, 413, 414, 415, 422)


def is_refusal(error: Exception) -> bool:
    """Tell whether an error is permanent: a healthy server will never accept this record.

    The list is closed. An unknown error is transient: a retry that fails costs less than a lost record.
    """
    if is_conflict(error):
        return False
    if isinstance(error, MlflowException):
        return error.error_code in _CODES or is_data_error(error)
    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code in _STATUSES
    if isinstance(error, DiskFullError):
        return False
    # A file that is gone or damaged; a name that is no text.
    return isinstance(error, (DataError, ModelError, UnidentifiedImageError, UnicodeError))
