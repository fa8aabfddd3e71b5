"""Uploaded records, read back from a real MLflow with its database in a file."""

import json
import threading
from dataclasses import replace

import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST
from PIL import Image, UnidentifiedImageError
from servers import Proxy

from kedro_dcgan.errors import DataError, DiskFullError, TrackingError
from kedro_dcgan.tracking import connection
from kedro_dcgan.tracking.journal import Journal, UploadState
from kedro_dcgan.tracking.records import KEY_TAG
from kedro_dcgan.tracking.uploader import upload_journal


@pytest.fixture
def journal(settings, identity):
    return Journal.create(settings.journals, identity)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "grid.png"
    Image.new("RGB", (500, 300)).save(path)
    return path


def http_error(status):
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(f"{status}", response=response)


def upload(journal, settings):
    return sum(count for count, _ in upload_journal(journal, settings))


def run_of(journal, settings):
    return mlflow.MlflowClient(settings.server).get_run(journal.upload_state(settings.shown_server).run_id)


def test_every_kind_of_record_is_uploaded(journal, settings, tmp_path, picture):
    client = mlflow.MlflowClient(settings.server)
    page = tmp_path / "page.html"
    page.write_text("page")
    journal.add("status", status="RUNNING")
    journal.add("parameters", values={"training.batch_size": 16})
    journal.add("tags", values={"verdict": "healthy"})
    journal.add("metrics", step=500, values={"loss": 0.5, "other": float("nan")}, time=1000)
    journal.add("picture", [picture], key="samples", step=500, time=2000)
    journal.add("file", [page], folder="reports")
    journal.add("status", status="FINISHED", time=3000)
    assert upload(journal, settings) == 7
    run = run_of(journal, settings)
    assert (run.info.status, run.info.end_time, run.info.run_name) == ("FINISHED", 3000, "a run")
    assert run.data.params == {"training.batch_size": "16"}
    assert run.data.tags["verdict"] == "healthy"
    assert run.data.tags[KEY_TAG] == journal.identity.key
    (metric,) = client.get_metric_history(run.info.run_id, "loss")
    assert (metric.value, metric.step, metric.timestamp) == (0.5, 500, 1000)
    assert [file.path for file in client.list_artifacts(run.info.run_id, "reports")] == ["reports/page.html"]
    pictures = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    # The names that the UI parses.
    names = {path.split("+timestamp+")[0] for path in pictures}
    assert names == {"images/samples+step+500", "images/latest_samples+step+0"}
    assert {path.rpartition(".")[2] for path in pictures} == {"png", "webp"}
    assert run.data.tags["mlflow.loggedImages"] == "True"
    assert not list((journal.folder / "files").iterdir())


def test_uploading_a_record_twice_does_not_duplicate_it(journal, settings):
    client = mlflow.MlflowClient(settings.server)
    journal.add("parameters", values={"a": 1})
    for step in range(1, 4):
        journal.add("metrics", step=step, values={"discriminator_loss": step / 7}, is_history=True)
    journal.add("dataset", name="faces", digest="01", source="faces", tags={})
    upload(journal, settings)
    first = run_of(journal, settings)
    # Upload everything again, as if the upload state had been lost.
    journal.save_upload_state(UploadState(settings.shown_server, first.info.run_id))
    upload(journal, settings)
    history = client.get_metric_history(first.info.run_id, "discriminator_loss")
    assert [metric.step for metric in history] == [1, 2, 3]
    assert len(client.get_run(first.info.run_id).inputs.dataset_inputs) == 1


def test_after_a_lost_journal_only_new_steps_are_uploaded(journal, settings, tmp_path, picture):
    client = mlflow.MlflowClient(settings.server)

    def record(journal, step):
        journal.add("metrics", step=step, values={"discriminator_loss": step / 7}, is_history=True)
        journal.add("picture", [picture], key="samples", step=step, is_picture=True)

    for step in (0, 1, 2):
        record(journal, step)
    upload(journal, settings)
    # With other timestamps, and with one upload per step.
    again = Journal.create(tmp_path / "elsewhere", replace(journal.identity, name="another"))
    for step in range(4):
        record(again, step)
        upload(again, settings)
    experiment = client.get_experiment_by_name("tests").experiment_id
    (run,) = client.search_runs([experiment])
    history = client.get_metric_history(run.info.run_id, "discriminator_loss")
    assert [metric.step for metric in history] == [0, 1, 2, 3]
    pictures = [file.path for file in client.list_artifacts(run.info.run_id, "images") if file.path.endswith("png")]
    samples = [path for path in pictures if path.startswith("images/samples+")]
    assert sorted(path.split("+")[2] for path in samples) == ["0", "1", "2", "3"]
    # One file, whichever process uploaded it.
    assert len(set(pictures) - set(samples)) == 1


