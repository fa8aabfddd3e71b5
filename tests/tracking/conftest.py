import shutil
import uuid

import pytest
from mlflow import MlflowClient
from servers import MlflowServer, settings_of

from kedro_dcgan.tracking.journal import RunIdentity, milliseconds


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A new SQLite database of MLflow, to be copied: creating its tables takes seconds."""
    file = tmp_path_factory.mktemp("database") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def settings(tmp_path, empty_database):
    """Settings with an SQLite database in a file."""
    shutil.copy(empty_database, tmp_path)
    return settings_of(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)


@pytest.fixture
def identity():
    return RunIdentity(uuid.uuid4().hex, "tests", "a run", milliseconds())


@pytest.fixture
def server(tmp_path):
    server = MlflowServer(tmp_path)
    yield server
    server.kill()
