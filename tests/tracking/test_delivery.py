"""What MLflow is told, asked back from MLflow: the real one, with its database in a file."""

import json
from dataclasses import replace

import mlflow
import pytest
from PIL import Image

from kedro_dcgan.tracking.delivery import KEY_TAG, send_all
from kedro_dcgan.tracking.journal import Journal, Sent


@pytest.fixture
def journal(settings, identity):
    made = Journal.of(settings.journals, identity.key)
    made.begin(identity)
    return made


def send(journal, settings):
    return sum(send_all(journal, settings))


def run_of(journal, settings):
    return mlflow.MlflowClient(settings.server).get_run(journal.sent(settings.shown_server).run_id)


def test_all_kinds_of_records_arrive(journal, settings, tmp_path):
    client = mlflow.MlflowClient(settings.server)
    picture, page = tmp_path / "grid.png", tmp_path / "page.html"
    Image.new("RGB", (500, 300)).save(picture)
    page.write_text("page")
    journal.add("status", status="RUNNING")
    journal.add("parameters", values={"training.batch_size": 16})
    journal.add("tags", values={"verdict": "healthy"})
    journal.add("metrics", step=500, values={"loss": 0.5, "other": float("nan")}, time=1000)
    journal.add("picture", file=journal.keep(picture), key="samples", step=500, time=2000)
    journal.add("file", file=journal.keep(page), folder="reports")
    journal.add("status", status="FINISHED", time=3000)
    assert send(journal, settings) == 7
    run = run_of(journal, settings)
    assert (run.info.status, run.info.end_time, run.info.run_name) == ("FINISHED", 3000, "a run")
    assert run.data.params == {"training.batch_size": "16"}
    assert run.data.tags["verdict"] == "healthy"
    assert run.data.tags[KEY_TAG] == journal.identity.key
    (metric,) = client.get_metric_history(run.info.run_id, "loss")
    assert (metric.value, metric.step, metric.timestamp) == (0.5, 500, 1000)
    assert [file.path for file in client.list_artifacts(run.info.run_id, "reports")] == ["reports/page.html"]
    pictures = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    # What MLflow's pages look for.
    assert {path.split("+timestamp+")[0] for path in pictures} == {"images/samples+step+500"}
    assert {path.rpartition(".")[2] for path in pictures} == {"png", "webp"}
    assert run.data.tags["mlflow.loggedImages"] == "True"
    assert not list((journal.folder / "files").iterdir())


def test_what_is_sent_twice_is_there_once(journal, settings, tmp_path):
    client = mlflow.MlflowClient(settings.server)
    journal.add("parameters", values={"a": 1})
    for step in range(1, 4):
        journal.add("metrics", step=step, values={"discriminator_loss": step / 7}, is_history=True)
    journal.add("dataset", name="faces", digest="01", source="faces", tags={})
    send(journal, settings)
    first = run_of(journal, settings)
    # Everything once more: as if nobody had written down how much was sent, and by the run's id.
    journal.note_sent(Sent(settings.shown_server, first.info.run_id))
    send(journal, settings)
    # And as if the journal had been lost, and begun anew elsewhere with other times: the run is found by its tag.
    again = Journal.of(tmp_path / "elsewhere", journal.identity.key)
    again.begin(replace(journal.identity, name="another", must_exist=True))
    for step in range(1, 5):
        again.add("metrics", step=step, values={"discriminator_loss": step / 7}, is_history=True)
    send(again, settings)
    assert len(client.search_runs([first.info.experiment_id])) == 1
    history = client.get_metric_history(first.info.run_id, "discriminator_loss")
    assert [metric.step for metric in history] == [1, 2, 3, 4]
    assert len(client.get_run(first.info.run_id).inputs.dataset_inputs) == 1


def test_parameters_that_a_run_has_stay(journal, settings):
    journal.add("parameters", values={"a": 1})
    journal.add("parameters", values={"a": 2, "b": 3})
    send(journal, settings)
    assert run_of(journal, settings).data.params == {"a": "1", "b": "3"}


