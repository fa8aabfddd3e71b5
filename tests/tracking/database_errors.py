"""Database errors as MLflow's store raises them, its server returns them, and its client raises them again."""

import sqlite3

import psycopg
import pytest
import requests
import sqlalchemy.exc
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, TEMPORARILY_UNAVAILABLE
from mlflow.utils.request_utils import augmented_raise_for_status
from mlflow.utils.rest_utils import verify_rest_response

LOG_BATCH, LOG_INPUTS = "/api/2.0/mlflow/runs/log-batch", "/api/2.0/mlflow/runs/log-inputs"
DATASET_EXISTS = psycopg.errors.UniqueViolation(
    'duplicate key value violates unique constraint "dataset_pk"\nDETAIL:  Key (experiment_id, name, digest)=(1, a, b)'
)
LOCKED = sqlite3.OperationalError("database is locked")


def raised_by_sqlalchemy(error, values=None):
    """Return SQLAlchemy's exception for an error of a database driver."""
    base = sqlite3.Error if isinstance(error, sqlite3.Error) else psycopg.Error
    return sqlalchemy.exc.DBAPIError.instance("INSERT INTO datasets …", values or {}, error, base)


def raised_by_store(error, values=None, code=None):
    """Return MLflow's exception for an error of a database driver."""
    wrapped = raised_by_sqlalchemy(error, values)
    is_operational = isinstance(wrapped, sqlalchemy.exc.OperationalError)
    return MlflowException(wrapped, code or (TEMPORARILY_UNAVAILABLE if is_operational else BAD_REQUEST))


def response_to(error):
    """Return the server's response to a request during which its store raised an error."""
    response = requests.Response()
    response.status_code, response._content = error.get_http_status_code(), error.serialize_as_json().encode()
    return response


def raised_by_client(error):
    """Return the exception of MLflow's client for the server's response."""
    with pytest.raises(RestException) as raised:
        verify_rest_response(response_to(error), LOG_INPUTS)
    return raised.value


def raised_by_upload(error):
    """Return the exception of MLflow's client for the server's response to an upload."""
    with pytest.raises(requests.HTTPError) as raised:
        augmented_raise_for_status(response_to(error))
    return raised.value
