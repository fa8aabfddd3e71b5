"""A shared MLflow server on PostgreSQL, to which four trainings log concurrently."""

import json
import threading
import uuid
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import psycopg
import pytest
from projects import command_environment, copy_project, forked_kedro, require_program
from servers import MlflowServer, PostgresServer, wait_until

import kedro_dcgan.settings  # noqa: F401  (configures MLflow, above all its retries)
from kedro_dcgan.tracking import connection as conflicts
from kedro_dcgan.tracking.connection import TrackingSettings
from kedro_dcgan.tracking.journal import Journal, RunIdentity, milliseconds
from kedro_dcgan.tracking.run import TrackedRun

pytestmark = [
    require_program("PostgreSQL", bool(list(Path("/usr/lib/postgresql").glob("*/bin/initdb")))),
    pytest.mark.slow,
]

TRAININGS = 4
# The number of datasets that all trainings log concurrently.
ROUNDS = 12


@pytest.fixture(scope="module")
def postgres():
    made = PostgresServer().start()
    yield made
    made.stop()


@pytest.fixture
def server(postgres, tmp_path):
    made = MlflowServer(tmp_path, postgres.address).start()
    yield made
    made.kill()


def test_four_concurrent_trainings_give_four_complete_runs(server, tmp_path):
    projects = [copy_project(tmp_path / f"of-{number}") for number in range(TRAININGS)]
    projects[0].kedro("run", "--env=smoke", "--pipelines=ingestion,preprocessing")
    for project in projects[1:]:
        for folder in ("01_raw", "02_intermediate", "03_primary"):
            (project.path / "data").mkdir(exist_ok=True)
            (project.path / "data" / folder).symlink_to(projects[0].path / "data" / folder)
    command = "kedro run --env=smoke --pipelines=training --params training.images_per_tick=64,training.seed={}"
    environment = {**command_environment(), **forked_kedro(), "MLFLOW_TRACKING_URI": server.address}
    started = [
        project.start(*command.format(number).split(), env=environment) for number, project in enumerate(projects)
    ]
    for process in started:
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, output + errors
        assert "Cannot upload" not in output + errors
    client = mlflow.MlflowClient(server.address)
    runs = client.search_runs([client.get_experiment_by_name("dcgan").experiment_id])
    assert sorted(run.data.params["training.seed"] for run in runs) == ["0", "1", "2", "3"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        project = projects[int(run.data.params["training.seed"])]
        history = pd.read_json(project.path / "data/06_models/training_history.jsonl", lines=True)
        logged = sorted(
            (metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, "generator_loss")
        )
        assert [step for step, _ in logged] == history["images_seen"].tolist()
        assert np.allclose([value for _, value in logged], history["generator_loss"])
        pictures = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
        assert len([path for path in pictures if path.endswith(".png")]) == len(history) + 2
        # Artifacts are on the server only.
        assert not (project.path / "mlartifacts").exists()
        assert (
            json.loads(next(project.path.glob("data/09_tracking/*/sent.json")).read_text())["run_id"] == run.info.run_id
        )
    assert list((tmp_path / "artifacts").rglob("*.png"))


@contextmanager
def blocked_inserts(postgres, count):
    """Block inserts of a dataset until `count` clients wait for theirs, then release all of them."""
    address = postgres.address.replace("+psycopg", "")
    with psycopg.connect(address) as holding, psycopg.connect(address, autocommit=True) as watching:
        holding.execute("LOCK TABLE datasets IN EXCLUSIVE MODE")
        yield
        waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'datasets'::regclass AND NOT granted"
        wait_until(lambda: watching.execute(waiting).fetchone()[0] == count, 60)


@pytest.fixture
def recognised_conflicts(monkeypatch):
    """Errors that were recognised as conflicts."""
    met, original = [], conflicts.is_conflict

    def is_conflict(error):
        found = original(error)
        met.extend([error] if found else [])
        return found

    monkeypatch.setattr(conflicts, "is_conflict", is_conflict)
    return met


def test_runs_that_log_a_dataset_concurrently_all_have_it(postgres, server, tmp_path, recognised_conflicts, caplog):
    common = {"experiment": "race", "artifact_location": None, "run_name": None, "ui_port": 5000}
    settings = TrackingSettings(
        server=server.address, journals=tmp_path / "journals", system_metrics_seconds=0, **common
    )
    identities = [RunIdentity(uuid.uuid4().hex, "race", str(number), milliseconds()) for number in range(TRAININGS)]
    runs = [TrackedRun(settings, identity) for identity in identities]
    journals = [Journal.create(settings.journals, identity) for identity in identities]

    def all_are_uploaded():
        return all(journal.is_uploaded(settings.shown_server) for journal in journals)

    wait_until(all_are_uploaded, 60)
    for number in range(ROUNDS):
        with blocked_inserts(postgres, TRAININGS):
            for run in runs:
                run.log_dataset("faces", f"{number:02}", "faces", {})
        wait_until(all_are_uploaded, 60)
    # Repeat it while the runs end.
    ends = [threading.Thread(target=run.close, args=("FINISHED",)) for run in runs]
    with blocked_inserts(postgres, TRAININGS):
        for run, end in zip(runs, ends, strict=True):
            run.log_dataset("faces", f"{ROUNDS:02}", "faces", {})
            end.start()
    for end in ends:
        end.join()
    assert all_are_uploaded()
    client = mlflow.MlflowClient(server.address)
    for journal in journals:
        run = client.get_run(journal.upload_state(settings.shown_server).run_id)
        digests = sorted(logged.dataset.digest for logged in run.inputs.dataset_inputs)
        assert (digests, run.info.status) == ([f"{number:02}" for number in range(ROUNDS + 1)], "FINISHED")
    # In each round, one client succeeds at once.
    assert len(recognised_conflicts) == (ROUNDS + 1) * (TRAININGS - 1)
    assert {error.error_code for error in recognised_conflicts} == {"BAD_REQUEST"}
    assert "Cannot upload" not in caplog.text
