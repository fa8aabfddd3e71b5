"""Every mistake that a user can make ends with one line, before any work starts, and a code that is not 0."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import copy_project

CASES = {
    "missing folder": (
        "run --params ingestion.source=nowhere",
        "`ingestion.source` must be a folder of images (got {project}/nowhere, nothing there). Pass another",
    ),
    "a file, no folder": ("run --params ingestion.source=LICENSE", "/LICENSE, a file). Pass another"),
    "empty folder": ("run --params ingestion.source=empty", "must be a folder with at least one file"),
    "fewer images than a batch": (
        "run --params ingestion.source=few",
        "must hold at least one batch of `training.batch_size` 32 images (got 3 files in few). Add images",
    ),
    "nothing usable": (
        "run --pipelines=ingestion --params ingestion.source=few",
        "must hold at least one usable image (got few: 3 images scanned · 0 accepted · 3 skipped (3 not_an_image))",
    ),
    "unknown parameter": ("run --params training.batchsize=8", "Did you mean `training.batch_size`?"),
    "misspelt top-level key": ("run --params trainng.epochs=3", "Did you mean `training`?"),
    "out of range": ("run --params training.epochs=-1", "`training.epochs` must be greater than 0 (got -1). Change it"),
    "wrong type": ("run --params training.epochs=many", "`training.epochs` must be a valid number"),
    "wrong preset": ("run --env=faces46", "There are: base, faces64, odd, smoke."),
    "wrong preset of describe": ("dcgan describe --env=faces46", "There are: base, faces64, odd, smoke."),
    "misspelt pipeline": ("run --pipelines=evalute", "Did you mean one of these instead? evaluate"),
    "no generator yet": ("run --pipelines=evaluate", "must hold a trained generator (it does not). Train one"),
    "no manifest yet": ("run --pipelines=preprocessing", "manifest.parquet` must be there (it is not)"),
    "an image size that does not double": (
        "run --env=odd",
        "must be 4, 5, 6 or 7 doubled some times (got 100). The nearest sizes are 96 or 112.",
    ),
    "a device that is not there": (
        "run --params training.device=mps",
        "`training.device` must be a device of this machine (got 'mps')",
    ),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    project = copy_project(tmp_path_factory.mktemp("errors") / "kedro-dcgan")
    (project.path / "empty").mkdir()
    (project.path / "few").mkdir()
    for name in "abc":
        (project.path / "few" / f"{name}.jpg").write_text(f"no image {name}")
    (project.path / "conf/odd").mkdir()
    base = (project.path / "conf/base/parameters_preprocessing.yml").read_text()
    (project.path / "conf/odd/parameters_preprocessing.yml").write_text(base.replace("size: 32", "size: 100"))
    # The first command makes MLflow's database; two at once would both try to.
    project.run("kedro", "run", "--pipelines=ingestion", "--params=ingestion.source=few", check=False)
    with ThreadPoolExecutor(2) as pool:
        commands = {name: ("kedro", *arguments.split()) for name, (arguments, _) in CASES.items()}
        futures = {name: pool.submit(project.run, *command, check=False) for name, command in commands.items()}
        yield project, {name: future.result() for name, future in futures.items()}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_answered_in_one_line(answers, case):
    project, results = answers
    result, expected = results[case], CASES[case][1].format(project=project.path)
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    assert len(errors) == 1, result.stderr
    assert expected in errors[0]


def test_no_mistake_left_data_a_model_or_a_run(answers):
    project, _ = answers
    assert not list((project.path).glob("data/0[2-9]*"))
    with sqlite3.connect(project.path / "mlflow.db") as connection:
        assert connection.execute("select count(*) from runs").fetchone() == (0,)
