"""`kedro dcgan sample` without `--model`: the generator that it takes, and the line that says which one and why."""

import pytest
from click.testing import CliRunner
from test_registry import evaluated

from kedro_dcgan.cli import generators
from kedro_dcgan.cli.models import sample
from kedro_dcgan.errors import ModelError
from kedro_dcgan.model.saved import write_generator

PLACES = {"exported_generator": "exported", "generator": "trained"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder for a function that writes a generator as an export or a training does."""
    catalog = {name: {"path": place} for name, place in PLACES.items()}
    monkeypatch.setattr(generators, "project_folder", lambda: tmp_path)
    monkeypatch.setattr(generators, "config_loader", lambda env: {"catalog": catalog})

    def write(place, **changes):
        (tmp_path / place).mkdir(exist_ok=True)
        write_generator(tmp_path / place, evaluated(50.0, **changes))

    return write


def test_the_last_export_is_sampled_without_a_server(project, tmp_path):
    project("exported", dataset="flowers", digest="4567")
    project("trained", dataset="flowers", digest="4567")
    result = CliRunner().invoke(sample, ["--count=3", "--output", str(tmp_path / "images")])
    assert result.exit_code == 0, result.output
    first = result.output.splitlines()[0]
    assert "images flowers 4567" in first
    assert "last exported generator" in first
    assert "--pipelines" not in first
    assert len(list((tmp_path / "images").glob("*.png"))) == 3


def test_a_stopped_training_is_sampled_if_nothing_is_exported(project):
    project("trained", weight=7.0)
    trained, line = generators.current_generator("smoke")
    assert trained.fingerprint() == evaluated(50.0, weight=7.0).fingerprint()
    assert "not exported" in line
    assert "--env=smoke --pipelines=evaluation,export" in line


def test_a_later_training_that_is_not_exported_is_mentioned(project, tmp_path):
    project("exported", weight=1.0)
    project("trained", weight=2.0)
    trained, line = generators.current_generator(None)
    assert trained.fingerprint() == evaluated(50.0, weight=1.0).fingerprint()
    assert "--pipelines=evaluation,export" in line
    # A damaged file of a training does not matter.
    (tmp_path / "trained/generator.json").write_text("{")
    assert "--pipelines" not in generators.current_generator(None)[1]


def test_without_any_generator_the_error_names_the_ways_to_get_one(project):
    for find in (generators.current_generator, generators.exported_generator):
        with pytest.raises(ModelError, match=r"--model.*--pipelines=evaluation,export"):
            find(None)


def test_a_stopped_training_must_be_exported_to_be_served(project):
    project("trained")
    with pytest.raises(ModelError, match="--pipelines=evaluation,export"):
        generators.exported_generator(None)
