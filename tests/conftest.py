"""Fixtures: copies of the project, so that tests run the real commands without touching the user's files."""

import os
import sys

import pytest
from projects import copy_project

# Without stored bytecode, each program that the tests start compiles thousands of modules again, for seconds. Some
# containers switch its storage off.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Two workers run on two cores: more OpenMP threads would only compete. torch reads it at import.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture
def empty_project(tmp_path):
    """A copy of the project, like a fresh clone."""
    return copy_project(tmp_path / "kedro-dcgan")


@pytest.fixture(scope="session")
def trained_project(tmp_path_factory):
    """The project after `kedro run --env=smoke`. Tests may read and add files, but not change any."""
    project = copy_project(tmp_path_factory.mktemp("trained") / "kedro-dcgan", real_images=None)
    project.output = project.kedro("run", "--env=smoke").stdout
    return project


def pytest_collection_modifyitems(items):
    # The folders with the slowest files run first, so that both workers finish at about the same time.
    slowest = {"project": 0, "training": 1}
    items.sort(key=lambda item: slowest.get(item.path.parent.name, len(slowest)))
