"""Classify the exceptions of MLflow and its database: permanent errors, transient errors and conflicts.

A permanent error is caused by the record: the server will never accept it. A conflict occurs when two clients write
the same row at once; the loser retries within seconds. All other errors are transient. MLflow 3.17 raises these
(`store/db/utils.py` wraps each session, `store/tracking/sqlalchemy_store.py` handles exceptions):

| call | cause | error code |
|---|---|---|
| `log_inputs` | two runs insert the same dataset at once (`dataset_pk`: experiment, name, digest) | BAD_REQUEST |
| `log_batch`, params | two clients insert the same new parameter at once | BAD_REQUEST |
| `log_batch`, `log_param` | the run has the parameter with another value: no conflict | INVALID_PARAMETER_VALUE |
| `log_batch`, metrics | the run has the metric: MLflow skips it | none |
| `log_batch`, tags | MLflow itself retries three times | INTERNAL_ERROR in the end |
| `set_tag`, aliases and tags of models | select, then insert: two clients insert at once | BAD_REQUEST |
| `create_experiment` | another run created it first: `records` looks it up | RESOURCE_ALREADY_EXISTS |
| any | deadlock, serialization failure, locked SQLite file (OperationalError) | TEMPORARILY_UNAVAILABLE |
| any | another error of SQLAlchemy: invalid data, no free connection | BAD_REQUEST |

Neither the error code nor the HTTP status identifies a conflict: BAD_REQUEST and INVALID_PARAMETER_VALUE are both 400.
The message does. MLflow passes on SQLAlchemy's, which starts with the class of the driver's exception:
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

# Codes for invalid records: a name that MLflow does not allow, a parameter with another value than in the run. Most
# errors of its database have BAD_REQUEST, which is therefore transient.
_PERMANENT_CODES = ("INVALID_PARAMETER_VALUE", "MALFORMED_REQUEST")
# HTTP statuses of an upload if the store, or a proxy, does not accept the size or the type of the file.
_PERMANENT_STATUSES = (400, 411, 413, 414, 415, 422)

_DRIVER_ERROR = re.compile(r"(?:[A-Z_]+: )?(?:\(raised as a result of [^)]*\)\s*)?\((?:\w+\.)+(\w+)\) ([^\n]*)")
_INTEGRITY = re.compile(
    r"IntegrityError|(?:Unique|ForeignKey|NotNull|Check|Exclusion|Restrict|IntegrityConstraint)Violation"
)
# psycopg raises subclasses of its DataError.
_DATA = (
    "DataError",
    "StringDataRightTruncation",
    "NumericValueOutOfRange",
    "CharacterNotInRepertoire",
    "UntranslatableCharacter",
    "InvalidTextRepresentation",
)
_LOCKING = re.compile(r"(?i)deadlock|SerializationFailure|could not serialize|is locked|lock wait timeout")


def retry_conflicts(call: Callable[[], _Result]) -> _Result:
    """Return the result of `call`. Retry it after a conflict, at most four times within about three seconds.

    Raises:
        Exception: any other error of `call`, and the conflict of the last retry.
    """
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
    if is_conflict(error):
        return False
    if isinstance(error, MlflowException):
        # The database cannot store a value, such as text with a NUL character in PostgreSQL.
        return error.error_code in _PERMANENT_CODES or _driver_error(error)[0] in _DATA
    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code in _PERMANENT_STATUSES
    if isinstance(error, DiskFullError):
        return False
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
    message = str(error)
    # MLflow's client raises requests' HTTPError for an upload, and its own RestException otherwise.
    if isinstance(error, requests.HTTPError) and error.response is not None:
        try:
            message = str(error.response.json()["message"])
        except (ValueError, LookupError, TypeError):
            message = ""
    found = _DRIVER_ERROR.match(message)
    return (found[1], found[2]) if found else ("", "")
