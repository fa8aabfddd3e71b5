"""The registered generator: versions, aliases, tags and files, in a real MLflow registry."""

import shutil
from dataclasses import replace

import mlflow
import pandas as pd
import pytest
from image_server import show_images
from mlflow.exceptions import MlflowException
from networks import generator_config
from PIL import Image

from kedro_dcgan.errors import ModelError
from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.protocol import MeasurementProtocol, MetricValue, evaluation_record
from kedro_dcgan.evaluation.verdict import COPIES_NOTICE
from kedro_dcgan.model.recipes import build_generator
from kedro_dcgan.model.sampling import generate_all, sample_inputs
from kedro_dcgan.model.saved import TrainedGenerator, snapshot_weights, write_generator
from kedro_dcgan.tracking import registry, versions
from kedro_dcgan.tracking.connection import connect
from kedro_dcgan.tracking.journal import Journal
from kedro_dcgan.tracking.uploader import upload_journal

NAME = "fd_efflite0_64_100_test"
PROTOCOL = MeasurementProtocol("efflite0_64", "57", 1280, "bicubic", "float32", 100, 373, "test", 0, "0123")


def evaluated(value, half=1.0, digest="0123", weight=None, **facts):
    """Return a generator with a primary metric; generators with another value or `weight` have other weights."""
    generator = build_generator(generator_config("dcgan", 16, 1, 3, 1))
    next(generator.parameters()).data.view(-1)[0] = value if weight is None else weight
    estimate = MetricValue("fd", PROTOCOL, Estimate(value, value - half, value + half))
    record = evaluation_record([estimate])
    evaluation = {key: record[key] for key in ("primary_metric", "numbers", "protocols")}
    evaluation |= {"protocol": {"seed": 0}, "quality": "sharp and varied"}
    return TrainedGenerator(generator.config, snapshot_weights(generator), digest, 64, {**evaluation, **facts})


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

    def register(trained, name="faces"):
        folder = tmp_path / "generator"
        folder.mkdir(exist_ok=True)
        write_generator(folder, trained)
        Image.new("L", (8, 8)).save(tmp_path / "sample_grid.png")
        (tmp_path / "generator.onnx").write_bytes(b"onnx")
        parts = [folder, tmp_path / "sample_grid.png", tmp_path / "generator.onnx"]
        journal.add("generator", parts, name=name)
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
    (line,) = registered(failed)
    assert line.startswith("registered    faces v1 (candidate); not champion: ")
    tags = mlflow.MlflowClient().get_model_version("faces", "1").tags
    assert tags["fault"] == "exploded"
    assert "exploded" in tags["not_champion"]
    # A short training is no failure: it becomes champion, although its metric is worse.
    short = evaluated(9.0)
    short = replace(short, facts={**short.facts, "fault": "undertrained"})
    assert registered(short) == ("registered    faces v2 (candidate, champion)",)


def test_generator_that_copies_never_becomes_champion(registered):
    copier = evaluated(0.1)
    copier = replace(copier, facts={**copier.facts, "copies": True})
    (line,) = registered(copier)
    assert line.startswith("registered    faces v1 (candidate); not champion: ")
    tags = mlflow.MlflowClient().get_model_version("faces", "1").tags
    assert (tags["copies"], "copies" in tags["not_champion"]) == ("true", True)
    assert COPIES_NOTICE in mlflow.MlflowClient().get_model_version("faces", "1").description
    assert registered(evaluated(50.0)) == ("registered    faces v2 (candidate, champion)",)


def test_candidate_always_moves_and_champion_only_if_significantly_better(registered, client):
    assert registered(evaluated(50.0)) == ("registered    faces v1 (candidate, champion)",)
    (second,) = registered(evaluated(49.0))
    assert second.startswith("registered    faces v2 (candidate)")
    assert "the champion's 50.0" in second
    assert client.get_model_version("faces", "2").tags["not_champion"] in second
    assert registered(evaluated(40.0)) == ("registered    faces v3 (candidate, champion)",)
    (fourth,) = registered(evaluated(10.0, digest="another"))
    assert fourth.startswith("registered    faces v4 (candidate)")
    assert "another dataset" in fourth
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
    assert version.description.startswith("# ")
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
    latents = sample_inputs(3, trained.config, 7)
    assert show_images(answers["png"][:3], generate_all(trained.build(), latents))
    by_latents = model.predict(pd.DataFrame({"latents": [row.tolist() for row in latents]}))
    assert show_images(by_latents["png"], generate_all(trained.build(), latents))
    for faulty, message in (
        ({"seed": [-1]}, "`seed` of row 0 must be an integer from 0"),
        ({"seed": [1], "count": [0]}, "`count` of row 0 must be an integer from 1 to 1024"),
        ({"seed": [1.5]}, "`seed` of row 0 must be an integer .* .got 1.5"),
        ({"seed": [1, 2], "count": [1000, 1000]}, "at most 1024 images in total"),
        ({"latents": [[0.0, 1.0]]}, "must be 3 numbers"),
        ({"latents": [[0.0, 1.0, float("nan")]]}, "must be 3 numbers"),
        ({"count": [1]}, "either `seed` or `latents`"),
        ({"other": [1]}, "at least one row with `seed` or `latents`"),
    ):
        with pytest.raises(MlflowException, match=message):
            model.predict(pd.DataFrame(faulty))


