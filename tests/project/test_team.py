"""A team's server: MLflow over PostgreSQL, to which four trainings log at once."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from conftest import copy_project, forked_kedro, required, surroundings
from servers import MlflowServer, PostgresServer

pytestmark = required("PostgreSQL", bool(list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))))

TRAININGS = 4


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


def test_four_trainings_at_once_are_four_whole_runs(server, tmp_path):
    projects = [copy_project(tmp_path / f"of-{number}") for number in range(TRAININGS)]
    projects[0].kedro("run", "--env=smoke", "--pipelines=ingestion,preprocessing")
    for project in projects[1:]:
        for folder in ("01_raw", "02_intermediate", "03_primary"):
            (project.path / "data").mkdir(exist_ok=True)
            (project.path / "data" / folder).symlink_to(projects[0].path / "data" / folder)
    command = "kedro run --env=smoke --pipelines=training --params training.images_per_tick=64,training.seed={}"
    environment = {**surroundings(), **forked_kedro(), "MLFLOW_TRACKING_URI": server.address}
    started = [
        project.start(*command.format(number).split(), env=environment) for number, project in enumerate(projects)
    ]
    for process in started:
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, output + errors
        assert "takes no records" not in output + errors
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
        assert len([path for path in pictures if path.endswith(".png")]) == len(history) + 1
        # The server has the files, and the project has none.
        assert not (project.path / "mlartifacts").exists()
        assert (
            json.loads(next(project.path.glob("data/09_tracking/*/sent.json")).read_text())["run_id"] == run.info.run_id
        )
    assert list((tmp_path / "artifacts").rglob("*.png"))
