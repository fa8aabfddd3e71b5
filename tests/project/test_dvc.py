"""`dvc repro` runs only the stages that changed, resumes a stopped training, and makes one MLflow run per model."""

import json
import os
import signal
import time

import mlflow
import pytest
import yaml
from dvc.repo import Repo
from omegaconf import OmegaConf
from projects import forked_kedro

from kedro_dcgan.config import Parameters

pytestmark = pytest.mark.usefixtures("no_tracking_uri")


@pytest.fixture
def no_tracking_uri():
    yield
    mlflow.set_tracking_uri(None)


def stages_run(output):
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def repro(project, *stages):
    return project.run("dvc", "repro", *stages, **forked_kedro())


def stop_in_training(project):
    """Send Ctrl-C to `dvc repro` and all its processes, like a terminal, once there is a checkpoint.

    It uses the real `kedro`, because the processes of the fork server are not in this process group.
    """
    with project.start("dvc", "repro", start_new_session=True) as process:
        while not list(project.path.glob("data/06_models/checkpoints/*/0*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode
    assert "Resume with the same command." in errors
    return output


@pytest.fixture
def project(empty_project):
    """A DVC project whose stages take seconds: its preset is smoke."""
    (empty_project.path / "params.yaml").write_text("preset: smoke\n")
    set_training(empty_project, epochs=4, images_per_checkpoint=500)
    empty_project.run("git", "init", "-q")
    empty_project.run("dvc", "init", "-q")
    return empty_project


def set_training(project, **values):
    file = project.path / "conf/smoke/parameters_training.yml"
    OmegaConf.save(OmegaConf.merge(OmegaConf.load(file), {"training": values}), file)


def stages_of(project):
    """Return the stages with the variables of params.yaml filled in."""
    with Repo(str(project.path), uninitialized=True) as repo:
        return {stage.name: stage for stage in repo.index.stages}


@pytest.mark.parametrize("preset", ["local", "base", "images64", "smoke"])
def test_variable_chooses_the_preset_of_all_commands_and_its_files(empty_project, preset):
    if preset != "local":
        (empty_project.path / "params.yaml").write_text(f"preset: {preset}\n")
    stages = stages_of(empty_project)
    assert all(f" --env={preset} " in f"{stage.cmd} " for name, stage in stages.items() if name != "digits")
    deps = {dep.def_path for dep in stages["parameters"].deps}
    assert {"conf/base", f"conf/{preset}"} <= deps
    # The images are those of conf/base, whatever the preset says: DVC hashes them.
    assert "data/01_raw/digits" in {dep.def_path for dep in stages["ingestion"].deps}
    assert 'ingestion.source="data/01_raw/digits"' in stages["ingestion"].cmd


def test_parameters_of_a_preset_are_complete_and_only_depend_on_its_files(empty_project):
    (empty_project.path / "conf/local/parameters.yml").write_text("training: {seed: 7}")
    written = {}
    for preset in ("local", "base", "smoke"):
        file = empty_project.path / "data/02_intermediate/parameters.yml"
        empty_project.kedro("dcgan", "parameters", f"--env={preset}", f"--output={file}")
        written[preset] = yaml.safe_load(file.read_text())
    assert [written[preset]["training"]["seed"] for preset in written] == [7, 0, 0]
    assert written["smoke"]["training"]["epochs"] != written["base"]["training"]["epochs"]
    # So that ingestion does not run again.
    assert written["smoke"]["ingestion"] == written["base"]["ingestion"]
    assert set(written["base"]) == set(Parameters.model_fields)


@pytest.mark.slow
def test_repro_resumes_after_ctrl_c_and_reruns_only_changed_stages(project):
    assert stages_run(repro(project, "preprocessing").stdout) == [
        "digits",
        "parameters",
        "ingestion",
        "preprocessing",
    ]
    # Another licence must not read all images again.
    file = project.path / "conf/base/parameters_ingestion.yml"
    file.write_text(file.read_text().replace("licence: null", "licence: CC0-1.0"))
    assert stages_run(repro(project, "preprocessing").stdout) == ["parameters", "preprocessing"]
    assert json.loads((project.path / "data/08_reporting/croissant.json").read_text())["license"] == "CC0-1.0"

    assert stages_run(stop_in_training(project)) == ["training"]
    resumed = repro(project).stdout
    assert "resumes from" in resumed
    assert stages_run(resumed) == ["training", "evaluation", "export"]
    assert len(list((project.path / "data/07_model_output/samples").glob("*.png"))) == 16
    assert stages_run(repro(project).stdout) == []
    first = project.mlflow_run()

    mlflow.set_tracking_uri(f"sqlite:///{project.path}/mlflow.db")
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("dcgan").experiment_id])
    assert (run.info.run_id, run.info.status) == (first, "FINISHED")
    assert "fd_efflite0_64_100_test" in run.data.metrics
    (version,) = client.search_model_versions("name='dcgan-digits-smoke'")
    assert version.run_id == first

    set_training(project, seed=1, epochs=1)
    assert stages_run(repro(project, "training").stdout) == ["parameters", "training"]
    assert project.mlflow_run() != first
    assert len(client.search_runs([run.info.experiment_id])) == 2
    changed = json.loads(project.run("dvc", "status", "--json").stdout)
    assert set(changed) == {"evaluation", "export"}
