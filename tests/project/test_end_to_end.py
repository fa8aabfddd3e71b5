"""All pipelines end to end with the real commands: files, MLflow records and the registered generator."""

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import av
import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from image_server import show_images
from PIL import Image
from projects import copy_project

from kedro_dcgan.datasets import PreparedImagesDataset, TrainedGeneratorDataset
from kedro_dcgan.errors import ModelError
from kedro_dcgan.model.sampling import generate_all, sample_inputs
from kedro_dcgan.model.synthetic_marks import SyntheticMark, read_mark
from kedro_dcgan.pipelines.export.nodes import export_generator
from kedro_dcgan.reports.model_card import write_model_card

MODEL = "dcgan-digits-smoke"


def database(project):
    return f"sqlite:///{project.path}/mlflow.db"


@pytest.fixture
def client(trained_project):
    mlflow.set_tracking_uri(database(trained_project))
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(None)


@pytest.fixture
def run(trained_project, client):
    return client.get_run(trained_project.mlflow_run())


def read_pngs(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob("*.png")}


def test_each_pipeline_prints_its_summary_lines(trained_project):
    starts = [line.split()[0] for line in trained_project.output.splitlines() if line and line[0] != " "]
    assert starts == [
        "ingestion",
        "preprocessing",
        "training",
        "trained",
        "evaluation",
        "verdict",
        "advice",
        "export",
        "registered",
        "done",
        "next",
    ]
    assert "1,797 images scanned · 1,797 accepted · 0 skipped" in trained_project.output
    assert str(trained_project.path / "data/08_reporting/sample_grid.png") in trained_project.output


def test_manifest_lists_all_images_with_their_split(trained_project):
    manifest = pd.read_parquet(trained_project.path / "data/02_intermediate/manifest.parquet")
    assert len(manifest) == 1797
    assert manifest["label"].nunique() == 10
    assert manifest["split"].value_counts().to_dict() == {"train": 1251, "test": 373, "validation": 173}


def test_prepared_images_have_the_splits_of_the_manifest(trained_project):
    primary = trained_project.path / "data/03_primary"
    images = PreparedImagesDataset(primary / "images", "shards").load()
    assert {split: images.count(split) for split in images.rows} == {"train": 1251, "test": 373, "validation": 173}
    assert images.take("train", np.arange(3)).shape == (3, 1, 32, 32)


def test_dataset_card_is_valid_and_the_licence_of_the_digits_is_in_the_generators(trained_project):
    card = "data/08_reporting/croissant.json"
    trained_project.run("mlcroissant", "validate", "--jsonld", card)
    content = json.loads((trained_project.path / card).read_text())
    assert (content["license"], content["url"]) == ("CC-BY-4.0", "https://doi.org/10.24432/C50P49")
    for folder in ("data/06_models/generator", "data/07_model_output/generator"):
        facts = TrainedGeneratorDataset(trained_project.path / folder).load().facts
        assert (facts["data_licence"], facts["data_url"]) == (content["license"], content["url"])


def test_export_rejects_an_evaluation_of_another_generator(trained_project):
    trained = TrainedGeneratorDataset(trained_project.path / "data/06_models/generator").load()
    evaluation = json.loads((trained_project.path / "data/08_reporting/evaluation.json").read_text())
    assert export_generator(trained, evaluation).facts["primary_metric"] == evaluation["primary_metric"]
    changed = {name: weights + 1 for name, weights in trained.weights.items()}
    with pytest.raises(ModelError, match="current generator"):
        export_generator(replace(trained, weights=changed), evaluation)


def test_reported_images_and_videos_are_readable(trained_project):
    reporting = trained_project.path / "data/08_reporting"
    assert Image.open(reporting / "sample_grid.png").size[0] > 200
    assert Image.open(reporting / "training_curves.png").size[0] > 200
    history = pd.read_json(trained_project.path / "data/06_models/training_history.jsonl", lines=True)
    assert Image.open(reporting / "progress.gif").n_frames == len(history) + 1  # one before the first step
    with av.open(str(reporting / "progress.mp4")) as video:
        frames = list(video.decode(video=0))
    assert len(frames) == len(history) + 1 + 6  # the last frame is shown for 1.5 seconds
    last = Image.open(max((trained_project.path / "data/06_models/sample_frames").glob("*/*.png"))).convert("RGB")
    shown = frames[-1].to_ndarray(format="rgb24")[: last.height, : last.width]
    assert np.abs(shown.astype(int) - np.asarray(last)).mean() < 4


