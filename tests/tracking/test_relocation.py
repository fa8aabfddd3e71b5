"""A project that was moved or copied: its local database leads to the files in its present folder."""

import itertools
import shutil
import sqlite3
from urllib.parse import quote

import mlflow
import pytest
from mlflow.tracking._tracking_service import utils as mlflow_caches
from servers import settings_of
from test_registry import evaluated

from kedro_dcgan.errors import TrackingError
from kedro_dcgan.model.saved import write_generator
from kedro_dcgan.tracking import versions
from kedro_dcgan.tracking.connection import connect
from kedro_dcgan.tracking.journal import Journal, RunIdentity, milliseconds
from kedro_dcgan.tracking.relocation import _COLUMNS, relocate
from kedro_dcgan.tracking.uploader import pending_journals, upload_journal

KEY = "0" * 32


def settings_in(folder):
    return settings_of(f"sqlite:///{folder}/mlflow.db", folder)


def connect_in(folder):
    """Connect to the database in a folder like a new process; return the settings."""
    mlflow_caches._artifact_repos_cache.clear()
    settings = settings_in(folder)
    relocate(settings)
    connect(settings)
    return settings


def log_report(settings):
    """Log a file to the run; return its folder of artifacts."""
    journal, report = Journal(settings.journals / KEY), settings.journals.parent / "report.txt"
    report.write_text("a report")
    journal.add("file", [report], folder="later")
    list(upload_journal(journal, settings))
    run = mlflow.MlflowClient().get_run(journal.upload_state(settings.shown_server).run_id)
    return settings.journals.parent / "artifacts" / run.info.run_id / "artifacts/later"


def is_in(folder):
    """Return whether all absolute paths in the database of a folder, if any, lead to that folder."""
    return roots(folder) == {str(folder)}


def roots(folder):
    """Return the folders of the project to which the paths in a database lead."""
    with sqlite3.connect(folder / "mlflow.db") as database:
        rows = [database.execute(f"SELECT {column} FROM {table}").fetchall() for table, column in _COLUMNS]
    stored = [value for (value,) in itertools.chain(*rows) if value and value.startswith("/")]
    return {value.partition("/artifacts")[0] for value in stored if not value.endswith("/mlruns/0")}


