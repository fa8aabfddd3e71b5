"""The registered generator: versions, aliases, tags and files, in a real MLflow registry."""

import base64
import io
from dataclasses import replace

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from networks import generator_config
from PIL import Image

from kedro_dcgan.errors import ModelError
from kedro_dcgan.model.recipes import build_generator
from kedro_dcgan.model.sampling import generate_all, sample_latents
from kedro_dcgan.model.saved import TrainedGenerator, snapshot_weights, write_generator
from kedro_dcgan.tracking import registry
from kedro_dcgan.tracking.connection import connect
from kedro_dcgan.tracking.journal import Journal
from kedro_dcgan.tracking.uploader import upload_journal

NAME = "fd_efflite0_64_100_test"


def evaluated(value, half=1.0, digest="0123"):
    generator = build_generator(generator_config("dcgan", 16, 1, 3, 1))
    number = {"name": NAME, "metric": "fd", "value": value, "low": value - half, "high": value + half}
    facts = {"primary_metric": NAME, "numbers": [number], "protocol": {"seed": 0}, "quality": "sharp and varied"}
    return TrainedGenerator(generator.config, snapshot_weights(generator), digest, 64, facts)


def failing(error):
    def fail(*arguments, **options):
        raise error

    return fail


@pytest.fixture
def registered(settings, identity, tmp_path):
    """A function that registers a generator and returns the messages of the upload."""
    connect(settings)
    journal = Journal.create(settings.journals, identity)
    journal.add("metrics", step=64, values={NAME: 3.0})

    def register(trained):
        folder = tmp_path / "generator"
        folder.mkdir(exist_ok=True)
        write_generator(folder, trained)
        Image.new("L", (8, 8)).save(tmp_path / "sample_grid.png")
        (tmp_path / "generator.onnx").write_bytes(b"onnx")
        parts = [folder, tmp_path / "sample_grid.png", tmp_path / "generator.onnx"]
        journal.add("generator", parts, name="faces")
        return tuple(answer for _, answers in upload_journal(journal, settings) for answer in answers)

    register.journal, register.settings = journal, settings
    yield register
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


@pytest.fixture
def client(registered):
    return mlflow.MlflowClient()


def test_failed_training_never_becomes_champion(registered):
    failed = evaluated(3.0)
    failed = replace(failed, facts={**failed.facts, "fault": "exploded"})
    assert registered(failed) == ("registered    faces v1 (candidate)",)
    tags = mlflow.MlflowClient().get_model_version("faces", "1").tags
    assert tags["fault"] == "exploded"
    assert "exploded" in tags["not_champion"]
    # A short training is no failure: it becomes champion, although its metric is worse.
    short = evaluated(9.0)
    short = replace(short, facts={**short.facts, "fault": "undertrained"})
    assert registered(short) == ("registered    faces v2 (candidate, champion)",)


def test_candidate_always_moves_and_champion_only_if_significantly_better(registered, client):
    assert registered(evaluated(50.0)) == ("registered    faces v1 (candidate, champion)",)
    assert registered(evaluated(49.0)) == ("registered    faces v2 (candidate)",)
    assert "the champion's 50.0" in client.get_model_version("faces", "2").tags["not_champion"]
    assert registered(evaluated(40.0)) == ("registered    faces v3 (candidate, champion)",)
    assert registered(evaluated(10.0, digest="another")) == ("registered    faces v4 (candidate)",)
    assert "another dataset" in client.get_model_version("faces", "4").tags["not_champion"]
    aliases = client.get_registered_model("faces").aliases
    assert {alias: str(number) for alias, number in aliases.items()} == {"candidate": "4", "champion": "3"}


def test_promote_and_roll_back_move_the_champion(registered, client):
    for value in (50.0, 49.0):
        registered(evaluated(value))
    with pytest.raises(ModelError, match="`faces` must have a previous champion"):
        registry.roll_back("faces")
    assert registry.promote("faces", "candidate") == ("2", "1")
    aliases = client.get_registered_model("faces").aliases
    assert {alias: str(number) for alias, number in aliases.items()} == {"candidate": "2", "champion": "2"}
    with pytest.raises(ModelError, match="v2 is the champion already"):
        registry.promote("faces", "2")
    assert registry.roll_back("faces") == ("1", "2")
    assert str(client.get_registered_model("faces").aliases["champion"]) == "1"
    # A second rollback does not return to the version that was just replaced.
    with pytest.raises(ModelError, match="`faces` must have a previous champion"):
        registry.roll_back("faces")
    with pytest.raises(ModelError, match="must have a version or an alias 7"):
        registry.promote("faces", "7")
    with pytest.raises(ModelError, match="must have a version or an alias"):
        registry.promote("nobody", "1")
    with pytest.raises(ModelError, match="`nobody` must have a previous champion"):
        registry.roll_back("nobody")


def test_a_second_rollback_goes_back_further_and_skips_deleted_versions(registered, client):
    for value in (50.0, 49.5, 49.0, 40.0):
        registered(evaluated(value))
    for version in ("2", "3", "1", "2"):
        registry.promote("faces", version)
    # Champions were 1, 4, 2, 3, 1, 2.
    client.delete_model_version("faces", "3")
    assert [registry.roll_back("faces")[0] for _ in range(2)] == ["1", "2"]
    assert [registry.roll_back("faces")[0] for _ in range(2)] == ["4", "1"]
    with pytest.raises(ModelError, match="`faces` must have a previous champion"):
        registry.roll_back("faces")


