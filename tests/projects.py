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
    "params.yaml",
    "pyproject.toml",
    "requirements.lock",
    "requirements-uv.lock",
)


class Project:
    """A project folder and the commands in it."""

    def __init__(self, path):
        self.path = path

    def run(self, *command, cwd=None, check=True, **environment):
        """Run a program of this environment in the project; return the completed process with text outputs."""
        settings = {"cwd": cwd or self.path, "env": {**command_environment(), **environment}}
        result = subprocess.run(command, capture_output=True, text=True, check=False, **settings)
        if check and result.returncode:
            pytest.fail(f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}")
        return result

    def start(self, *command, env=None, **options):
        """Start a program of this environment in the project; return its process."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.path, env=env or command_environment(), **pipes, **options)

    def start_kedro(self, *arguments):
        """Start `kedro` like `start`, from the fork server, which saves seconds of imports."""
        return self.start(str(preloaded_kedro().program), *arguments)

    def mlflow_run(self):
        """Return the id of the MLflow run of the current generator."""
        key = json.loads((self.path / "data/06_models/training_run.json").read_text())["run"]
        return json.loads((self.path / "data/09_tracking" / key / "sent.json").read_text())["run_id"]

    def kedro(self, *arguments, **options):
        """Run `kedro` like `run`, from the fork server, which saves seconds of imports."""
        return self.run(str(preloaded_kedro().program), *arguments, **options)


def require_program(name, is_installed):
    """Return a mark for tests that need a system program: without it they skip, or fail if REQUIRE_ALL=1, as in CI."""
    is_skipped = not is_installed and os.environ.get("REQUIRE_ALL", "") in ("", "0")
    return pytest.mark.skipif(is_skipped, reason=f"{name} is not installed (see CONTRIBUTING.md)")


def command_environment():
    """Return the environment of commands, without the user's settings and the variables that make sets."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    foreign = ("MLFLOW_", "KEDRO_", "MAKE", "MFLAGS")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    # Two tests run at a time on two cores: more threads would only compete.
    return {**inherited, "PATH": programs, "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "1"}


def forked_kedro():
    """Return a PATH on which programs find the `kedro` of the fork server."""
    return {"PATH": f"{preloaded_kedro().folder}{os.pathsep}{command_environment()['PATH']}"}


def copy_project(path, real_images=100):
    """Copy the project without its data, and without the user's own settings.

    Its smoke preset compares with so many real images (None: all): more of them only take longer.
    """
    path.mkdir()
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        options = {"ignore": shutil.ignore_patterns("*.egg-info", "local")} if (ROOT / name).is_dir() else {}
        copy(ROOT / name, path / name, **options)
    (path / "conf/local").mkdir()
    if real_images:
        with (path / "conf/smoke/parameters_evaluation.yml").open("a") as preset:
            preset.write(f"  real_images: {real_images}\n")
    return Project(path)
