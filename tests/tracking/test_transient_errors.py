"""Permanent errors, transient errors and conflicts, on the exceptions that MLflow, SQLAlchemy and drivers raise."""

import sqlite3

import mlflow
import psycopg
import pytest
import sqlalchemy.exc
from database_errors import (
    DATASET_EXISTS,
    LOCKED,
    raised_by_client,
    raised_by_sqlalchemy,
    raised_by_store,
    raised_by_upload,
)
from mlflow.entities import Param
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, INVALID_PARAMETER_VALUE

from kedro_dcgan.tracking.connection import is_conflict, is_permanent

NUL_IN_TEXT = psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")


def seen_by_store(error):
    return error


@pytest.mark.parametrize("seen", [seen_by_store, raised_by_client, raised_by_upload])
@pytest.mark.parametrize("code", [None, INVALID_PARAMETER_VALUE], ids=["own code", "invalid parameter"])
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DATASET_EXISTS, True),
        (sqlite3.IntegrityError("UNIQUE constraint failed: datasets.experiment_id, datasets.name"), True),
        (psycopg.errors.ForeignKeyViolation("insert or update on table"), True),
        (psycopg.errors.DeadlockDetected("deadlock detected"), True),
        (psycopg.errors.SerializationFailure("could not serialize access due to concurrent update"), True),
        (psycopg.OperationalError("could not serialize access due to concurrent update"), True),
        (LOCKED, True),
        (psycopg.OperationalError("server closed the connection unexpectedly"), False),
        (psycopg.errors.UndefinedTable("relation datasets does not exist"), False),
        (NUL_IN_TEXT, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_database_conflict_is_never_permanent(error, expected, code, seen):
    raised = seen(raised_by_store(error, code=code))
    assert is_conflict(raised) is expected
    if expected:
        assert not is_permanent(raised)


@pytest.mark.parametrize("seen", [seen_by_store, raised_by_client])
def test_a_conflict_within_an_autoflush_is_recognised(seen):
    wrapped = raised_by_sqlalchemy(DATASET_EXISTS)
    wrapped.add_detail("raised as a result of Query-invoked autoflush; consider using a session.no_autoflush block")
    assert is_conflict(seen(MlflowException(wrapped, BAD_REQUEST)))


@pytest.mark.parametrize("seen", [seen_by_store, raised_by_client])
def test_a_bad_request_is_permanent_only_for_invalid_data(seen):
    assert is_permanent(seen(raised_by_store(NUL_IN_TEXT)))
    assert not is_permanent(seen(raised_by_store(psycopg.errors.UndefinedTable("relation datasets does not exist"))))
    pool = sqlalchemy.exc.TimeoutError("QueuePool limit of size 5 overflow 10 reached")
    assert not is_permanent(seen(MlflowException(pool, BAD_REQUEST)))


@pytest.mark.parametrize("text", [str(DATASET_EXISTS), str(raised_by_store(LOCKED)), "UNIQUE constraint failed"])
def test_the_content_of_a_record_is_not_mistaken_for_a_conflict(text):
    changed = MlflowException(f"Changing param values is not allowed. new_value='{text}'", INVALID_PARAMETER_VALUE)
    assert (is_conflict(changed), is_permanent(changed)) == (False, True)
    unreachable = raised_by_store(psycopg.OperationalError("no connection"), {"value": text})
    assert (is_conflict(unreachable), is_permanent(unreachable)) == (False, False)


@pytest.mark.parametrize("log", ["log_param", "log_batch"])
def test_changing_a_parameter_is_a_permanent_error(settings, log):
    client = mlflow.MlflowClient(settings.server)
    run_id = client.create_run("0").info.run_id
    client.log_param(run_id, "a", "1")
    calls = {
        "log_param": lambda: client._tracking_client.store.log_param(run_id, Param("a", "2")),
        "log_batch": lambda: client.log_batch(run_id, params=[Param("a", "2")]),
    }
    with pytest.raises(MlflowException) as raised:
        calls[log]()
    assert (is_conflict(raised.value), is_permanent(raised.value)) == (False, True)