def test_metrics_go_together(journal, settings, monkeypatch):
    calls = []
    original = mlflow.MlflowClient.log_batch
    monkeypatch.setattr(
        mlflow.MlflowClient, "log_batch", lambda *args, **kwargs: (calls.append(kwargs), original(*args, **kwargs))[1]
    )
    for step in range(2500):
        journal.add("metrics", step=step, values={"loss": 1.0})
    assert send(journal, settings) == 2500
    assert [len(call["metrics"]) for call in calls] == [1000, 1000, 500]


def test_what_is_refused_is_told_and_does_not_stop_the_rest(journal, settings, caplog):
    journal.add("parameters", values={"not ! allowed": 1})
    journal.add("file", file="gone", folder="reports")
    journal.add("tags", values={"a": "b"})
    send(journal, settings)
    assert run_of(journal, settings).data.tags["a"] == "b"
    assert [
        record.getMessage().split("(")[0] for record in caplog.records if record.name.startswith("kedro_dcgan")
    ] == [
        "MLflow refuses a record of kind parameters ",
        "MLflow refuses a record of kind file ",
    ]


def test_a_database_that_was_removed_gets_everything_again(journal, settings, tmp_path):
    journal.add("metrics", step=1, values={"loss": 1.0})
    send(journal, settings)
    elsewhere = settings.model_copy(update={"server": f"sqlite:///{tmp_path}/new.db"})
    journal.add("metrics", step=2, values={"loss": 2.0})
    send(journal, elsewhere)
    client = mlflow.MlflowClient(elsewhere.server)
    run_id = journal.sent(elsewhere.shown_server).run_id
    assert [metric.step for metric in client.get_metric_history(run_id, "loss")] == [1, 2]
    # The id of a run that the database does not know.
    journal.note_sent(replace(journal.sent(elsewhere.shown_server), run_id="0" * 32))
    journal.add("metrics", step=3, values={"loss": 3.0})
    send(journal, elsewhere)
    assert [metric.step for metric in client.get_metric_history(run_id, "loss")] == [1, 2, 3]


def test_a_run_that_was_deleted_and_goes_on_is_there_anew(journal, settings):
    journal.add("metrics", step=1, values={"loss": 1.0})
    send(journal, settings)
    deleted = run_of(journal, settings).info.run_id
    client = mlflow.MlflowClient(settings.server)
    client.delete_run(deleted)
    journal.add("metrics", step=2, values={"loss": 2.0})
    send(journal, settings)
    run = run_of(journal, settings)
    assert run.info.run_id != deleted
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "loss")] == [1, 2]


def test_a_generator_whose_run_is_nowhere_is_told_and_nothing_is_made(settings, identity, caplog):
    journal = Journal.of(settings.journals, identity.key)
    journal.begin(replace(identity, must_exist=True))
    journal.add("tags", values={"a": "b"})
    assert send(journal, settings) == 1
    assert "is not at sqlite:" in caplog.text
    assert mlflow.MlflowClient(settings.server).search_experiments(filter_string="name = 'tests'") == []


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("data/01_raw/faces", {"uri": "data/01_raw/faces"}),
        ("torchvision:MNIST", {"tags": {"source": "torchvision:MNIST"}}),
    ],
)
def test_the_dataset_of_a_run_says_where_it_is_from(journal, settings, source, told):
    tags = {"dvc.images_md5": "f00.dir"}
    journal.add("dataset", name="faces", digest="0123456789abcdef", source=source, tags=tags)
    send(journal, settings)
    (logged,) = run_of(journal, settings).inputs.dataset_inputs
    assert (logged.dataset.name, logged.dataset.digest) == ("faces", "0123456789abcdef")
    assert json.loads(logged.dataset.source) == told
    assert {tag.key: tag.value for tag in logged.tags} == {"mlflow.data.context": "training", **tags}