def test_uploading_a_generator_twice_does_not_move_aliases_back(registered, client, monkeypatch):
    registered(evaluated(50.0))
    # It is registered, but the upload state is not saved.
    monkeypatch.setattr(Journal, "save_upload_state", failing(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        registered(evaluated(10.0))
    monkeypatch.undo()
    assert str(client.get_registered_model("faces").aliases["champion"]) == "2"
    registry.promote("faces", "1")
    assert len(list(upload_journal(registered.journal, registered.settings))) == 1
    aliases = client.get_registered_model("faces").aliases
    assert {alias: str(number) for alias, number in aliases.items()} == {"candidate": "2", "champion": "1"}


def test_a_later_candidate_keeps_its_alias(registered, client, monkeypatch):
    registered(evaluated(50.0))
    # The second version is registered, but the server fails before its aliases move.
    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", failing(OSError("away")))
    with pytest.raises(OSError, match="away"):
        registered(evaluated(49.5))
    monkeypatch.undo()
    made = client.create_model_version("faces", client.get_model_version("faces", "1").source)
    client.set_registered_model_alias("faces", "candidate", made.version)
    list(upload_journal(registered.journal, registered.settings))
    assert str(client.get_registered_model("faces").aliases["candidate"]) == "3"


def test_a_version_has_its_metric_dataset_and_files(registered, client):
    registered(evaluated(50.0))
    version = client.get_model_version("faces", "1")
    assert (version.tags["value"], version.tags["low"], version.tags["high"]) == ("50.0", "49.0", "51.0")
    assert version.tags["dataset_digest"] == "0123"
    assert f"| `{NAME}` | 50 | 49 to 51 |" in version.description
    model_id = version.source.removeprefix("models:/")
    model = client.get_logged_model(model_id)
    assert model.source_run_id == version.run_id
    assert {metric.key: metric.value for metric in model.metrics} == {NAME: 3.0}
    files = {file.path for file in client.list_logged_model_artifacts(model_id, "artifacts")}
    assert files == {f"artifacts/{name}" for name in ("generator", "generator.onnx", "sample_grid.png")}


def test_a_retry_completes_an_interrupted_registration(registered, client, monkeypatch):
    fail = failing(MlflowException("the server went away"))
    # First while the model is logged, then between logging and registering it.
    monkeypatch.setattr("kedro_dcgan.tracking.model.Model.log", fail)
    with pytest.raises(MlflowException, match="went away"):
        registered(evaluated(50.0))
    monkeypatch.undo()
    monkeypatch.setattr(mlflow.MlflowClient, "create_model_version", fail)
    with pytest.raises(MlflowException, match="went away"):
        list(upload_journal(registered.journal, registered.settings))
    monkeypatch.undo()
    list(upload_journal(registered.journal, registered.settings))
    assert [str(one.version) for one in client.search_model_versions("name = 'faces'")] == ["1"]
    run = client.get_run(client.get_model_version("faces", "1").run_id)
    models = client.search_logged_models([run.info.experiment_id])
    assert len(models) == 1
    assert list(upload_journal(registered.journal, registered.settings)) == []


def test_the_model_generates_from_seeds_and_latents_and_rejects_invalid_requests(registered):
    trained = evaluated(50.0)
    registered(trained)
    model = mlflow.pyfunc.load_model("models:/faces@champion")
    answers = model.predict(pd.DataFrame({"seed": [7, 8], "count": [3, 1]}))
    assert list(zip(answers["row"], answers["index"], strict=True)) == [(0, 0), (0, 1), (0, 2), (1, 0)]
    latents = sample_latents(3, trained.config, 7)
    expected = generate_all(trained.build(), latents)[:, 0].numpy()
    drawn = [np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))) for png in answers["png"]]
    assert np.array_equal(drawn[:3], expected)
    by_latents = model.predict(pd.DataFrame({"latents": [row.tolist() for row in latents]}))
    assert list(by_latents["png"]) == list(answers["png"][:3])
    for faulty, message in (
        ({"seed": [-1]}, "`seed` of row 0 must be an integer from 0"),
        ({"seed": [1], "count": [0]}, "`count` of row 0 must be an integer from 1 to 1024"),
        ({"seed": [1.5]}, "`seed` of row 0 must be an integer .* .got 1.5"),
        ({"seed": [1, 2], "count": [1000, 1000]}, "1 to 1024 images in total"),
        ({"latents": [[0.0, 1.0]]}, "must be 3 finite numbers"),
        ({"latents": [[0.0, 1.0, float("nan")]]}, "must be 3 finite numbers"),
        ({"count": [1]}, "either `seed` or `latents`"),
        ({"other": [1]}, "must have `seed` or `latents`"),
    ):
        with pytest.raises(MlflowException, match=message):
            model.predict(pd.DataFrame(faulty))


def test_a_generator_is_downloaded_by_its_alias(registered):
    registered(evaluated(50.0))
    assert (registry.fetch_generator("faces@champion") / "generator.json").is_file()
    with pytest.raises(ModelError, match="must be a registered NAME@ALIAS"):
        registry.fetch_generator("faces@nobody")


def test_the_champion_stays_if_the_server_fails(registered, client, monkeypatch):
    registered(evaluated(50.0))
    fail = failing(MlflowException("API request failed"))
    monkeypatch.setattr(mlflow.MlflowClient, "get_model_version_by_alias", fail)
    with pytest.raises(MlflowException, match="API request failed"):
        registered(evaluated(1.0))
    monkeypatch.undo()
    assert str(client.get_registered_model("faces").aliases["champion"]) == "1"