def test_a_generator_is_downloaded_by_its_alias(registered):
    registered(evaluated(50.0))
    for model in ("faces@champion", "faces@1", "faces"):
        assert (versions.fetch_generator(versions.find_named(model)) / "generator.json").is_file()
    for unknown in ("faces@nobody", "faces@2", "nobody", "faces@0"):
        with pytest.raises(ModelError, match=f"got {unknown}, which does not exist; registered: faces"):
            versions.find_named(unknown)
    # A missing file is not called an unknown model.
    version = versions.find_named("faces")
    place, _ = versions.locate_files(version)
    shutil.rmtree(place)
    with pytest.raises(ModelError, match=f"faces v1 must be at {place}"):
        versions.fetch_generator(version)


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("photos", "dcgan-photos-smoke"),
        ("my cats & dogs.zip", "dcgan-my-cats-dogs.zip-smoke"),
        ("torchvision:CIFAR10", "dcgan-torchvision-CIFAR10-smoke"),
        ("../..", "dcgan-images-smoke"),
        ("", "dcgan-images-smoke"),
        ("花 Blu\u0308ten", "dcgan-花-Blüten-smoke"),
        ("x" * 300, f"dcgan-{'x' * 60}-smoke"),
        ("a'b`c\udcff/%2e", "dcgan-a-b-c-2e-smoke"),
    ],
    ids=["plain", "blanks", "torchvision", "dots", "empty", "unicode", "long", "quotes"],
)
def test_a_model_is_named_after_its_dataset(dataset, name):
    assert versions.model_name("dcgan-{source}-smoke", evaluated(1.0, dataset=dataset)) == name
    assert versions.model_name("mine", evaluated(1.0, dataset=dataset)) == "mine"
    # A generator that was trained before facts had the dataset.
    assert versions.model_name("dcgan-{source}", evaluated(1.0)) == "dcgan-generator"


def test_each_dataset_has_its_own_champion(registered, client):
    digits, flowers = evaluated(50.0, dataset="digits"), evaluated(90.0, digest="4567", dataset="flowers")
    assert registered(digits, "dcgan-{source}") == ("registered    dcgan-digits v1 (candidate, champion)",)
    assert registered(flowers, "dcgan-{source}") == ("registered    dcgan-flowers v1 (candidate, champion)",)
    for trained, name in ((digits, "dcgan-digits"), (flowers, "dcgan-flowers")):
        version, reason = versions.find_served(trained)
        assert (version.name, str(version.version), reason.split()[:2]) == (name, "1", ["the", "champion"])
    line = versions.describe_version(versions.find_served(flowers)[0])
    assert {"dcgan-flowers", "v1", "(candidate,", "champion)", "flowers", "4567"} <= set(line.split())


def test_the_served_version_is_of_the_images_of_the_last_export(registered, client):
    first, later = evaluated(50.0), evaluated(80.0)
    added = evaluated(90.0, digest="more images", dataset="faces")
    for trained in (first, later, added):
        registered(trained)
    # The champion of the same images, even if the last export is worse.
    assert str(versions.find_served(later)[0].version) == "1"
    # The champion was trained on other images.
    version, reason = versions.find_served(added)
    assert str(version.version) == "3"
    assert "v1, is of other images" in reason
    client.delete_registered_model_alias("faces", "champion")
    version, reason = versions.find_served(later)
    assert (str(version.version), "no version is champion" in reason) == ("2", True)
    with pytest.raises(ModelError, match=r"kedro dcgan sync.*\(registered: faces\)"):
        versions.find_served(evaluated(1.0))


def test_the_same_weights_are_registered_once_for_each_name_and_protocol(registered, client):
    assert registered(evaluated(50.0, weight=1.0)) == ("registered    faces v1 (candidate, champion)",)
    registered(evaluated(49.5, weight=2.0))
    # Another number by chance, such as on another processor.
    (again,) = registered(evaluated(50.1, weight=1.0))
    assert again.startswith("registered    faces v1 (champion): it has the same weights")
    assert len(client.search_model_versions("name = 'faces'")) == 2
    (renamed,) = registered(evaluated(50.0, weight=1.0), "others")
    assert renamed.startswith("registered    others v1 (candidate, champion), with the same weights as faces v1")
    (other_protocol,) = registered(evaluated(50.0, weight=1.0, protocol={"seed": 1}))
    assert other_protocol.startswith("registered    faces v3 (candidate), with the same weights as faces v1")
    # A version whose files are missing is not reused.
    shutil.rmtree(versions.locate_files(versions.find_named("others@1"))[0])
    assert registered(evaluated(50.0, weight=1.0), "others")[0].startswith("registered    others v2 (candidate)")


def test_a_version_with_the_same_weights_gets_the_new_description(registered, client):
    registered(evaluated(50.0, data_licence="CC0-1.0"))
    registered(evaluated(50.0, data_licence="CC-BY-4.0"))
    (version,) = client.search_model_versions("name = 'faces'")
    assert "CC-BY-4.0" in version.description
    assert "CC0-1.0" not in version.description


def test_the_champion_stays_if_the_server_fails(registered, client, monkeypatch):
    registered(evaluated(50.0))
    fail = failing(MlflowException("API request failed"))
    monkeypatch.setattr(mlflow.MlflowClient, "get_model_version_by_alias", fail)
    with pytest.raises(MlflowException, match="API request failed"):
        registered(evaluated(1.0))
    monkeypatch.undo()
    assert str(client.get_registered_model("faces").aliases["champion"]) == "1"
