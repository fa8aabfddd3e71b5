"""`kedro run`, stopped and resumed: the same results in the same MLflow run, or a clear error."""

import random
import re
import shutil
import signal
import time

import mlflow
import pandas as pd
import pytest
import torch
from projects import copy_project

from kedro_dcgan.datasets import TrainedGeneratorDataset

pytestmark = pytest.mark.slow

RECIPE = {
    "training.kimg": 5,
    "training.discriminator.dropout": 0.2,
    "training.ema.half_life": 1000,
    "training.images_per_tick": 500,
    "training.images_per_validation": 2000,
    "training.images_per_checkpoint": 500,
    "training.validation_samples": 50,
    "training.deterministic": "true",
}


def command(pipelines="training", **changes):
    parameters = {**RECIPE, **{f"training.{key}": value for key, value in changes.items()}}
    listed = ",".join(f"{key}={value}" for key, value in parameters.items())
    return "run", "--env=smoke", f"--pipelines={pipelines}", "--params", listed


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    project = copy_project(tmp_path_factory.mktemp("prepared") / "kedro-dcgan")
    project.kedro(*command("ingestion,preprocessing"))
    return project


def copy_prepared(prepared, path):
    project = copy_project(path)
    shutil.copytree(prepared.path / "data", project.path / "data")
    return project


@pytest.fixture(scope="module")
def uninterrupted(prepared, tmp_path_factory):
    project = copy_prepared(prepared, tmp_path_factory.mktemp("uninterrupted") / "kedro-dcgan")
    project.kedro(*command())
    return project


@pytest.fixture
def project(prepared, tmp_path):
    return copy_prepared(prepared, tmp_path / "kedro-dcgan")


def checkpoints(project):
    return sorted(path.name for path in project.path.glob("data/06_models/checkpoints/*/0*"))


def checkpoints_of_all(project):
    return sorted(project.path.glob("data/06_models/checkpoints/*/0*"), key=lambda path: path.name)


def stop_training(project, number, after=1):
    """Start a training, send a signal after some new checkpoints; return the exit code and the outputs."""
    before = set(checkpoints(project))
    process = project.start_kedro(*command())
    while len(set(checkpoints(project)) - before) < after:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def runs(project):
    mlflow.set_tracking_uri(f"sqlite:///{project.path}/mlflow.db")
    return mlflow.search_runs(experiment_names=["dcgan"], order_by=["start_time"])


def history_of(project):
    return pd.read_json(project.path / "data/06_models/training_history.jsonl", lines=True)


def assert_same_results(project, uninterrupted):
    folders = [one.path / "data/06_models" for one in (uninterrupted, project)]
    first, second = (TrainedGeneratorDataset(folder / "generator").load() for folder in folders)
    assert (first.config, first.facts) == (second.config, second.facts)
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)
    pd.testing.assert_frame_equal(history_of(uninterrupted), history_of(project))
    frames = [{p.name: p.read_bytes() for p in (folder / "sample_frames").glob("*/*.png")} for folder in folders]
    assert frames[0] == frames[1]


def test_training_stopped_by_signals_resumes_in_its_mlflow_run(project, uninterrupted):
    for number, code, killed in (("SIGTERM", 143, True), ("SIGINT", 130, True), ("SIGKILL", -9, False)):
        returned, output, errors = stop_training(project, getattr(signal, number))
        assert returned == code, errors
        if killed:
            assert "stopped and saved at" in errors
            assert "Resume with the same command." in errors
            assert "Traceback" not in output + errors
            assert list(runs(project)["status"]) == ["KILLED"]
    # The number of kept checkpoints is a parameter of the run, but does not affect the training.
    assert "resumes from" in project.kedro(*command(checkpoints_kept=3)).stdout
    assert_same_results(project, uninterrupted)
    assert list(runs(project)["status"]) == ["FINISHED"]
    client = mlflow.MlflowClient()
    steps = [metric.step for metric in client.get_metric_history(runs(project)["run_id"][0], "generator_loss")]
    assert steps == list(history_of(project)["images_seen"])


