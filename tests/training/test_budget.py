"""The recipe that is chosen for a budget, and that a resumed training does not choose again."""

from pathlib import Path
from typing import get_args

import pytest
from engine import IMAGES
from recipes import training_parameters

from kedro_dcgan.config import Chosen, TrainingParameters, read_budget
from kedro_dcgan.config_loader import OneLineConfigLoader
from kedro_dcgan.errors import ParameterError, TrainingError
from kedro_dcgan.pipelines.training.nodes import start_training, train_generator
from kedro_dcgan.settings import CONFIG_LOADER_ARGS
from kedro_dcgan.sweeps.space import require_searchable
from kedro_dcgan.training import budget
from kedro_dcgan.training.budget import WIDTHS, least_kimg, recipe_for, resolve_budget, smallest_recipe
from kedro_dcgan.training.checkpoints import Checkpoint, CheckpointFolder, CheckpointHeader
from kedro_dcgan.training.devices import has_bfloat16
from kedro_dcgan.training.plan import plan_training

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def stored(tmp_path):
    return CheckpointFolder(tmp_path / "checkpoints")


@pytest.fixture
def speeds(monkeypatch):
    """Replace the measurement by speeds that fall with the width; return the widths that were measured."""
    measured = []

    def images_per_second(plan, training):
        measured.append(training.generator.width)
        return 1e6 / training.generator.width**2

    monkeypatch.setattr(budget, "_images_per_second", images_per_second)
    return measured


def for_images(**changes):
    return training_parameters(**changes).for_images(IMAGES.count("train"))


def width_for(length, stored, **changes):
    return resolve_budget(IMAGES, for_images(budget=length, **changes), stored)[0].generator.width


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", (90, "seconds")),
        ("5m", (300, "seconds")),
        ("1.5h", (5400, "seconds")),
        ("8h", (28_800, "seconds")),
        ("100kimg", (100, "kimg")),
    ],
)
def test_budgets_are_times_or_images(text, expected):
    assert training_parameters(budget=text).budget == text
    assert read_budget(text) == expected


@pytest.mark.parametrize(
    "text", [5, "5", "m", "0m", "0.0h", "-5m", "5 m", "5min", "1e3s", "100k", "", "5m\n", "20000h"]
)
def test_other_budgets_are_refused(text):
    with pytest.raises(ValueError, match="must be a time"):
        training_parameters(budget=text)


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_rule_gives_possible_parameters_for_all_sizes_and_widths(size, width):
    for kimg in (0.01, 1, 100, 1e6):
        training = training_parameters().with_values(recipe_for(size, width, kimg))
        assert isinstance(training, TrainingParameters)
        assert training.penalties.has_r1


def test_wider_networks_must_see_more_images():
    for size in (32, 64):
        needed = [least_kimg(size, width) for width in WIDTHS]
        assert needed == sorted(needed)


def test_more_time_gives_wider_networks_that_see_enough_images(stored, speeds):
    widths = [width_for(length, stored) for length in ("1s", "1m", "1h", "1000h")]
    assert widths == sorted(widths)
    assert (widths[0], widths[-1]) == (WIDTHS[0], WIDTHS[-1])
    chosen = widths[2]
    kimg = 3600 * 1e3 / chosen**2
    assert kimg >= least_kimg(16, chosen)
    wider = WIDTHS[WIDTHS.index(chosen) + 1]
    assert 3600 * 1e3 / wider**2 < least_kimg(16, wider)


def test_a_time_limits_training_and_divides_it_into_ticks(stored, speeds):
    training, chosen = resolve_budget(IMAGES, for_images(budget="5m"), stored)
    kimg = 300 * 1e3 / training.generator.width**2
    assert training.minutes == 5
    # If the machine is faster than it was for a moment, time still ends training.
    assert training.kimg == pytest.approx(4 * kimg, rel=0.01)
    assert training.images_per_tick == pytest.approx(50 * kimg, rel=0.01)
    assert training.images_per_validation == 2 * training.images_per_tick
    longer, _ = resolve_budget(IMAGES, for_images(budget="1h", budget_keeps=["generator.width"]), stored)
    kimg = 3600 * 1e3 / longer.generator.width**2
    assert longer.images_per_tick == pytest.approx(1000 * kimg / 60, rel=0.01)
    assert chosen["budget"] == "5m"


def test_a_number_of_images_needs_no_measurement(stored, speeds):
    training, _ = resolve_budget(IMAGES, for_images(budget="100kimg"), stored)
    assert (training.kimg, training.minutes, speeds) == (100, None, [])
    assert least_kimg(16, training.generator.width) <= 100
    assert width_for("5kimg", stored) < training.generator.width < width_for("100000kimg", stored)


