"""The preset that a sweep writes into `conf/`."""

import pytest
import yaml
from dataset_errors import raises_dataset_error

from kedro_dcgan.datasets import PresetDataset
from kedro_dcgan.errors import DataError

BASE = {
    "training": {"batch_size": 16, "generator": {"learning_rate": 2e-3, "width": 24}, "kimg": None},
    "preprocessing": {"image_size": 32},
}


@pytest.fixture
def conf(tmp_path):
    (tmp_path / "base").mkdir()
    for group, values in BASE.items():
        (tmp_path / f"base/parameters_{group}.yml").write_text(yaml.safe_dump({group: values}))
    return tmp_path


def preset(**changes):
    training = {**BASE["training"], "generator": {"learning_rate": 1e-5, "width": 24}, **changes}
    return {
        "name": "found",
        "note": "the best of 20 trials",
        "always": {"training.batch_size"},
        "parameters": {"training": training, "preprocessing": BASE["preprocessing"]},
    }


def test_preset_has_what_differs_and_what_was_searched(conf):
    PresetDataset(conf).save(preset())
    (file,) = (conf / "found").iterdir()
    assert file.name == "parameters_training.yml"
    assert file.read_text().startswith("# Written by kedro run --pipelines=sweep: the best of 20 trials\n")
    assert yaml.safe_load(file.read_text()) == {"training": {"batch_size": 16, "generator": {"learning_rate": 1e-5}}}


def test_preset_of_an_earlier_sweep_is_replaced(conf):
    PresetDataset(conf).save(preset(kimg=50))
    PresetDataset(conf).save(preset())
    assert "kimg" not in (conf / "found/parameters_training.yml").read_text()


@pytest.mark.parametrize("name", ["base", "local", "own"])
def test_preset_of_another_origin_is_kept(conf, name):
    (conf / "own").mkdir()
    (conf / "own/parameters_training.yml").write_text("training: {}\n")
    before = {file: file.read_text() for file in conf.glob("*/*")}
    with raises_dataset_error(DataError, "sweep.preset"):
        PresetDataset(conf).save({**preset(), "name": name})
    assert {file: file.read_text() for file in conf.glob("*/*")} == before
