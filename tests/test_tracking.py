"""What MLflow is told, asked back from MLflow."""

import json

import mlflow
import pytest

from kedro_dcgan import tracking


@pytest.fixture
def run(tmp_path):
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    yield tracking.open_run("tests")
    tracking.close_run("FINISHED")
    mlflow.set_tracking_uri(before)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("data/01_raw/faces", {"uri": "data/01_raw/faces"}),
        ("torchvision:MNIST", {"tags": {"source": "torchvision:MNIST"}}),
    ],
)
def test_the_dataset_of_a_run_says_where_it_is_from(run, source, told):
    tracking.log_dataset("faces", "0123456789abcdef", source, {"dvc.images_md5": "f00.dir"})
    (logged,) = mlflow.get_run(run).inputs.dataset_inputs
    assert (logged.dataset.name, logged.dataset.digest) == ("faces", "0123456789abcdef")
    assert json.loads(logged.dataset.source) == told
    assert {tag.key: tag.value for tag in logged.tags}["dvc.images_md5"] == "f00.dir"