def test_parameters_that_the_user_has_set_are_kept(stored, speeds):
    kept = ("generator.width", "discriminator.learning_rate", "images_per_tick")
    given = for_images(budget="5m", budget_keeps=kept, generator__width=40, discriminator__learning_rate=0.005)
    training, _ = resolve_budget(IMAGES, given, stored)
    assert training.generator.width == 40
    assert training.discriminator.learning_rate == 0.005
    assert training.images_per_tick == given.images_per_tick
    assert set(speeds) == {40}
    # The others fit the width that was set.
    assert training.generator.learning_rate == recipe_for(16, 40, 1)["generator.learning_rate"]


def test_parameters_on_the_command_line_are_kept_and_those_of_presets_are_not():
    def keeps(**training):
        loader = OneLineConfigLoader(str(CONF), "images64", runtime_params={"training": training}, **CONFIG_LOADER_ARGS)
        return loader["parameters"]["training"]["budget_keeps"]

    assert keeps(budget="5m", seed=3, generator={"width": 40}) == ["generator.width"]
    assert keeps(budget="5m", budget_keeps=["penalties.r1"], kimg=3) == ["kimg", "penalties.r1"]
    assert keeps(kimg=3) == []
    with pytest.raises(ParameterError, match=r"training.epochs.*training.budget"):
        keeps(budget="5m", epochs=3)


def test_networks_fit_into_memory(stored, speeds, monkeypatch):
    assert width_for("1000h", stored) == WIDTHS[-1]
    monkeypatch.setattr(budget, "_fits", lambda plan, training: training.generator.width <= 32)
    assert width_for("1000h", stored) == 32
    assert max(speeds) == WIDTHS[-1]
    # The check before the run refuses those that do not fit at all.
    monkeypatch.setattr(budget, "_fits", lambda plan, training: False)
    training, _ = resolve_budget(IMAGES, for_images(budget="1000h"), stored)
    assert (training.generator.width, training.minutes) == (WIDTHS[0], 60_000)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"precision": "float32"}, {"float32"}),
        ({"precision": "bfloat16"}, {"bfloat16"}),
        ({"deterministic": True}, {"float32"}),
        ({}, {"float32", "bfloat16"} if has_bfloat16("cpu") else {"float32"}),
    ],
)
def test_the_measured_precisions_are_those_of_the_training(changes, expected, monkeypatch):
    measured = {}

    class Steps:
        def __init__(self, plan, training, candidate):
            self.precision = candidate.precision

        def images_per_second(self):
            measured[self.precision] = 10.0 + len(measured)
            return measured[self.precision]

    monkeypatch.setattr(budget, "Trial", Steps)
    training = for_images(**changes)
    speed = budget._images_per_second(plan_training(IMAGES, training), training)
    assert measured.keys() == expected
    assert speed == max(measured.values())


@pytest.mark.parametrize("changes", [{"architecture": "digits28"}, {"loss": "hinge"}])
def test_recipes_that_the_rule_does_not_know_are_refused(changes):
    given = training_parameters(**changes)
    assert smallest_recipe(given, 28) == given
    with pytest.raises(ParameterError, match=r"training.budget"):
        smallest_recipe(training_parameters(budget="5m", **changes), 28)


def test_checks_before_a_run_see_the_smallest_recipe():
    checked = smallest_recipe(training_parameters(budget="5m", generator__width=512, batch_size=128), 32)
    assert (checked.generator.width, checked.batch_size) == (WIDTHS[0], recipe_for(32, WIDTHS[0], 1)["batch_size"])
    kept = smallest_recipe(training_parameters(budget="5m", budget_keeps=["batch_size"], batch_size=128), 32)
    assert kept.batch_size == 128


def test_parameters_that_do_not_fit_the_choice_are_refused():
    with pytest.raises(ParameterError, match=r"training.budget.*gradient_accumulation"):
        smallest_recipe(training_parameters(budget="5m", batch_size=64, gradient_accumulation=32), 32)


@pytest.mark.parametrize("name", ["generator", "epochs", "generator.widht", "seed"])
def test_only_what_a_budget_chooses_can_be_kept(name):
    with pytest.raises(ValueError, match="budget_keeps"):
        training_parameters(budget="5m", budget_keeps=[name])


def test_the_parameters_that_can_be_kept_are_those_that_are_chosen(stored, speeds):
    _, chosen = resolve_budget(IMAGES, for_images(budget="5m"), stored)
    assert {*chosen} - {"budget"} == set(get_args(Chosen))


