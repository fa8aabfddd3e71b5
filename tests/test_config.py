from pathlib import Path

import pytest
import yaml

from kedro_dcgan.config import flatten, read_parameters
from kedro_dcgan.errors import ParameterError

CONF = Path(__file__).parents[1] / "conf"


@pytest.fixture
def raw():
    merged = {}
    for file in (CONF / "base").glob("parameters_*.yml"):
        merged.update(yaml.safe_load(file.read_text()))
    return merged


def fault(raw, **overridden):
    with pytest.raises(ParameterError) as caught:
        read_parameters(raw, overridden)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_base_parameters_are_valid(raw):
    assert read_parameters(raw, {}).training.generator.betas == (0.5, 0.999)


def test_a_value_out_of_range_is_named_with_rule_and_remedy(raw):
    raw["training"]["batch_size"] = 1
    assert fault(raw) == (
        "`training.batch_size` must be greater than or equal to 2 (got 1). "
        "Change it in conf/*/parameters_training.yml or with --params training.batch_size=VALUE."
    )


def test_a_nested_misspelling_is_answered_with_the_right_key(raw):
    raw["training"]["generator"]["learning_rat"] = 0.1
    assert "Did you mean `training.generator.learning_rate`" in fault(raw)


def test_a_key_of_another_level_is_answered_with_its_place(raw):
    raw["training"]["learning_rate"] = 0.1
    assert "`training.generator.learning_rate` or `training.discriminator.learning_rate`" in fault(raw)


def test_a_misspelt_top_level_key_is_found_in_files_and_in_params(raw):
    raw["trainig"] = {"epochs": 3}
    assert "Did you mean `training`" in fault(raw)
    del raw["trainig"]
    raw["banana"] = 1
    assert "Known here: ingestion, preprocessing" in fault(raw, banana=1)


def test_a_users_own_parameter_file_is_left_alone(raw):
    raw["my_experiment"] = {"anything": 1}
    read_parameters(raw, {})


def test_a_missing_key_is_named(raw):
    del raw["export"]["seed"]
    assert fault(raw).startswith("`export.seed` must be given")


def test_so_many_bits_that_all_look_alike_are_refused(raw):
    raw["ingestion"]["near_duplicates"]["most_bits"] = 9
    assert "`ingestion.near_duplicates.most_bits` must be less than or equal to 8 (got 9)" in fault(raw)


def test_fractions_must_add_up(raw):
    raw["ingestion"]["splits"]["test"] = 0.5
    assert fault(raw).startswith("`ingestion.splits` must add up to 1 (they add up to 1.3)")


def test_a_fault_in_a_list_or_a_group_names_what_can_be_changed(raw):
    raw["training"]["generator"]["betas"] = [0.5, 1.5]
    assert fault(raw) == (
        "`training.generator.betas` must be less than 1 (got 1.5). Change it in conf/*/parameters_training.yml."
    )
    raw["training"]["generator"] = 3
    assert fault(raw).startswith("`training.generator` must be a group of keys (got 3). Change it in")


def test_parameters_are_frozen(raw):
    with pytest.raises(ValueError, match="frozen"):
        read_parameters(raw, {}).training.seed = 3


def test_flatten_gives_dotted_keys(raw):
    flat = flatten(read_parameters(raw, {}).training, "training.")
    assert flat["training.generator.width"] == raw["training"]["generator"]["width"]
    assert not any(isinstance(value, dict) for value in flat.values())
