import uuid

import pytest
from servers import MlflowServer

from kedro_dcgan.tracking.connection import TrackingSettings
from kedro_dcgan.tracking.journal import RunIdentity, milliseconds


@pytest.fixture
def settings(tmp_path):
    """Settings with an SQLite database in a file."""
    return settings_of(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)


def settings_of(server, folder):
    return TrackingSettings(
        server=server,
        artifact_location=str(folder / "artifacts") if server.startswith("sqlite") else None,
        journals=folder / "journals",
        experiment="tests",
        run_name=None,
        system_metrics_seconds=0,
        ui_port=5000,
    )


@pytest.fixture
def identity():
    return RunIdentity(uuid.uuid4().hex, "tests", "a run", milliseconds())


@pytest.fixture
def server(tmp_path):
    server = MlflowServer(tmp_path)
    yield server
    server.kill()
