"""Permanent errors, told from transient ones."""

import requests
from mlflow.exceptions import MlflowException
from PIL import UnidentifiedImageError

from kedro_dcgan.errors import DataError, DiskFullError, ModelError
from kedro_dcgan.tracking.transient_errors import is_conflict, is_data_error

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