def test_generated_pictures_are_marked_and_others_are_not(trained_project):
    trained = TrainedGeneratorDataset(trained_project.path / "data/07_model_output/generator").load()
    mark, data = SyntheticMark.of(trained), trained_project.path / "data"
    assert mark.training_id == trained.facts["training_id"]
    for number, file in enumerate(sorted((data / "07_model_output/samples").glob("*.png"))):
        assert read_mark(file) == mark.of_image(0, number)
    assert read_mark(data / "08_reporting/sample_grid.png") == mark.of_image(0)
    for file in (data / "06_models/sample_frames").glob("*/*.png"):
        assert read_mark(file) == SyntheticMark(training_id=mark.training_id)
    for name in ("accepted_images", "compared_samples", "nearest_images"):
        assert read_mark(data / f"08_reporting/{name}.png") is None


def test_exported_generator_has_a_model_card(trained_project):
    folder = trained_project.path / "data/07_model_output/generator"
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card == write_model_card(TrainedGeneratorDataset(folder).load())
    assert "fd_efflite0_64_100_test" in card


def test_training_history_is_complete_and_ordered(trained_project):
    history = pd.read_json(trained_project.path / "data/06_models/training_history.jsonl", lines=True)
    assert history["images_seen"].is_monotonic_increasing
    assert history["images_seen"].iloc[-1] == 1251 // 16 * 16
    assert np.isfinite(history.select_dtypes("number").dropna(axis="columns").to_numpy()).all()
    # Validation ran once, at the end.
    assert history["fd_efflite0_64_50_validation"].notna().tolist() == [False] * (len(history) - 1) + [True]
    assert set(history["health"]) == {"healthy"}


def test_evaluation_names_its_protocol_and_no_fid(trained_project):
    text = (trained_project.path / "data/08_reporting/evaluation.json").read_text()
    evaluation = json.loads(text)
    assert evaluation["primary_metric"] in evaluation["metrics"]
    assert evaluation["primary_metric"] == "fd_efflite0_64_100_test"
    assert not [key for key in evaluation["metrics"] if "fid" in key or "kid" in key]
    assert evaluation["metrics"]["fd_efflite0_64_100_test_floor"] < evaluation["metrics"]["fd_efflite0_64_100_test"]
    protocols = {protocol["name"]: protocol for protocol in evaluation["protocols"]}
    for number in evaluation["numbers"]:
        if number["metric"] != "classes_covered":
            assert number["low"] <= number["value"] <= number["high"], number["name"]
        assert protocols[number["protocol"]]["real"] == (373 if number["split"] == "test" else 1251)
    names = {number["metric"] for number in evaluation["numbers"] if number["split"] == "test"}
    assert names == {"fd", "kd", "precision", "recall", "density", "coverage", "classes_covered", "class_divergence"}
    assert evaluation["classes"]["classifier_accuracy_test"] > 0.9
    assert "not FID" in evaluation["title"]


def test_there_is_one_mlflow_run_with_flat_parameters(client, run):
    experiment = client.get_experiment_by_name("dcgan")
    assert len(client.search_runs([experiment.experiment_id])) == 1
    assert run.info.status == "FINISHED"
    assert run.data.params["training.generator.learning_rate"] == "0.002"
    assert run.data.params["training.batch_size"] == "16"
    assert not {"training", "ingestion", "preprocessing"} & set(run.data.params)
    assert run.data.tags["preset"] == "smoke"
    # The training is too short to learn anything.
    assert run.data.tags["verdict"].startswith("undertrained")
    assert run.data.tags["quality"].startswith("undertrained, low fidelity")
    assert "train longer" in run.data.tags["advice"]
    assert run.data.tags["hardware"]
    assert run.data.tags["classes"] == "0"
    assert run.data.tags["dataset_digest"] == "4304ee411e61870b"
    assert "classes" in run.data.tags["quality"]


def test_mlflow_run_has_losses_sample_grids_and_the_evaluation(trained_project, client, run):
    history = pd.read_json(trained_project.path / "data/06_models/training_history.jsonl", lines=True)
    logged = client.get_metric_history(run.info.run_id, "generator_loss")
    assert [metric.step for metric in logged] == history["images_seen"].tolist()
    assert np.allclose([metric.value for metric in logged], history["generator_loss"])
    times = [metric.timestamp for metric in logged]
    assert times == sorted(times)
    assert len(set(times)) == len(times)  # logged during training, not at its end
    evaluation = json.loads((trained_project.path / "data/08_reporting/evaluation.json").read_text())
    assert evaluation["metrics"].items() <= run.data.metrics.items()
    grids = [file.path for file in client.list_artifacts(run.info.run_id, "images") if file.path.endswith(".png")]
    assert len(grids) == len(history) + 2  # the untrained generator, and the latest samples


def test_registered_generator_loads_by_alias_and_generates_the_same_images(trained_project, client):
    trained = TrainedGeneratorDataset(trained_project.path / "data/07_model_output/generator").load()
    images = generate_all(trained.build(), sample_inputs(5, trained.config, seed=7))
    for alias in ("candidate", "champion"):
        model = mlflow.pyfunc.load_model(f"models:/{MODEL}@{alias}")
        answers = model.predict(pd.DataFrame({"seed": [7], "count": [5]}))["png"]
        assert show_images(answers, images)


