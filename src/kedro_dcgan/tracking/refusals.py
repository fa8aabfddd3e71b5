"""What the server will never take, told from what it does not take today."""

import requests
from mlflow.exceptions import MlflowException
from PIL import UnidentifiedImageError

from kedro_dcgan.errors import DataError, DiskFullError, ModelError

# Of a record's content. All else passes: MLflow calls a database that is away a bad request, for example.
_CODES = ("INVALID_PARAMETER_VALUE", "MALFORMED_REQUEST")
# Of a file: it is too large, or of a kind that the store, or a proxy before it, does not take.
_STATUSES = (400, 411, 413, 414, 415, 422)


def is_refusal(error: Exception) -> bool:
    """Tell whether the same record would be answered in the same way tomorrow, by a server that is well.

    What is not known passes, too: to be told again of what does not arrive is better than to lose it.
    """
    if isinstance(error, MlflowException):
        return error.error_code in _CODES
    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code in _STATUSES
    if isinstance(error, DiskFullError):
        return False
    # A file that is gone or damaged; a name that is no text.
    return isinstance(error, (DataError, ModelError, UnidentifiedImageError, UnicodeError))
