"""Commands do not import packages that they do not need: torch and matplotlib take seconds."""

import re

import pytest
from projects import copy_project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp("startup") / "kedro-dcgan")


def imported(project, command, code):
    """Run a command; return the packages that it and its workers imported."""
    result = project.run("kedro", *command.split(), check=False, PYTHONPROFILEIMPORTTIME="1")
    assert result.returncode == code, result.stderr
    return {name.partition(".")[0] for name in re.findall(r"^import time: .*\| +([\w.]+)$", result.stderr, re.M)}


def test_ingestion_and_preprocessing_do_not_import_torch(project):
    packages = imported(project, "run --pipelines=ingestion,preprocessing", 0)
    assert {"kedro_dcgan", "imagecodecs", "matplotlib"} <= packages
    assert not {"torch", "mlflow"} & packages
    assert (project.path / "data/03_primary/images/index.json").is_file()


@pytest.mark.parametrize(("command", "code"), [("dcgan --help", 0), ("run --params training.epochs=-1", 1)])
def test_help_and_parameter_errors_do_not_import_torch_matplotlib_or_mlflow(project, command, code):
    packages = imported(project, command, code)
    assert "kedro_dcgan" in packages
    assert not {"torch", "matplotlib", "mlflow"} & packages