def test_a_journal_of_an_earlier_version_is_uploaded(settings, picture):
    client = mlflow.MlflowClient(settings.server)
    run_id = client.create_run(client.create_experiment("tests", settings.artifact_location)).info.run_id
    identity = {"key": "a" * 32, "experiment": "tests", "name": "old", "created": 1, "must_exist": False}
    sent = {"server": settings.shown_server, "run_id": run_id, "history_until": 1, "pictures_until": -1}
    lines = [
        b'{"kind": "tags", "time": 1, "values": {"a": "uploaded before"}}\n',
        b'{"kind": "metrics", "time": 2, "step": 1, "values": {"loss": 0.1}, "is_history": true}\n',
        b'{"kind": "metrics", "time": 3, "step": 2, "values": {"loss": 0.2}, "is_history": true}\n',
        b'{"kind": "metrics", "time": 3, "step": 0, "values": {"system/x": 1.0}, "is_of_system": true}\n',
        b'{"kind": "picture", "time": 4, "key": "samples", "step": 2, "is_picture": true, "file": "0f"}\n',
        b'{"kind": "status", "time": 5, "status": "FINISHED"}\n',
    ]
    folder = settings.journals / identity["key"]
    (folder / "files/0f").mkdir(parents=True)
    picture.rename(folder / "files/0f/grid.png")
    (folder / "journal.jsonl").write_bytes(b"".join(lines))
    (folder / "run.json").write_text(json.dumps(identity))
    (folder / "sent.json").write_text(json.dumps(sent | {"offset": len(lines[0])}))
    (old,) = Journal.find_all(settings.journals)
    assert (old.last_step("is_history"), old.last_step("is_picture"), old.last_step("is_of_system")) == (2, 2, 0)
    assert upload(old, settings) == 5
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert "a" not in run.data.tags
    assert [metric.step for metric in client.get_metric_history(run_id, "loss")] == [2]
    assert len(client.list_artifacts(run_id, "images")) == 4
    assert json.loads((folder / "sent.json").read_text())["offset"] == sum(map(len, lines))


def test_parameters_keep_their_first_value(journal, settings):
    journal.add("parameters", values={"a": 1})
    journal.add("parameters", values={"a": 2, "b": 3})
    upload(journal, settings)
    assert run_of(journal, settings).data.params == {"a": "1", "b": "3"}


def test_metrics_are_uploaded_in_batches(journal, settings, monkeypatch):
    calls = []
    original = mlflow.MlflowClient.log_batch
    monkeypatch.setattr(
        mlflow.MlflowClient, "log_batch", lambda *args, **kwargs: (calls.append(kwargs), original(*args, **kwargs))[1]
    )
    for step in range(2500):
        journal.add("metrics", step=step, values={"loss": 1.0})
    assert upload(journal, settings) == 2500
    assert [len(call["metrics"]) for call in calls] == [1000, 1000, 500]


