"""The commands of docs/how-to/dvc-experiments.md, and experiments that are interrupted and run again."""

import csv
import io
import json
import os
import re
import shutil
import signal
from contextlib import ExitStack
from functools import partial

import mlflow
import pytest
import yaml
from interruptions import (
    INTERRUPTIONS,
    cached,
    checkpoints,
    has_checkpoint,
    remove_half_written_lock,
    start_experiment,
    wait_for,
)
from projects import ROOT, copy_project, forked_kedro

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_tracking_uri")]

PAGE = (ROOT / "docs/how-to/dvc-experiments.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", PAGE, flags=re.DOTALL)
COMMANDS = [line.removeprefix("$ ") for block in BLOCKS for line in block.splitlines()]
SEED, DISTANCE = "conf/base/parameters_training.yml:training.seed=1", "fd_efflite0_64_100_test"


@pytest.fixture
def no_tracking_uri():
    yield
    mlflow.set_tracking_uri(None)


def experiment(project, *arguments):
    return project.run("dvc", "exp", "run", *arguments, **forked_kedro())


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The project in which all commands of the page were run, and the lock after each of them.

    The presets train as shortly as smoke.
    """
    project = copy_project(tmp_path_factory.mktemp("experiments") / "kedro-dcgan")
    (project.path / "params.yaml").write_text("preset: smoke\n")
    smoke = yaml.safe_load((project.path / "conf/smoke/parameters_training.yml").read_text())["training"]
    for preset, changes in (("smoke", {}), ("paper", {"batch_size": 32})):
        training = {**smoke, "epochs": 4, "images_per_checkpoint": 500, **changes}
        (project.path / f"conf/{preset}/parameters_training.yml").write_text(yaml.safe_dump({"training": training}))
    for name in ("evaluation", "export"):
        shutil.copy(project.path / f"conf/smoke/parameters_{name}.yml", project.path / "conf/paper")
    project.run("git", "init", "-q", "--initial-branch=main")
    for key, value in (("user.name", "someone"), ("user.email", "someone@example.com")):
        project.run("git", "config", key, value)
    project.run("dvc", "init", "-q")
    project.run("git", "add", "--all")
    project.run("git", "commit", "-q", "--message", "a state")
    locks = {}
    for command in COMMANDS:
        project.run("bash", "-c", command, **forked_kedro())
        locks[command] = lock_of(project)
    # Back to the commit of the baseline.
    project.run("git", "checkout", "-q", "-b", "start", "main~1")
    project.run("dvc", "checkout", "-q")
    return project, locks


@pytest.fixture(scope="module")
def project(results):
    return results[0]


@pytest.fixture(scope="module")
def uninterrupted(results):
    """The lock of the experiment `seed1`, which was run in the project without interruption."""
    _, locks = results
    return next(lock for command, lock in locks.items() if "--name seed1" in command)


def lock_of(project, revision=None):
    """Return the hashes of all outputs but the key of the MLflow run, in the project or at a git revision."""
    lock = project.run("git", "show", f"{revision}:dvc.lock").stdout if revision else None
    stages = yaml.safe_load(lock or (project.path / "dvc.lock").read_text())["stages"]
    outs = {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
    assert outs.pop("data/06_models/training_run.json")
    return outs


def test_experiments_are_compared_by_their_numbers(project):
    table = project.run("dvc", "exp", "show", "--csv", "--only-changed", "--drop", "(data|conf|src)/").stdout
    rows = {row["Experiment"] or row["rev"]: row for row in csv.DictReader(io.StringIO(table))}
    assert {"start", "seed1", "paper"} < set(rows)
    assert len(rows) == 6
    assert (rows["start"]["training.seed"], rows["seed1"]["training.seed"]) == ("0", "1")
    assert float(rows["start"][DISTANCE]) != float(rows["seed1"][DISTANCE])
    # Only numbers, and no column for each detail of the evaluation.
    assert len(rows["seed1"]) < 40
    (metrics,) = json.loads(project.run("dvc", "metrics", "diff", "HEAD", "seed1", "--json").stdout).values()
    assert metrics[DISTANCE]["old"] == pytest.approx(float(rows["start"][DISTANCE]))
    assert metrics[DISTANCE]["new"] == pytest.approx(float(rows["seed1"][DISTANCE]))
    (parameters,) = json.loads(project.run("dvc", "params", "diff", "HEAD", "seed1", "--json").stdout).values()
    assert {name: (value["old"], value["new"]) for name, value in parameters.items()} == {"training.seed": (0, 1)}


def test_experiments_are_compared_by_curves_classes_and_pictures(project):
    plots = project.run("dvc", "plots", "diff", "HEAD", "seed1", "--json", "--out", "dvc_plots")
    assert "WARNING" not in plots.stderr
    shown = {name.removeprefix("dvc.yaml::"): plot for name, plot in json.loads(plots.stdout)["data"].items()}
    pictures = {f"data/08_reporting/{name}.png" for name in ("compared_samples", "sample_grid")}
    assert set(shown) == {"distance to the validation split", "losses", "diversity", "classes"} | pictures
    revisions = {name: {revision for one in plot for revision in one["revisions"]} for name, plot in shown.items()}
    assert set(map(frozenset, revisions.values())) == {frozenset({"HEAD", "seed1"})}


def test_experiments_are_mlflow_runs_with_their_names(project):
    mlflow.set_tracking_uri(f"sqlite:///{project.path}/mlflow.db")
    found = mlflow.MlflowClient().search_runs(["1"])
    names = [run.data.tags["dvc.experiment"] for run in found]
    assert all(run.info.run_name.startswith(f"{name}-") for run, name in zip(found, names, strict=True))
    assert {run.info.status for run in found} == {"FINISHED"}
    # The baseline, two in the project, two in copies.
    assert len(set(names)) == 5
    assert {"baseline", "seed1", "paper"} < set(names)
    assert {run.data.params["training.seed"] for run in found} == {"0", "1", "2", "3"}
    assert all(DISTANCE in run.data.metrics for run in found)


def test_experiments_are_compared_with_our_page_by_their_names(project):
    printed = project.kedro("dcgan", "compare", "seed1", "paper").stdout
    assert "seed1-" in printed
    assert "paper-" in printed
    assert "batch_size" in printed
    assert (project.path / "data/08_reporting/comparison.html").exists()


def test_experiments_are_applied_and_made_branches(project, results, uninterrupted):
    _, locks = results
    command = next(command for command in locks if "exp apply" in command)
    assert locks[command] == lock_of(project, "main") == uninterrupted
    paper = next(lock for command, lock in locks.items() if "--name paper" in command)
    assert lock_of(project, "as-in-the-paper") == locks[COMMANDS[-1]] == paper != uninterrupted
    assert not names(project.path / "data/06_models/experiments")


def names(folder):
    return {path.name for path in folder.glob("[!.]*")}


def restore(project):
    """Return to the baseline, without what DVC and this project know of other experiments."""
    project.run("git", "checkout", "-q", "--", ".")
    project.run("dvc", "checkout", "-q")
    shutil.rmtree(project.path / ".dvc/cache/runs", ignore_errors=True)
    for folder in ("checkpoints", "experiments"):
        shutil.rmtree(project.path / "data/06_models" / folder, ignore_errors=True)


@pytest.mark.parametrize("interruptions", INTERRUPTIONS.values(), ids=INTERRUPTIONS)
def test_an_interrupted_experiment_ends_like_an_uninterrupted_one(project, uninterrupted, interruptions):
    restore(project)
    must_resume = False
    # A stage that is left behind still writes to its output, which therefore stays open.
    with ExitStack() as opened:
        for stage, moment, number, target in interruptions:
            project.before = checkpoints(project) | cached(project)
            process = opened.enter_context(start_experiment(project, stage, "-S", SEED))
            wait_for(partial(moment, project), process)
            (os.killpg if target == "terminal" else os.kill)(process.pid, number)
            assert process.wait(timeout=60)
            output = process.stdout.read() if target == "terminal" else ""
            assert not must_resume or "resumes from" in output
            must_resume = moment is has_checkpoint
            remove_half_written_lock(project)
        experiment(project, "-S", SEED)
    assert lock_of(project) == uninterrupted


def test_an_interrupted_experiment_in_a_copy_resumes_under_another_name(project, uninterrupted):
    restore(project)
    project.before = set()
    with start_experiment(project, "training", "--temp", "-S", SEED) as process:
        wait_for(lambda: has_checkpoint(project), process)
        os.killpg(process.pid, signal.SIGKILL)
    remove_half_written_lock(project)
    again = experiment(project, "--temp", "--name", "again", "-S", SEED)
    assert "resumes from" in again.stdout
    assert not names(project.path / "data/06_models/experiments")
    project.run("dvc", "exp", "apply", "again")
    assert lock_of(project) == uninterrupted
