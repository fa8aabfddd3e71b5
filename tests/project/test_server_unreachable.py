"""`kedro run` while the tracking server is unreachable, and the upload of its records with `kedro dcgan sync`."""

from pathlib import Path

import mlflow
import pandas as pd
import pytest
from servers import MlflowServer

from kedro_dcgan import settings

pytestmark = pytest.mark.slow

SECRET = "a-secret-word"


@pytest.fixture
def server(tmp_path):
    made = MlflowServer(tmp_path)
    yield made
    made.kill()


def test_sync_uploads_a_run_made_without_a_server_and_shows_no_password(empty_project, server):
    project = empty_project
    environment = {"MLFLOW_TRACKING_URI": f"http://me:{SECRET}@127.0.0.1:{server.port}"}
    result = project.kedro("run", "--env=smoke", **environment)
    output = result.stdout + result.stderr
    assert "Cannot upload to MLflow" in output
    # Not `--model NAME@candidate`, which would be an older generator as long as the registration is pending.
    (suggested,) = [line for line in output.splitlines() if line.startswith("next ")]
    assert "kedro dcgan sync · kedro dcgan sample" in suggested
    assert "--model" not in suggested
    assert "last exported generator" in project.kedro("dcgan", "sample", "--output=mine", **environment).stdout
    assert "Traceback" not in output
    assert f"http://me:***@127.0.0.1:{server.port}" in output
    refused = project.kedro("dcgan", "sync", check=False, **environment)
    assert refused.returncode == 1
    assert "must answer" in refused.stderr
    results = [
        project.kedro("dcgan", *verb.split(), check=False, **environment)
        for verb in ("promote --version=1", "rollback", "serve", "compare", "ui")
    ]
    results += [project.kedro("dcgan", "sample", "--output=new", "--model=any@candidate", check=False, **environment)]
    for result in results:
        assert result.returncode == 1
        assert "must answer" in result.stderr
    server.start()
    synced = project.kedro("dcgan", "sync", **environment)
    assert "registered    dcgan-digits-smoke v1 (candidate, champion)" in synced.stdout
    assert "No pending records" in project.kedro("dcgan", "sync", **environment).stdout
    outputs = [
        output,
        refused.stderr,
        *(result.stdout + result.stderr for result in results),
        synced.stdout,
        synced.stderr,
    ]
    files = [path for path in (project.path / "data").rglob("*") if path.is_file()]
    assert not [text for text in outputs if SECRET in text]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]

    client = mlflow.MlflowClient(server.address)
    (run,) = client.search_runs([client.get_experiment_by_name("dcgan").experiment_id])
    history = pd.read_json(project.path / "data/06_models/training_history.jsonl", lines=True)
    logged = client.get_metric_history(run.info.run_id, "generator_loss")
    assert [metric.step for metric in logged] == history["images_seen"].tolist()
    assert run.info.status == "FINISHED"
    # Times are those of the run, not of the upload.
    assert run.info.end_time - run.info.start_time < 120_000
    assert max(metric.timestamp for metric in logged) <= run.info.end_time
    assert SECRET not in str(run.to_dictionary())


@pytest.mark.parametrize("project", ["/home/me/faces", "/home/me/faces/.dvc/tmp/exps/tmpa1b2"])
def test_queued_dvc_experiments_log_to_the_database_of_the_project(monkeypatch, project):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(settings, "_PROJECT", Path(project))
    assert settings._tracking_uri() == "sqlite:////home/me/faces/mlflow.db"
    assert settings.CONFIG_LOADER_ARGS["custom_resolvers"]["artifact_location"]() == "/home/me/faces/mlartifacts"