def test_registered_models_contain_no_pickle(trained_project):
    shipped = [path.suffix for path in (trained_project.path / "mlartifacts").rglob("*") if path.is_file()]
    assert ".safetensors" in shipped
    assert not {".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib"} & set(shipped)


def test_sample_command_is_reproducible_and_matches_the_export(trained_project, tmp_path):
    for name in ("one", "again"):
        arguments = f"--count 6 --seed 0 --output {tmp_path / name} --model {MODEL}@champion".split()
        trained_project.kedro("dcgan", "sample", *arguments)
    assert read_pngs(tmp_path / "one") == read_pngs(tmp_path / "again")
    assert len(set(read_pngs(tmp_path / "one").values())) == 6
    for name in read_pngs(tmp_path / "one"):
        sampled, exported_file = tmp_path / "one" / name, trained_project.path / "data/07_model_output/samples" / name
        assert (np.asarray(Image.open(sampled)) == np.asarray(Image.open(exported_file))).all()
        # The mark of an image from the registry names the version, too.
        assert read_mark(sampled) == replace(read_mark(exported_file), model=f"{MODEL} v1")


def test_sample_command_rejects_an_unknown_model(trained_project, tmp_path):
    unknown = trained_project.kedro(
        "dcgan", "sample", "--output", str(tmp_path / "new"), "--model", "nobody@champion", check=False
    )
    assert unknown.returncode == 1
    assert "Error: `--model`" in unknown.stderr
    assert "(got nobody@champion" in unknown.stderr


def test_evaluation_from_a_subfolder_logs_to_the_run_of_the_generator(trained_project, client, run):
    (trained_project.path / "notebooks").mkdir(exist_ok=True)
    command = ("kedro", "run", "--pipelines=evaluate", "--env=smoke", "--params", "evaluation.samples=50")
    trained_project.run(*command, cwd=trained_project.path / "notebooks")
    assert not list((trained_project.path / "notebooks").iterdir())
    experiment = client.get_experiment_by_name("dcgan")
    runs = client.search_runs([experiment.experiment_id])
    assert [found.info.run_id for found in runs] == [run.info.run_id]
    assert "fd_efflite0_64_50_test" in runs[0].data.metrics
    assert runs[0].info.status == "FINISHED"
    assert runs[0].info.run_name == run.info.run_name


def test_failed_training_has_a_failed_mlflow_run(trained_project, tmp_path):
    project = copy_project(tmp_path / "kedro-dcgan")
    shutil.copytree(trained_project.path / "data/03_primary", project.path / "data/03_primary")
    diverging = "training.penalties.r1=1e38"
    failed = project.kedro("run", "--env=smoke", "--pipelines=training", "--params", diverging, check=False)
    assert failed.returncode == 1
    assert "must stay finite" in failed.stderr
    client = mlflow.MlflowClient(database(project))
    (run,) = client.search_runs([client.get_experiment_by_name("dcgan").experiment_id])
    assert run.info.status == "FAILED"


def test_telemetry_is_off_and_no_run_stays_open(trained_project):
    with sqlite3.connect(trained_project.path / "mlflow.db") as connection:
        assert connection.execute("select count(*) from runs where status != 'FINISHED'").fetchone() == (0,)
    code = "import kedro_dcgan.settings, mlflow.telemetry.client as c; print(c._MLFLOW_TELEMETRY_CLIENT)"
    assert trained_project.run("python", "-c", code, CI="", PYTEST_CURRENT_TEST="").stdout.strip() == "None"


def test_equal_seeds_train_equal_generators(trained_project, tmp_path):
    first = TrainedGeneratorDataset(trained_project.path / "data/06_models/generator").load()
    project = trained_project
    code = (
        "from kedro.framework.session import KedroSession;"
        "from kedro.framework.startup import bootstrap_project;"
        "bootstrap_project('.');"
        "from kedro_dcgan.pipelines.training.nodes import start_training as s, train_generator as t;"
        "c = KedroSession.create(env='smoke').load_context().catalog;"
        "from kedro_dcgan.datasets import TrainedGeneratorDataset as D;"
        "from kedro_dcgan.training.checkpoints import CheckpointFolder as F; from pathlib import Path;"
        f"images, training, folder = c.load('images'), c.load('params:training'), F(Path('{tmp_path}'));"
        "*_, last = t(images, folder, s(images, folder, training));"
        f"D('{tmp_path}/again').save(last[0])"
    )
    project.run("python", "-c", code)
    again = TrainedGeneratorDataset(tmp_path / "again").load()
    assert all(torch.equal(first.weights[name], again.weights[name]) for name in first.weights)
