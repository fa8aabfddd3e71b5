"""Fixtures: copies of the project. Tests run the real commands there and touch nothing of the user's."""

import os

import pytest
from projects import copy_project

# Two workers run on two cores: more OpenMP threads would only wait for each other. Read when torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture
def empty_project(tmp_path):
    """The project as a fresh clone has it."""
    return copy_project(tmp_path / "kedro-dcgan")


@pytest.fixture(scope="session")
def trained_project(tmp_path_factory):
    """The project after `kedro run --env=smoke`; tests may read it and add to it, but not change it."""
    project = copy_project(tmp_path_factory.mktemp("trained") / "kedro-dcgan")
    project.output = project.kedro("run", "--env=smoke").stdout
    return project


def pytest_collection_modifyitems(items):
    # What takes longest comes first, so that no core is left with it alone at the end.
    items.sort(key=lambda item: item.path.parent.name != "project")
