"""Database conflicts are retried soon, in the upload thread. A record that always fails does not block the journal."""

import sqlite3
import threading

import mlflow
import psycopg
import pytest
from database_errors import DATASET_EXISTS, LOCKED, LOG_BATCH, LOG_INPUTS, raised_by_store
from mlflow.exceptions import MlflowException
from servers import Proxy, wait_until

import kedro_dcgan.settings  # noqa: F401  (configures MLflow, above all its retries)
from kedro_dcgan.tracking import connection
from kedro_dcgan.tracking.journal import Journal
from kedro_dcgan.tracking.run import TrackedRun
from kedro_dcgan.tracking.uploader import upload_journal


@pytest.fixture
def short_pauses(monkeypatch):
    monkeypatch.setattr(connection, "_PAUSES", (0.01,) * 4)


@pytest.fixture
def journal(settings, identity):
    return Journal.create(settings.journals, identity)


def add_dataset(journal, digest="01"):
    journal.add("dataset", name="faces", digest=digest, source="faces", tags={})


def upload(journal, settings):
    return sum(count for count, _ in upload_journal(journal, settings))


def digests_of(server, run_id):
    run = mlflow.MlflowClient(server).get_run(run_id)
    return sorted(one.dataset.digest for one in run.inputs.dataset_inputs)


def test_a_parameter_that_another_client_set_meanwhile_is_skipped_without_a_retry(journal, settings, monkeypatch):
    original = mlflow.MlflowClient.get_run

    def get_run_before_the_other_client(client, run_id):
        run = original(client, run_id)
        run.data.params.clear()
        return run

    monkeypatch.setattr(mlflow.MlflowClient, "get_run", get_run_before_the_other_client)
    monkeypatch.setattr(connection, "sleep", lambda seconds: pytest.fail("a retry is useless"))
    for value in (1, 2):
        journal.add("parameters", values={"a": value})
    journal.add("tags", values={"b": "c"})
    assert upload(journal, settings) == 3
    monkeypatch.undo()
    run = mlflow.MlflowClient(settings.server).get_run(journal.upload_state(settings.shown_server).run_id)
    assert (run.data.params["a"], run.data.tags["b"]) == ("1", "c")


@pytest.mark.slow
def test_a_conflict_is_retried_soon(journal, server, settings, caplog):
    body = raised_by_store(DATASET_EXISTS).serialize_as_json()
    proxy = Proxy(server.start().address, first_answers={LOG_INPUTS: [body], LOG_BATCH: [body, body]})
    settings = settings.model_copy(update={"server": proxy.address, "artifact_location": None})
    for digest in ("01", "02"):
        add_dataset(journal, digest)
    journal.add("metrics", step=1, values={"loss": 1.0})
    assert upload(journal, settings) == 3
    run_id = journal.upload_state(settings.shown_server).run_id
    assert digests_of(server.address, run_id) == ["01", "02"]
    assert len(mlflow.MlflowClient(server.address).get_metric_history(run_id, "loss")) == 1
    for path in (LOG_INPUTS, LOG_BATCH):
        assert len(proxy.times[path]) == 3
        assert proxy.times[path][1] - proxy.times[path][0] > connection._PAUSES[0] * connection._JITTER[0]
    assert not [record for record in caplog.records if record.name.startswith("kedro_dcgan")]
    proxy.stop()


def test_creating_a_run_is_retried_after_a_conflict(journal, settings, monkeypatch, short_pauses):
    original, calls = mlflow.MlflowClient.create_run, []

    def create_run(*arguments, **values):
        calls.append(arguments)
        if len(calls) == 1:
            raise raised_by_store(LOCKED)
        return original(*arguments, **values)

    monkeypatch.setattr(mlflow.MlflowClient, "create_run", create_run)
    add_dataset(journal)
    assert upload(journal, settings) == 1
    assert len(calls) == 2