def files_in(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def example(tmp_path_factory, empty_database):
    """A project with a run and a registered generator, and where it must lie."""
    folder = tmp_path_factory.mktemp("example") / "project"
    folder.mkdir()
    shutil.copy(empty_database, folder)
    settings = connect_in(folder)
    journal = Journal.create(settings.journals, RunIdentity(KEY, "tests", "a run", milliseconds()))
    (folder / "generator").mkdir()
    write_generator(folder / "generator", evaluated(50.0, dataset="digits"))
    journal.add("generator", [folder / "generator"], name="dcgan-{source}")
    list(upload_journal(journal, settings))
    return folder.rename(folder.with_name("kept")), folder


@pytest.fixture
def project(example):
    kept, folder = example
    shutil.copytree(kept, folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
    mlflow_caches._artifact_repos_cache.clear()
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


@pytest.mark.parametrize("name", ["moved", "a new place/mine", "50% + é"])
def test_a_moved_project_finds_its_files_and_writes_new_ones_into_the_new_folder(project, tmp_path, name):
    moved = tmp_path / name
    moved.parent.mkdir(exist_ok=True)
    project.rename(moved)
    settings = connect_in(moved)
    assert is_in(moved)
    version = versions.find_named("dcgan-digits@candidate")
    assert versions.fetch_generator(version).is_relative_to(moved)
    # The run goes on in the new folder, without a second upload of its records.
    assert pending_journals(settings) == []
    assert (log_report(settings) / "report.txt").is_file()
    client = mlflow.MlflowClient()
    assert len(client.search_runs([client.get_experiment_by_name("tests").experiment_id])) == 1
    assert len(client.search_model_versions("name = 'dcgan-digits'")) == 1
    assert not project.exists()


def test_a_copy_uses_its_own_files_and_leaves_its_original_as_it_is(project, tmp_path):
    copy, third = tmp_path / "copy", tmp_path / "third"
    shutil.copytree(project, copy)
    before = files_in(project)
    assert (log_report(connect_in(copy)) / "report.txt").is_file()
    assert versions.fetch_generator(versions.find_named("dcgan-digits")).is_relative_to(copy)
    assert is_in(copy)
    assert files_in(project) == before
    # The original still works, and a copy of the copy.
    connect_in(project)
    assert is_in(project)
    shutil.copytree(copy, third)
    connect_in(third)
    assert is_in(third)


def test_a_copy_without_the_artifacts_writes_into_the_copy_and_names_the_missing_files(project, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("artifacts"))
    before = files_in(project)
    assert (log_report(connect_in(copy)) / "report.txt").is_file()
    assert files_in(project) == before
    with pytest.raises(versions.ModelError, match=f"dcgan-digits v1 must be at {copy}/artifacts/models/.* missing"):
        versions.fetch_generator(versions.find_named("dcgan-digits@1"))


def test_pending_records_of_a_moved_project_are_uploaded_there(project, tmp_path):
    Journal(settings_in(project).journals / KEY).add("metrics", step=1, values={"loss": 2.0})
    project.rename(tmp_path / "moved")
    settings = connect_in(tmp_path / "moved")
    (pending,) = pending_journals(settings)
    assert sum(count for count, _ in upload_journal(pending, settings)) == 1
    run = mlflow.MlflowClient().get_run(pending.upload_state(settings.shown_server).run_id)
    assert run.data.metrics == {"loss": 2.0}


def test_another_artifact_store_and_another_database_are_left_alone(project, tmp_path):
    project.rename(tmp_path / "moved")
    for changes in ({"artifact_location": f"{tmp_path}/store"}, {"artifact_location": None}, {"server": "http://a:1"}):
        relocate(settings_in(tmp_path / "moved").model_copy(update=changes))
    # A database that several projects share.
    relocate(settings_of(f"sqlite:///{tmp_path}/moved/mlflow.db", tmp_path / "other"))
    assert roots(tmp_path / "moved") == {str(project)}


def test_a_store_that_was_chosen_before_is_kept(project, tmp_path):
    with sqlite3.connect(project / "mlflow.db") as database:
        database.execute("UPDATE experiments SET artifact_location = ?", [f"{tmp_path}/store/artifacts"])
    (project / "artifacts").rename(tmp_path / "artifacts of the project")
    (tmp_path / "store/artifacts").mkdir(parents=True)
    connect_in(project)
    assert f"{tmp_path}/store" in roots(project)
    # Its files were moved into the project.
    (tmp_path / "store/artifacts").rename(project / "artifacts")
    connect_in(project)
    assert is_in(project)


def test_a_link_to_the_project_is_the_same_folder(project, tmp_path):
    (tmp_path / "link").symlink_to(project)
    connect_in(tmp_path / "link")
    assert is_in(project)


def test_locations_may_be_uris(project, tmp_path):
    moved = tmp_path / "is it mine?"
    project.rename(moved)
    # `?` is part of the path only if it is quoted.
    settings = settings_of(f"sqlite:////{quote(str(moved)[1:], safe='')}%2Fmlflow.db", moved)
    relocate(settings.model_copy(update={"artifact_location": (moved / "artifacts").as_uri()}))
    assert roots(moved) == set()
    assert pending_journals(settings) == []
    relocate(settings)
    with sqlite3.connect(moved / "mlflow.db") as database:
        locations = [row[0] for row in database.execute("SELECT artifact_uri FROM runs")]
    assert [location.startswith(f"{moved.as_uri()}/artifacts/") for location in locations] == [True]


def test_a_missing_or_empty_database_is_left_to_mlflow_and_a_damaged_one_is_named(tmp_path):
    settings = settings_in(tmp_path)
    relocate(settings)
    assert not (tmp_path / "mlflow.db").exists()
    (tmp_path / "mlflow.db").touch()
    relocate(settings)
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 100)
    with pytest.raises(TrackingError, match=f"`{tmp_path}/mlflow.db` must be"):
        relocate(settings)


def test_an_interrupted_relocation_is_repeated(project, tmp_path, monkeypatch):
    moved = tmp_path / "moved"
    project.rename(moved)
    with monkeypatch.context() as patched:
        patched.setattr("kedro_dcgan.tracking.relocation._COLUMNS", (*_COLUMNS, ("missing", "column")))
        with pytest.raises(TrackingError):
            relocate(settings_in(moved))
    # One transaction: nothing has changed.
    assert roots(moved) == {str(project)}
    connect_in(moved)
    assert is_in(moved)