def test_invalid_records_are_kept_with_one_warning_per_kind_and_block_nothing(journal, settings, tmp_path, caplog):
    damaged = tmp_path / "grid.png"
    damaged.write_bytes(b"no picture")
    journal.add("parameters", values={"not ! allowed": 1})
    journal.add("metrics", step=1, values={"loss": 1.0})
    journal.add("metrics", step=2, values={"not ! allowed": 1.0})
    journal.add("metrics", step=3, values={"loss": 3.0})
    journal.add("file", file="gone", folder="reports")
    journal.add("file", file="gone, too", folder="reports")
    journal.add("from the future")
    journal.add("picture", [damaged], key="samples", step=1)
    journal.add("tags", values={"a": "b"})
    assert upload(journal, settings) == 9
    run = run_of(journal, settings)
    assert run.data.tags["a"] == "b"
    history = mlflow.MlflowClient(settings.server).get_metric_history(run.info.run_id, "loss")
    assert [metric.step for metric in history] == [1, 3]
    warnings = [
        record.getMessage().split(" (")[0] for record in caplog.records if record.name.startswith("kedro_dcgan")
    ]
    kinds = ("parameters", "metrics", "file", "from the future", "picture")
    assert warnings == [f"MLflow rejects a record of kind {kind}" for kind in kinds]
    assert len(list((journal.folder / "files").glob("*/grid.png"))) == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MlflowException("name", INVALID_PARAMETER_VALUE), True),
        # A database that accepts no more connections.
        (MlflowException("QueuePool limit of size 5 overflow 10 reached", BAD_REQUEST), False),
        (MlflowException("no run", RESOURCE_DOES_NOT_EXIST), False),
        (MlflowException("API request failed"), False),
        (http_error(413), True),
        (http_error(401), False),
        (http_error(502), False),
        (OSError(28, "No space left on device"), False),
        (DiskFullError("full"), False),
        (DataError("gone"), True),
        (UnidentifiedImageError("no picture"), True),
        (FileNotFoundError("mlartifacts"), False),
        (MemoryError(), False),
        (RuntimeError("of a store"), False),
    ],
    ids=str,
)
def test_which_errors_are_permanent(error, expected):
    assert connection.is_permanent(error) is expected


def test_a_file_that_a_proxy_rejects_is_skipped(journal, server, tmp_path, settings, caplog):
    proxy = Proxy(server.start().address, {"PUT": 413})
    settings = settings.model_copy(update={"server": proxy.address, "artifact_location": None})
    page = tmp_path / "page.html"
    page.write_text("page")
    journal.add("file", [page], folder="reports")
    journal.add("tags", values={"a": "b"})
    assert upload(journal, settings) == 2
    assert run_of(journal, settings).data.tags["a"] == "b"
    assert "rejects a record of kind file (413" in caplog.text
    assert len(list((journal.folder / "files").glob("*/page.html"))) == 1
    proxy.stop()


def test_a_new_database_gets_all_records(journal, settings, tmp_path):
    journal.add("metrics", step=1, values={"loss": 1.0})
    upload(journal, settings)
    elsewhere = settings.model_copy(update={"server": f"sqlite:///{tmp_path}/new.db"})
    journal.add("metrics", step=2, values={"loss": 2.0})
    upload(journal, elsewhere)
    client = mlflow.MlflowClient(elsewhere.server)
    run_id = journal.upload_state(elsewhere.shown_server).run_id
    assert [metric.step for metric in client.get_metric_history(run_id, "loss")] == [1, 2]
    # A run id that the database does not have.
    journal.save_upload_state(replace(journal.upload_state(elsewhere.shown_server), run_id="0" * 32))
    journal.add("metrics", step=3, values={"loss": 3.0})
    upload(journal, elsewhere)
    assert [metric.step for metric in client.get_metric_history(run_id, "loss")] == [1, 2, 3]


def test_resuming_a_deleted_run_creates_a_new_one_with_all_records(journal, settings):
    journal.add("metrics", step=1, values={"loss": 1.0})
    upload(journal, settings)
    deleted = run_of(journal, settings).info.run_id
    client = mlflow.MlflowClient(settings.server)
    client.delete_run(deleted)
    journal.add("metrics", step=2, values={"loss": 2.0})
    upload(journal, settings)
    run = run_of(journal, settings)
    assert run.info.run_id != deleted
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "loss")] == [1, 2]


def test_resuming_a_run_restores_its_deleted_experiment(journal, settings):
    journal.add("metrics", step=1, values={"discriminator_loss": 1.0}, is_history=True)
    upload(journal, settings)
    client = mlflow.MlflowClient(settings.server)
    first = run_of(journal, settings).info
    client.delete_experiment(first.experiment_id)
    journal.add("metrics", step=2, values={"discriminator_loss": 2.0}, is_history=True)
    upload(journal, settings)
    (run,) = client.search_runs([first.experiment_id])
    assert run.info.run_id == first.run_id
    history = client.get_metric_history(run.info.run_id, "discriminator_loss")
    assert [metric.step for metric in history] == [1, 2]


def test_deleting_a_run_during_an_upload_loses_no_record(journal, settings):
    for number in range(3):
        journal.add("tags", values={f"tag {number}": "b"})
    steps = upload_journal(journal, settings)
    next(steps)
    deleted = run_of(journal, settings).info.run_id
    mlflow.MlflowClient(settings.server).delete_run(deleted)
    with pytest.raises(MlflowException, match="active"):
        next(steps)
    upload(journal, settings)
    run = run_of(journal, settings)
    assert run.info.run_id != deleted
    assert {f"tag {number}" for number in range(3)} <= set(run.data.tags)


