"""`dvc repro` walks the same road, runs what changed and nothing else, and makes one MLflow run a model."""

import json
import os
import signal
import time

import mlflow
import pytest
from omegaconf import OmegaConf

pytestmark = pytest.mark.usefixtures("no_tracking_uri")


@pytest.fixture
def no_tracking_uri():
    yield
    mlflow.set_tracking_uri(None)


def ran(result):
    return [line.split("'")[1] for line in result.stdout.splitlines() if line.startswith("Running stage")]


def stop_in_training(project):
    """Press Ctrl-C in `dvc repro`, which every process of the terminal gets, once there is a new checkpoint."""
    folder = project.path / "data/06_models/checkpoints"
    finished = set(folder.glob("*/0*"))
    with project.start("dvc", "repro", start_new_session=True) as process:
        while set(folder.glob("*/0*")) <= finished:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode
    assert "The same command goes on from here." in errors


def test_repro_runs_all_then_nothing_then_what_a_parameter_changes(empty_project):
    project = empty_project
    for file in (project.path / "conf/smoke").iterdir():
        base = project.path / "conf/base" / file.name
        merged = OmegaConf.merge(OmegaConf.load(base), OmegaConf.load(file))
        OmegaConf.save(merged, base)
    project.run("git", "init", "-q")
    project.run("dvc", "init", "-q")

    first = project.run("dvc", "repro")
    assert ran(first) == ["digits", "ingestion", "preprocessing", "training", "evaluation", "export"]
    assert len(list((project.path / "data/07_model_output/samples").glob("*.png"))) == 16
    run_id = json.loads((project.path / "data/06_models/training_run.json").read_text())["mlflow_run_id"]

    assert ran(project.run("dvc", "repro")) == []

    training = project.path / "conf/base/parameters_training.yml"
    values = training.read_text().replace("seed: 0", "seed: 1").replace("epochs: 1", "epochs: 8")
    training.write_text(values.replace("images_per_checkpoint: 10000", "images_per_checkpoint: 500"))
    stop_in_training(project)
    gone_on_with = project.run("dvc", "repro")
    assert "goes on from" in gone_on_with.stdout
    assert ran(gone_on_with) == ["training", "evaluation", "export"]

    mlflow.set_tracking_uri(f"sqlite:///{project.path}/mlflow.db")
    client = mlflow.MlflowClient()
    runs = client.search_runs([client.get_experiment_by_name("dcgan").experiment_id])
    assert len(runs) == 2
    assert {run.data.params["training.seed"] for run in runs} == {"0", "1"}
    assert all("fd_efflite0_64_100_test" in run.data.metrics for run in runs)
    versions = {version.run_id for version in client.search_model_versions("name='dcgan-generator-smoke'")}
    assert versions == {run.info.run_id for run in runs}
    assert run_id in versions
