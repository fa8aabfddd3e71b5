"""Tracking settings, and addresses without passwords."""

import getpass
import importlib
import os
import pwd
from pathlib import Path

import mlflow
import pytest
import sqlalchemy
from servers import free_port

from kedro_dcgan import settings as project_settings
from kedro_dcgan.errors import ParameterError, TrackingError
from kedro_dcgan.tracking.connection import connect, mask_passwords, ping, reachable, read_settings
from kedro_dcgan.tracking.database import database_url


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("settings"))


def settings_with(**values):
    usual = {
        "server": "sqlite:///mlflow.db",
        "artifact_location": "/here/mlartifacts",
        "journals": "journals",
        "experiment": "dcgan",
        "run_name": None,
        "system_metrics_seconds": 10,
        "ui_port": 5000,
    }
    return read_settings({**usual, **values})


@pytest.mark.parametrize(
    ("server", "location", "expected"),
    [
        ("sqlite:///mlflow.db", "/here/mlartifacts", "/here/mlartifacts"),
        ("postgresql://host/db", "/shared/mlartifacts", "/shared/mlartifacts"),
        ("http://127.0.0.1:5000", "/here/mlartifacts", None),
        ("https://host", "s3://bucket/mlartifacts", "s3://bucket/mlartifacts"),
        ("https://host", None, None),
    ],
)
def test_a_server_gets_no_artifact_location_on_this_disk(server, location, expected):
    assert settings_with(server=server, artifact_location=location).artifact_location == expected


def test_an_invalid_value_is_named():
    with pytest.raises(ParameterError, match=r"`ui_port` of tracking\.yml is not valid"):
        settings_with(ui_port=0)


def test_an_unreachable_database_is_reported_in_one_line_without_its_password(monkeypatch):
    # By default, MLflow retries for two minutes.
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)
    settings = settings_with(server=f"postgresql+psycopg://me:secret@127.0.0.1:{free_port()}/db")
    connect(settings)
    try:
        with (
            pytest.raises(TrackingError, match=r"^`postgresql\+psycopg://me:\*\*\*@127.0.0.1.*` must answer") as raised,
            reachable(settings),
        ):
            ping()
    finally:
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
    assert "secret" not in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql+psycopg2://me:s%40cret@host:5432/db", "postgresql+psycopg2://me:***@host:5432/db"),
        ("cannot reach https://me:secret@host/x: refused", "cannot reach https://me:***@host/x: refused"),
        ("sqlite:////home/me/mlflow.db", "sqlite:////home/me/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://127.0.0.1:5000/a@b", "http://127.0.0.1:5000/a@b"),
        ("postgresql://me:p@ss/w@rd@host/db", "postgresql://me:***@host/db"),
        ("https://T0KEN@host/x", "https://***@host/x"),
        ("https://T0KEN@host:5000/x", "https://***@host:5000/x"),
        ("postgresql+psycopg://me@corp:secret@host/db", "postgresql+psycopg://me@corp:***@host/db"),
        ("https://me@corp:secret@host:5000/x", "https://me@corp:***@host:5000/x"),
        ("postgresql://me:123/abc@host/db", "postgresql://me:***@host/db"),
        ("mysql://host/db?user=me&passwd=secret", "mysql://host/db?user=me&passwd=***"),
        ("mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3Dsecret", "mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3D***"),
        ("postgresql://host/db?user=me&password=secret&x=1", "postgresql://host/db?user=me&password=***&x=1"),
    ],
)
def test_passwords_are_not_shown(address, shown):
    assert mask_passwords(address) == shown


@pytest.mark.parametrize("folder", ["plain", "a?b", "a%20b", "50%", "-a b,c=d", "é#;@&[]+", "%3F?%2F?mode=ro"])
def test_the_url_of_a_database_names_its_file(tmp_path, folder):
    url = database_url(tmp_path / folder / "mlflow.db")
    parsed = sqlalchemy.make_url(url)
    assert (parsed.database, dict(parsed.query)) == (str(tmp_path / folder / "mlflow.db"), {})
    # MLflow creates this folder.
    assert Path(url.removeprefix("sqlite:///")).parent in (tmp_path / folder, Path("/"))
    assert database_url(Path("/home/me/mlflow.db")) == "sqlite:////home/me/mlflow.db"


def test_a_project_in_a_folder_with_signs_of_urls_keeps_its_records(tmp_path, monkeypatch):
    project = tmp_path / "-a b,c=d?e%20f#g"
    project.mkdir()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(project_settings, "_PROJECT", project)
    location = project_settings.CONFIG_LOADER_ARGS["custom_resolvers"]["artifact_location"]()
    connect(settings_with(server=project_settings._tracking_uri(), artifact_location=location))
    try:
        client = mlflow.MlflowClient()
        run = client.create_run(client.create_experiment("dcgan", location)).info
        (tmp_path / "page.html").write_text("page")
        client.log_artifact(run.run_id, str(tmp_path / "page.html"), "reports")
        assert Path(client.download_artifacts(run.run_id, "reports/page.html", str(project))).read_text() == "page"
    finally:
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
    assert (project / "mlflow.db").is_file()
    assert (project / f"mlartifacts/{run.run_id}/artifacts/reports/page.html").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == [project.name, "page.html"]


def test_a_user_without_name_and_home_gets_both(monkeypatch):
    def unknown(number):
        raise KeyError(number)

    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "before")
        monkeypatch.delenv(name)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    importlib.reload(project_settings)
    assert Path.home() == Path("/nonexistent")
    assert getpass.getuser() == f"user{os.getuid()}"
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
