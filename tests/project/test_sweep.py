"""`kedro run --pipelines=sweep`: killed and continued, its runs in MLflow, its preset and its page."""

import re
import signal
import time

import mlflow
import optuna
import pytest
import yaml
from projects import copy_project

pytestmark = pytest.mark.slow

SWEEP = {
    "sweep.kimg": 1,
    "sweep.trials": 3,
    "sweep.validations": 4,
    "sweep.confirmations": 1,
    "sweep.preset": "found",
    "training.validation_samples": 20,
    "training.deterministic": "true",
}


def command(pipelines="sweep", **changes):
    listed = ",".join(f"{key}={value}" for key, value in {**SWEEP, **changes}.items())
    return "run", "--env=smoke", f"--pipelines={pipelines}", "--params", listed


def runs(project):
    mlflow.set_tracking_uri(f"sqlite:///{project.path}/mlflow.db")
    found = mlflow.search_runs(experiment_names=["dcgan"], order_by=["start_time"])
    return found.set_index("tags.mlflow.runName")


def trials(project):
    storage = f"sqlite:///{project.path}/data/06_models/sweep/optuna.db"
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).trials


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A project with a sweep that nothing interrupted, and its output."""
    project = copy_project(tmp_path_factory.mktemp("sweep") / "kedro-dcgan")
    return project, project.kedro(*command()).stdout


def test_a_sweep_ends_with_a_page_a_preset_and_a_registered_model(whole):
    project, output = whole
    assert "registered    dcgan-digits-smoke v1" in output
    preset = project.path / "conf/found/parameters_training.yml"
    found = yaml.safe_load(preset.read_text())["training"]
    best = min((trial for trial in trials(project) if trial.state.name == "COMPLETE"), key=lambda trial: trial.value)
    assert found["generator"]["learning_rate"] == best.params["generator.learning_rate"]
    assert found["penalties"]["r1"] == best.params["penalties.r1"]
    # The preset also has what the smoke preset changes, and what --params did, but not the length of a trial.
    assert found["validation_samples"] == 20
    smoke = yaml.safe_load((project.path / "conf/smoke/parameters_training.yml").read_text())["training"]
    assert found["epochs"] == smoke["epochs"]
    assert "kimg" not in found
    html = (project.path / "data/08_reporting/sweep.html").read_text()
    assert html.count("<figcaption>trial") == sum(trial.state.name == "COMPLETE" for trial in trials(project))
    assert (
        "train" in project.kedro("run", "--env=found", "--pipelines=training", "--params", "training.kimg=0.2").stdout
    )


def test_trials_are_nested_runs(whole):
    project, _ = whole
    found = runs(project)
    (parent,) = found.index[found["tags.mlflow.parentRunId"].isna() & found.index.str.startswith("sweep-")]
    nested = found[found["tags.mlflow.parentRunId"] == found.loc[parent, "run_id"]]
    assert {f"{parent}-{number:02d}" for number in range(3)} < set(nested.index)
    assert len(nested) >= 4
    outcomes = {"completed": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}
    assert list(nested["status"]) == [outcomes[outcome] for outcome in nested["tags.outcome"]]
    assert found.loc[parent, "status"] == "FINISHED"
    inputs = [
        mlflow.get_run(run_id).inputs.dataset_inputs for run_id in [found.loc[parent, "run_id"], *nested["run_id"]]
    ]
    assert {one.dataset.digest for (one,) in inputs} == set(nested["tags.dataset_digest"])
    assert nested["params.training.penalties.r1"].nunique() == 3
    pruned = {f"{parent}-{trial.number:02d}" for trial in trials(project) if trial.user_attrs["outcome"] == "pruned"}
    assert set(nested.index[nested["tags.outcome"] == "pruned"]) == pruned
    assert mlflow.artifacts.list_artifacts(run_id=found.loc[parent, "run_id"], artifact_path="reports")
    # The evaluation belongs to the training that was selected.
    assert nested["tags.quality"].notna().sum() == 1


def test_a_sweep_killed_in_a_trial_and_between_trials_ends_the_same(whole, tmp_path):
    project, _ = whole
    other = copy_project(tmp_path / "kedro-dcgan")
    for number, after in ((signal.SIGKILL, 2), (signal.SIGTERM, 6), (signal.SIGKILL, 9)):
        process = other.start_kedro(*command())
        # Stop after some pictures: there are 5 in a whole trial.
        while len(list(other.path.glob("data/06_models/sweep/trainings/*/frames/*.png"))) < after:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == (143 if number == signal.SIGTERM else -9), errors
        if number == signal.SIGTERM:
            assert "Continue with the same command" in errors
            assert "KILLED" in set(runs(other)["status"])
    other.kedro(*command())
    ends = [
        [(trial.number, trial.params, trial.state, trial.intermediate_values) for trial in trials(one)]
        for one in (project, other)
    ]
    assert ends[0] == ends[1]
    statuses = [dict(runs(one)["status"]) for one in (project, other)]
    assert {name: status for name, status in statuses[0].items() if name.startswith("sweep-")} == statuses[1]
    assert (project.path / "conf/found/parameters_training.yml").read_text() == (
        other.path / "conf/found/parameters_training.yml"
    ).read_text()


def test_a_second_process_helps(tmp_path):
    project = copy_project(tmp_path / "kedro-dcgan")
    project.kedro(*command("ingestion,preprocessing"))
    helpers = [project.start_kedro(*command("trials", **{"sweep.trials": 6})) for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in helpers]
    numbers = [set(re.findall(r"^  trial (\d+)", output, re.MULTILINE)) for output in outputs]
    assert numbers[0] | numbers[1] == set("012345")
    assert not numbers[0] & numbers[1]
    assert all(numbers)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sweep.space.generator.learning_rat": "[1,2]"}, "generator.learning_rate"),
        ({"sweep.space.penalties.r1.low": 5}, "sweep.space.penalties.r1"),
        ({"sweep.preset": "base"}, "sweep.preset"),
        ({"training.devices": 2}, "training.devices"),
        ({"sweep.storage": "sqlite:///{project}/mlflow.db"}, "sweep.storage"),
    ],
)
def test_a_sweep_that_cannot_work_is_refused_in_one_line(whole, changes, words):
    project, _ = whole
    changes = {name: str(value).replace("{project}", str(project.path)) for name, value in changes.items()}
    refused = project.kedro(*command(**changes), check=False)
    assert refused.returncode == 1
    assert words in refused.stderr
    assert refused.stderr.count("\n") == 1
