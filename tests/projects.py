"""Copies of the project in temporary folders, in which tests run the real commands."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from preloaded_kedro import preloaded_kedro

ROOT = Path(__file__).parents[1]
COPIED = (
    "conf",
    "src",
    ".dvcignore",
    ".gitignore",
    "LICENSE",
    "Makefile",
    "README.md",
    "dvc.yaml",
    "pyproject.toml",
    "requirements.lock",
    "requirements-uv.lock",
)


class Project:
    """A project folder and the commands in it."""

    def __init__(self, path):
        self.path = path

    def run(self, *command, cwd=None, check=True, **environment):
        """Run a program of this environment in the project; return its result with output and errors as text."""
        settings = {"cwd": cwd or self.path, "env": {**surroundings(), **environment}}
        result = subprocess.run(command, capture_output=True, text=True, check=False, **settings)
        if check and result.returncode:
            pytest.fail(f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}")
        return result

    def start(self, *command, env=None, **options):
        """Start a program of this environment in the project; return its process."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.path, env=env or surroundings(), **pipes, **options)

    def start_kedro(self, *arguments):
        """Start `kedro` as `start` does, without the seconds that its imports take."""
        return self.start(str(preloaded_kedro().program), *arguments)

    def mlflow_run(self):
        """Return the id of the MLflow run of the generator that is there."""
        key = json.loads((self.path / "data/06_models/training_run.json").read_text())["run"]
        return json.loads((self.path / "data/09_tracking" / key / "sent.json").read_text())["run_id"]

    def kedro(self, *arguments, **options):
        """Run `kedro` as `run` does, without the seconds that its imports take."""
        return self.run(str(preloaded_kedro().program), *arguments, **options)


def required(what, is_there):
    """Mark tests that need a program of the system: without it they are skipped, or fail if REQUIRE_ALL=1, as in CI."""
    is_left_out = not is_there and os.environ.get("REQUIRE_ALL", "") in ("", "0")
    return pytest.mark.skipif(is_left_out, reason=f"{what} is not installed (CONTRIBUTING.md says how)")


def surroundings():
    """Return the environment of commands: what the user has set, and what make tells its children, stay outside."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    foreign = ("MLFLOW_", "KEDRO_", "MAKE", "MFLAGS")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    # Two tests run at a time on two cores: more threads would only make them wait for each other.
    return {**inherited, "PATH": programs, "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1"}


def forked_kedro():
    """Return the variable that lets programs find the `kedro` that takes no seconds to import."""
    return {"PATH": f"{preloaded_kedro().folder}{os.pathsep}{surroundings()['PATH']}"}


def copy_project(path):
    path.mkdir()
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        options = {"ignore": shutil.ignore_patterns("*.egg-info", "local")} if (ROOT / name).is_dir() else {}
        copy(ROOT / name, path / name, **options)
    (path / "conf/local").mkdir()  # the developer's own settings stay outside
    return Project(path)