def test_a_sweep_needs_its_own_length():
    with pytest.raises(ParameterError, match=r"training.budget.*sweep.kimg"):
        require_searchable({}, training_parameters(budget="5m"))


def test_a_resumed_training_keeps_what_was_chosen(stored, monkeypatch):
    monkeypatch.setattr(budget, "_images_per_second", lambda plan, training: 100.0)
    given = training_parameters(budget="10s", images_per_validation=None, grid_images=4, deterministic=True)
    start = start_training(IMAGES, stored, given)
    training = train_generator(IMAGES, stored, start)
    while not (checkpoints := next(training)[-1]):
        pass
    stored.save(checkpoints[0])
    training.close()
    # Other speeds would give other networks.
    monkeypatch.setattr(budget, "_images_per_second", lambda plan, training: 1e6)
    again = start_training(IMAGES, stored, given)
    assert again.resume_from.images_seen == checkpoints[0].header.images_seen > 0
    assert (again.plan.training_id, again.run_key, again.chosen) == (
        start.plan.training_id,
        start.run_key,
        start.chosen,
    )
    assert again.training == start.training


def store_unfinished(stored, given, seen=16):
    training, chosen = resolve_budget(IMAGES, given, stored)
    plan = plan_training(IMAGES, training)
    header = CheckpointHeader(plan.training_id, seen, plan.total_images, False, plan.fingerprint, chosen=chosen)
    stored.save(Checkpoint(header, {"images_seen": seen}, keep=2))
    return training, chosen


def test_a_budget_or_parameters_that_changed_are_named_before_anything_is_measured(stored, speeds):
    given = for_images(budget="5m")
    first = store_unfinished(stored, given)
    speeds.clear()
    assert resolve_budget(IMAGES, given, stored) == first
    for changes, words in (
        ({"budget": "6m"}, "training.budget was 5m, is 6m. "),
        ({"seed": 1}, "changed: training.seed was 0, is 1. "),
    ):
        with pytest.raises(TrainingError, match=words):
            resolve_budget(IMAGES, given.model_copy(update=changes), stored)
    assert speeds == []
    # An experiment may differ from another that is not finished.
    resolve_budget(IMAGES, given.model_copy(update={"seed": 1}), stored, may_differ=True)
    assert speeds


def test_a_training_from_scratch_is_measured_again_and_a_forced_one_keeps_its_width(stored, speeds):
    given = for_images(budget="5m")
    training, _ = store_unfinished(stored, given)
    speeds.clear()
    resolve_budget(IMAGES, given.model_copy(update={"resume": "never"}), stored)
    assert len(speeds) > 1
    speeds.clear()
    forced, _ = resolve_budget(IMAGES, given.model_copy(update={"resume": "force", "budget": "100h"}), stored)
    assert speeds == [training.generator.width]
    assert (forced.generator.width, forced.minutes) == (training.generator.width, 6000)


def test_what_another_version_has_chosen_is_not_used(stored, speeds):
    given = for_images(budget="5m")
    training, chosen = resolve_budget(IMAGES, given, stored)
    plan = plan_training(IMAGES, training)
    of_other = {**chosen, "generator.depth": 3}
    header = CheckpointHeader(plan.training_id, 16, 16, False, plan.fingerprint, chosen=of_other)
    stored.save(Checkpoint(header, {"images_seen": 16}, keep=2))
    assert resolve_budget(IMAGES, given, stored) == (training, chosen)


def test_training_ends_when_the_budget_is_spent(stored, monkeypatch):
    given = training_parameters(
        budget="3s", budget_keeps=["generator.width"], generator__width=4, deterministic=True, device="cpu"
    )
    # Far too high: the first tick would come after the end.
    monkeypatch.setattr(budget, "_images_per_second", lambda plan, training: 1e6)
    start, last = train(stored, given)
    generator, *_, (checkpoint,) = last
    assert generator.facts["trained_images"] < start.plan.total_images
    assert checkpoint.header.ended_early
    assert checkpoint.state["seconds"] >= 3
    # Nothing is left of it.
    assert start_training(IMAGES, stored, given).resume_from == checkpoint.header


def train(stored, given):
    """Train and save checkpoints like a run does; return the start and the last results."""
    start = start_training(IMAGES, stored, given)
    for results in train_generator(IMAGES, stored, start):
        for checkpoint in results[-1]:
            stored.save(checkpoint)
    return start, results


def test_r1_adapts_from_48_pixels_on():
    assert [recipe_for(size, 32, 100)["penalties.r1"] for size in (28, 47, 48, 128)] == [0.2, 0.2, "auto", "auto"]
