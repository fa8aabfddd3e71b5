"""The search space: how it is written, what is refused before any work starts, and the parameters of a trial."""

import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import ValidationError
from recipes import BASE, training_parameters
from sweeps import pictures, sweep_parameters, tiny_sweep, training

from kedro_dcgan.config import flatten, read_parameters
from kedro_dcgan.config_loader import OneLineConfigLoader
from kedro_dcgan.errors import DataError, ParameterError
from kedro_dcgan.settings import CONFIG_LOADER_ARGS
from kedro_dcgan.sweeps.space import (
    distributions,
    require_searchable,
    require_trainable,
    start_values,
    trial_parameters,
)


def space_of(**space):
    return sweep_parameters(space=space).space


def test_a_space_is_written_like_the_training_parameters():
    space = space_of(
        generator={"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "width": {"low": 8, "high": 64}},
        batch_size=[8, 16],
        penalties={"r1": None},
    )
    assert list(space) == ["generator.learning_rate", "generator.width", "batch_size"]
    assert space["generator.learning_rate"].ends == (1e-4, 1e-2)
    assert space["batch_size"].ends == (8, 16)


@pytest.mark.parametrize(
    ("choices", "value", "is_contained"),
    [
        ([0, 1, 5], 1.0, True),
        ([8, 16], 8, True),
        ([True, False], 1, False),
        ([None, 0.5], None, True),
        ([1, 2], 3, False),
    ],
)
def test_choices_contain_equal_numbers(choices, value, is_contained):
    assert space_of(batch_size=choices)["batch_size"].contains(value) == is_contained


@pytest.mark.parametrize(
    "preset", sorted(path.parent.name for path in BASE.parents[1].glob("*/parameters_training.yml"))
)
def test_the_space_of_every_preset_can_be_searched(preset):
    config = OneLineConfigLoader(str(BASE.parents[1]), env=None if preset == "base" else preset, **CONFIG_LOADER_ARGS)
    parameters = read_parameters(config["parameters"], {})
    require_searchable(parameters.sweep.space, parameters.training)


@pytest.mark.parametrize(
    "dimension",
    [
        {"low": 2, "high": 1},
        {"low": 0, "high": 1, "log": True},
        {"low": "a", "high": 1},
        {"low": 1},
        {"low": 0, "high": 1, "step": 1},
        [8],
        [8, 8],
        8,
        "abc",
        {},
    ],
)
def test_impossible_dimensions_are_refused(dimension):
    with pytest.raises(ValidationError):
        space_of(generator={"width": dimension})


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({}, ["sweep.space", "empty"]),
        (
            {"generator": {"learning_rat": {"low": 1e-4, "high": 1}}},
            ["generator.learning_rat`", "generator.learning_rate"],
        ),
        ({"seed": [0, 1]}, ["`sweep.space.seed`", "a sweep cannot change it"]),
        ({"kimg": [1, 2]}, ["`sweep.space.kimg`"]),
        ({"batch_size": [32, 64]}, ["`sweep.space.batch_size`", "training.batch_size is 16", "batch_size=null"]),
        ({"penalties": {"r1": {"low": 1, "high": 2}}}, ["penalties.r1", "1 to 2", "is 0.2"]),
        ({"discriminator": {"dropout": [None, 1.5]}}, ["discriminator.dropout", "1.5"]),
        ({"batch_size": [16, 1]}, ["batch_size", "got 1"]),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(space, words):
    with pytest.raises(ParameterError) as caught:
        require_searchable(space_of(**space), training_parameters())
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words)


def test_the_space_of_the_project_contains_its_parameters():
    require_searchable(sweep_parameters().space, training_parameters())


def test_trainings_that_do_not_fit_the_images_are_refused():
    with pytest.raises(DataError, match="128"):
        require_trainable(pictures(), tiny_sweep(space={"batch_size": [8, 128]}), training())
    with pytest.raises(DataError, match="validation"):
        require_trainable(pictures(65), tiny_sweep(), training())
    with pytest.raises(ParameterError, match=r"training\.devices"):
        require_trainable(pictures(), tiny_sweep(), training(devices=2))


def test_integers_stay_integers():
    space = space_of(
        generator={
            "learning_rate": {"low": 1e-4, "high": 1, "log": True},
            "width": {"low": 8, "high": 64, "log": True},
        },
        batch_size=[8, 16],
    )
    assert distributions(space, training_parameters()) == {
        "generator.learning_rate": FloatDistribution(1e-4, 1, True),
        "generator.width": IntDistribution(8, 64, True),
        "batch_size": CategoricalDistribution((8, 16)),
    }


def test_a_trial_changes_its_values_and_its_length_only():
    base, sweep = training_parameters(), sweep_parameters(kimg=50, validations=5)
    trial = trial_parameters(base, sweep, {"generator.learning_rate": 0.01, "loss": "hinge"})
    changed = {name for name, value in flatten(trial).items() if value != flatten(base)[name]}
    of_length = {"kimg", "images_per_tick", "images_per_validation", "checkpoints_kept"}
    assert {"generator.learning_rate", "loss"} <= changed <= {"generator.learning_rate", "loss"} | of_length
    assert (trial.kimg, trial.images_per_tick, trial.images_per_validation) == (50, 10_000, 10_000)


def test_values_replace_those_of_nested_groups():
    values = {"generator.learning_rate": 0.01, "penalties.r1": 3.0}
    found = training_parameters().with_values(values)
    assert start_values(dict.fromkeys(values), found) == values
    assert yaml.safe_load(BASE.read_text())["training"]["penalties"]["r1"] == training_parameters().penalties.r1