def test_a_budget_is_spent_once_and_what_was_chosen_for_it_is_kept(project):
    budget = ("run", "--env=smoke", "--pipelines=training", "--params", "training.budget=12s,training.seed=3")
    process = project.start_kedro(*budget)
    while len(checkpoints(project)) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.kill()
    first, _ = process.communicate(timeout=60)
    resumed = project.kedro(*budget).stdout
    chosen = [line for line in (first + resumed).splitlines() if line.startswith("budget")]
    assert chosen[1] == f"{chosen[0]}, as before"
    assert "resumes from" in resumed
    assert "time limit reached" in resumed

    # The run has the chosen parameters, not those of the preset.
    (status,), run = runs(project)["status"], runs(project).iloc[0]
    assert status == "FINISHED"
    assert (run["params.training.budget"], run["params.training.seed"]) == ("12s", "3")
    assert f"learning rate {run['params.training.generator.learning_rate']} " in chosen[0]
    assert float(run["params.training.minutes"]) == 0.2
    # The resumed process has only the rest of the time.
    newest = checkpoints_of_all(project)[-1]
    assert torch.load(newest / "state.pt", weights_only=True)["seconds"] >= 12
    left = re.search(r"resumes from ([\d.]+) (kimg|images)", resumed)
    assert 0 < float(left[1]) * (1000 if left[2] == "kimg" else 1) < int(newest.name)
    assert "already finished" in project.kedro(*budget).stdout
    assert len(runs(project)) == 1


def test_training_stopped_before_its_first_tick_resumes(project):
    # The first training is too long to finish within a second; the resumed one is short.
    process = project.start_kedro(*command(kimg=100, images_per_tick=100_000))
    # The run is opened just before the first step.
    while not list((project.path / "data/09_tracking").glob("*/journal.jsonl")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "stopped and saved at" in errors
    assert len(checkpoints(project)) == 1
    assert len(history_of(project)) == 0
    assert "resumes from" in project.kedro(*command(images_per_tick=100_000)).stdout


def test_changed_training_is_rejected_finished_one_is_kept_and_longer_one_resumes(project, uninterrupted):
    stop_training(project, signal.SIGTERM)
    refused = project.kedro(*command(real_label=0.9), check=False)
    assert refused.returncode == 1
    assert "training.real_label was 1.0, is 0.9" in refused.stderr
    assert list(runs(project)["status"]) == ["KILLED"]

    project.kedro(*command())
    finished = checkpoints(project)
    assert "already finished" in project.kedro(*command()).stdout
    assert checkpoints(project) == finished
    assert_same_results(project, uninterrupted)
    assert len(runs(project)) == 1

    longer = project.kedro(*command(kimg=6)).stdout
    assert "resumes from 5.0 kimg" in longer
    history = history_of(project)
    assert history["images_seen"].max() == 6000
    assert list(runs(project)["status"]) == ["FINISHED", "FINISHED"]
    client = mlflow.MlflowClient()
    run_id = runs(project)["run_id"][1]
    steps = [metric.step for metric in client.get_metric_history(run_id, "generator_loss")]
    assert steps == list(history["images_seen"])
    pictures = [file.path for file in client.list_artifacts(run_id, "images") if file.path.endswith(".png")]
    assert len(pictures) == len(steps) + 2  # the untrained generator, and the latest samples

    # The other training is finished, so a changed one may start from scratch.
    assert "resumes from" not in project.kedro(*command(kimg=0.1, real_label=0.9)).stdout


def test_damaged_checkpoint_is_reported_and_the_previous_one_is_used(project, uninterrupted):
    stop_training(project, signal.SIGKILL, after=2)
    newest = project.path / "data/06_models/checkpoints"
    file = max(newest.glob("*/0*/state.pt"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    output = project.kedro(*command())
    assert f"{file.parent.name} is damaged" in output.stdout + output.stderr
    assert_same_results(project, uninterrupted)


def test_training_killed_5_times_ends_with_the_same_bits(project, uninterrupted):
    moments, kills = random.Random(time.time_ns()), 0
    while kills < 5:
        with project.start("kedro", *command()) as process:
            time.sleep(moments.uniform(3, 8))
            process.kill()
            process.communicate()
        if process.returncode == 0:
            # It finished before it was killed: start from scratch.
            assert_same_results(project, uninterrupted)
            shutil.rmtree(project.path / "data/06_models/checkpoints")
        kills += process.returncode != 0
    project.kedro(*command())
    assert_same_results(project, uninterrupted)