def test_an_addition_waits_until_its_run_exists(journal, settings, identity):
    addition = Journal.create(settings.journals, replace(identity, must_exist=True))
    addition.add("tags", values={"a": "b"})
    with pytest.raises(TrackingError, match="must exist"):
        upload(addition, settings)
    assert mlflow.MlflowClient(settings.server).search_experiments(filter_string="name = 'tests'") == []
    journal.add("status", status="KILLED")
    assert upload(journal, settings) == 1
    assert upload(addition, settings) == 1
    run = run_of(addition, settings)
    assert (run.data.tags["a"], run.info.status) == ("b", "KILLED")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("data/01_raw/faces", {"uri": "data/01_raw/faces"}),
        ("torchvision:MNIST", {"tags": {"source": "torchvision:MNIST"}}),
    ],
)
def test_a_logged_dataset_has_its_source_and_tags(journal, settings, source, expected):
    tags = {"dvc.images_md5": "f00.dir"}
    journal.add("dataset", name="faces", digest="0123456789abcdef", source=source, tags=tags)
    upload(journal, settings)
    (logged,) = run_of(journal, settings).inputs.dataset_inputs
    assert (logged.dataset.name, logged.dataset.digest) == ("faces", "0123456789abcdef")
    assert json.loads(logged.dataset.source) == expected
    assert {tag.key: tag.value for tag in logged.tags} == {"mlflow.data.context": "training", **tags}


def test_latest_samples_are_those_of_the_last_step_at_a_step_that_all_runs_have(journal, settings, tmp_path):
    client = mlflow.MlflowClient(settings.server)
    for step, shade in ((500, 10), (1000, 20), (1250, 30)):
        Image.new("L", (300, 300), shade).save(tmp_path / "grid.png")
        journal.add("picture", [tmp_path / "grid.png"], key="samples", step=step, is_picture=True)
    upload(journal, settings)
    (run,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    paths = [file.path for file in client.list_artifacts(run.info.run_id, "images") if "latest_" in file.path]
    assert sorted(path.rpartition(".")[2] for path in paths) == ["png", "webp"]
    for path in paths:
        assert path.split("+")[:3] == ["images/latest_samples", "step", "0"]
        with Image.open(client.download_artifacts(run.info.run_id, path)) as image:
            assert abs(image.convert("L").getpixel((9, 9)) - 30) <= 2


def test_a_nested_run_creates_its_parent_and_finds_it_again(settings, identity):
    client = mlflow.MlflowClient(settings.server)
    parent = Journal.create(settings.journals, replace(identity, key="a" * 32, name="parent"))
    children = [
        Journal.create(settings.journals, replace(identity, key=letter * 32, name=letter, parent="a" * 32))
        for letter in "bc"
    ]
    for journal in (*children, parent):
        journal.add("status", status="RUNNING")
        upload(journal, settings)
    parents = [run_of(child, settings).data.tags["mlflow.parentRunId"] for child in children]
    assert parents == [run_of(parent, settings).info.run_id] * 2
    assert len(client.search_runs([run_of(parent, settings).info.experiment_id])) == 3


def test_a_nested_run_and_its_parent_are_uploaded_at_once(settings, identity):
    client = mlflow.MlflowClient(settings.server)
    for number in range(5):
        key = f"{number:032x}"
        parent = Journal.create(settings.journals, replace(identity, key=key))
        child = Journal.create(settings.journals, replace(identity, key=f"{number:x}" + "f" * 31, parent=key))
        for journal in (parent, child):
            journal.add("status", status="RUNNING")
        threads = [threading.Thread(target=upload, args=(journal, settings)) for journal in (parent, child)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        experiment = run_of(parent, settings).info.experiment_id
        assert len(client.search_runs([experiment], f"tags.`{KEY_TAG}` = '{key}'")) == 1
        assert run_of(child, settings).data.tags["mlflow.parentRunId"] == run_of(parent, settings).info.run_id


def test_a_nested_run_without_its_parent_is_an_ordinary_one(settings, identity):
    child = Journal.create(settings.journals, replace(identity, parent="f" * 32))
    child.add("status", status="RUNNING")
    upload(child, settings)
    assert "mlflow.parentRunId" not in run_of(child, settings).data.tags
