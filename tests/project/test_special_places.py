"""Runs in folders with unusual names or without permission, and as users without a name or a home."""

import os
import shutil

import mlflow
import pytest
from mounts import read_only
from projects import copy_project


@pytest.mark.slow
def test_a_project_in_a_folder_with_signs_of_urls_trains_registers_and_samples(tmp_path):
    parent = tmp_path / "-a b,c=d?e%20f#g"
    parent.mkdir()
    project = copy_project(parent / "kedro-dcgan")
    result = project.kedro("run", "--env=smoke")
    assert "registered    dcgan-digits-smoke v1" in result.stdout
    model = "dcgan-digits-smoke@candidate"
    project.kedro("dcgan", "sample", "--count=2", "--output=-x ?%20,=", f"--model={model}")
    assert len(list((project.path / "-x ?%20,=").glob("*.png"))) == 2
    generated = ("--real", "data/01_raw/digits", "--generated", "-x ?%20,=", "--input-size=32")
    project.kedro("dcgan", "evaluate-images", "--inception-weights=none", *generated)
    project.kedro("dcgan", "compare", check=False)
    assert (project.path / "mlflow.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [parent.name]
    assert [path.name for path in parent.iterdir()] == ["kedro-dcgan"]


def test_a_read_only_data_folder_is_one_line_before_any_work(tmp_path):
    project = copy_project(tmp_path / "kedro-dcgan")
    (project.path / "data").mkdir()
    with read_only(project.path / "data"):
        result = project.kedro("run", "--env=smoke", check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: `{project.path}/data/01_raw/digits` must be writable (Read-only file system)")
    assert result.stdout == ""
    assert not list((project.path / "data").iterdir())


@pytest.mark.slow
def test_a_user_without_name_and_home_trains_and_registers(tmp_path):
    if os.getuid() or not shutil.which("setpriv"):
        pytest.skip("only root can become another user, with setpriv")
    project = copy_project(tmp_path / "kedro-dcgan")
    project.run("chown", "-R", "12345:12345", str(tmp_path))
    # This interpreter, and the folder of the tests, may be root's own.
    read = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
    user = ("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", *read)
    nobody = ("env", "--unset=HOME", "--unset=USER", "--unset=LOGNAME")
    result = project.run(*user, *nobody, "kedro", "run", "--env=smoke")
    assert "registered    dcgan-digits-smoke v1" in result.stdout
    assert result.stderr == ""
    mlflow.set_tracking_uri(f"sqlite:///{project.path}/mlflow.db")
    try:
        assert mlflow.search_runs(search_all_experiments=True)["status"].tolist() == ["FINISHED"]
    finally:
        mlflow.set_tracking_uri(None)