@pytest.mark.slow
def test_conflicts_at_the_end_of_a_run_lose_no_record_and_do_not_block(server, settings, identity, monkeypatch, caplog):
    body = raised_by_store(DATASET_EXISTS).serialize_as_json()
    proxy = Proxy(server.start().address, first_answers={LOG_INPUTS: [body] * 3})
    settings = settings.model_copy(update={"server": proxy.address, "artifact_location": None})
    run, journal = TrackedRun(settings, identity), Journal.create(settings.journals, identity)
    wait_until(lambda: journal.is_uploaded(settings.shown_server), 60)
    is_waiting, proceed = threading.Event(), threading.Event()
    monkeypatch.setattr(connection, "sleep", lambda seconds: (is_waiting.set(), proceed.wait(60)))
    run.log_dataset("faces", "01", "faces", {})
    assert is_waiting.wait(60)
    for step in range(20):
        run.log_tick({"discriminator_loss": 1.0}, step)
    # The run ends while a retry is pending.
    assert not proceed.is_set()
    threading.Timer(0.5, proceed.set).start()
    run.close("FINISHED")
    assert journal.is_uploaded(settings.shown_server)
    run_id = journal.upload_state(settings.shown_server).run_id
    assert digests_of(server.address, run_id) == ["01"]
    assert mlflow.MlflowClient(server.address).get_run(run_id).info.status == "FINISHED"
    assert "Cannot upload" not in caplog.text
    proxy.stop()


def test_metrics_that_were_written_before_a_conflict_are_not_duplicated(journal, settings, monkeypatch, short_pauses):
    original, calls = mlflow.MlflowClient.log_batch, []

    def log_batch(*arguments, **values):
        original(*arguments, **values)
        calls.append(values)
        if len(calls) < 3:
            raise raised_by_store(psycopg.errors.DeadlockDetected("deadlock detected"))

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", log_batch)
    for step in (1, 2, 3):
        journal.add("metrics", step=step, values={"loss": 1 / step})
    assert upload(journal, settings) == 3
    history = mlflow.MlflowClient(settings.server).get_metric_history(
        journal.upload_state(settings.shown_server).run_id, "loss"
    )
    assert ([metric.step for metric in history], len(calls)) == ([1, 2, 3], 3)


def test_a_record_that_always_violates_a_constraint_is_skipped(journal, settings, tmp_path, short_pauses, caplog):
    journal.add("tags", values={"a": "b"})
    upload(journal, settings)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute(
            "CREATE TRIGGER never BEFORE INSERT ON datasets WHEN NEW.digest = '02' "
            "BEGIN SELECT RAISE(ABORT, 'never'); END"
        )
    for digest in ("01", "02", "03"):
        add_dataset(journal, digest)
    assert upload(journal, settings) == 3
    assert journal.is_uploaded(settings.shown_server)
    assert digests_of(settings.server, journal.upload_state(settings.shown_server).run_id) == ["01", "03"]
    assert caplog.text.count("of kind dataset") == 1


def test_a_locked_database_loses_no_record(journal, settings, monkeypatch, short_pauses):
    original, calls = mlflow.MlflowClient.log_inputs, []

    def locked(*arguments):
        calls.append(arguments)
        raise raised_by_store(LOCKED)

    monkeypatch.setattr(mlflow.MlflowClient, "log_inputs", locked)
    add_dataset(journal)
    with pytest.raises(MlflowException, match="locked"):
        upload(journal, settings)
    assert len(calls) == 1 + len(connection._PAUSES)
    monkeypatch.setattr(mlflow.MlflowClient, "log_inputs", original)
    assert upload(journal, settings) == 1


def test_clients_that_collided_retry_at_different_times(monkeypatch):
    pauses = []
    monkeypatch.setattr(connection, "sleep", pauses.append)

    def always():
        raise raised_by_store(DATASET_EXISTS)

    for _ in range(4):
        with pytest.raises(MlflowException):
            connection.retry_conflicts(always)
    firsts = pauses[:: len(connection._PAUSES)]
    assert len(set(firsts)) == 4
    assert max(firsts) < 1
