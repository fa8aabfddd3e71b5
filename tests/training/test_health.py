from dataclasses import replace

import pytest
import torch

from kedro_dcgan.evaluation.verdict import COLLAPSE, EXPLODED, UNDERTRAINED
from kedro_dcgan.training.health import (
    ADVICE,
    HEALTHY,
    OSCILLATION,
    WINS,
    diagnose,
    diversity,
    fault,
    verdict,
)
from kedro_dcgan.training.state import KeptGenerator, TickRecord

GOOD = TickRecord(0, 0.7, 2.0, 0.9, 0.9, 0.8, 0.2, 0.9, None, 100.0, 1.0, HEALTHY)


def history(count, kimg_a_tick=5, **columns):
    """Return `count` tick records; a column lists the values of the last ticks."""
    records = [replace(GOOD, images_seen=1000 * kimg_a_tick * (n + 1)) for n in range(count)]
    for name, values in columns.items():
        for n, value in enumerate(values, start=count - len(values)):
            records[n] = replace(records[n], **{name: value})
    return records


def health(records, is_critic=False):
    return diagnose(records, is_critic)


def test_good_training_is_healthy():
    assert {health(history(count)) for count in (1, 2, 5, 20)} == {HEALTHY}


def test_discriminator_wins_after_20_kimg_of_near_perfect_accuracy():
    sure = {"real_accuracy": [1.0] * 4, "fake_accuracy": [0.999] * 4}
    assert health(history(6, **sure)) == WINS
    assert health(history(6, real_accuracy=[1.0] * 4, fake_accuracy=[0.98, 1.0, 1.0, 1.0])) == HEALTHY
    assert health(history(6, real_accuracy=[1.0] * 4)) == HEALTHY
    assert health(history(6, kimg_a_tick=2, **sure)) == HEALTHY
    assert health(history(6, kimg_a_tick=30, real_accuracy=[1.0] * 3, fake_accuracy=[1.0] * 3)) == HEALTHY
    assert health(history(6, kimg_a_tick=30, **sure)) == WINS


def test_critic_with_perfect_accuracy_is_healthy():
    assert health(history(6, real_accuracy=[1.0] * 4, fake_accuracy=[1.0] * 4), is_critic=True) == HEALTHY


def test_mode_collapse_if_diversity_is_below_half_its_maximum_for_two_ticks():
    assert health(history(8, diversity=[0.9, 0.44, 0.44])) == COLLAPSE
    assert health(history(8, diversity=[0.44])) == HEALTHY
    assert health(history(8, diversity=[0.44, 0.5])) == HEALTHY


def test_mode_collapse_if_diversity_never_rises():
    assert health(history(10, diversity=[0.1] * 10)) == COLLAPSE
    assert health(history(10, diversity=[0.1] * 9 + [0.21])) == HEALTHY
    # At the start of training, all samples are grey.
    assert health(history(9, diversity=[0.1] * 9)) == HEALTHY


def test_oscillating_loss_is_reported():
    assert health(history(8, generator_loss=[1.0, 3.0] * 4)) == OSCILLATION
    assert health(history(8, generator_loss=[1.9, 2.1] * 4)) == HEALTHY
    assert health(history(8, generator_loss=[1, 2, 3, 4, 5, 6, 7, 8])) == HEALTHY
    assert health(history(7, generator_loss=[1.0, 3.0] * 3)) == HEALTHY


@pytest.mark.parametrize(
    "losses",
    [
        # Learning rates of 0.99, with and without an R1 penalty of 1e6.
        {"discriminator_loss": [1.5e18]},
        {"discriminator_loss": [0.0], "generator_loss": [25_633.75]},
        # The loss of a critic has any sign.
        {"discriminator_loss": [-2e4]},
    ],
)
@pytest.mark.parametrize("is_critic", [False, True])
def test_losses_beyond_any_possible_value_explode_at_once(losses, is_critic):
    assert health(history(1, **losses), is_critic) == EXPLODED
    # It comes before all other problems.
    sure = {"real_accuracy": [1.0] * 6, "fake_accuracy": [1.0] * 6, "diversity": [0.9, 0.0, 0.0]}
    assert health(history(6, **sure, **losses), is_critic) == EXPLODED
    assert health([*history(1, **losses), replace(GOOD, images_seen=10_000)], is_critic) == HEALTHY


def test_large_losses_that_occur_are_no_explosion():
    # A sure discriminator, and a critic of 512x512 images.
    assert health(history(1, generator_loss=[100.0])) == HEALTHY
    assert health(history(1, discriminator_loss=[-3000.0]), is_critic=True) == HEALTHY


def test_samples_that_never_differed_explode_at_the_end():
    assert verdict(history(3, diversity=[0.0, 0.009, 0.0])).startswith(EXPLODED)
    # Samples that once differed have collapsed, or are not trained yet.
    assert verdict(history(3, diversity=[0.02, 0.0, 0.0])).startswith(UNDERTRAINED)
    assert verdict(history(1, diversity=[0.0])).startswith(UNDERTRAINED)
    # Not during the training: samples may be grey at first.
    assert health(history(3, diversity=[0.0] * 3)) == HEALTHY


def test_samples_that_are_still_alike_are_not_called_healthy():
    assert verdict(history(3, diversity=[0.13, 0.10, 0.16])) == (
        "undertrained: the samples are still alike (diversity 0.16)"
    )
    assert verdict(history(3, diversity=[0.13, 0.10, 0.21])) == HEALTHY


@pytest.mark.parametrize(
    ("columns", "kept", "expected"),
    [
        ({}, {}, None),
        ({"health": [WINS]}, {}, None),
        ({"health": [EXPLODED]}, {}, EXPLODED),
        ({"health": [COLLAPSE]}, {}, COLLAPSE),
        ({"diversity": [0.1]}, {}, UNDERTRAINED),
        # The best generator was kept before the collapse, or after it.
        ({"health": [COLLAPSE]}, {"validation": 3.0}, None),
        ({"health": [COLLAPSE]}, {"validation": 3.0, "is_collapsed": True}, COLLAPSE),
        # It was kept before the explosion, or the losses exploded from the start.
        ({"health": [EXPLODED]}, {"validation": 3.0}, None),
        ({"health": [EXPLODED] * 4}, {"validation": 3.0}, EXPLODED),
    ],
)
def test_fault_is_that_of_the_kept_generator(columns, kept, expected):
    assert fault(history(4, **columns), KeptGenerator({}, 5000, **kept)) == expected


@pytest.mark.parametrize("name", [EXPLODED, WINS, COLLAPSE, OSCILLATION])
def test_each_problem_has_advice(name):
    assert "`training." in ADVICE[name]


def test_verdict_names_the_onset_or_past_problems():
    assert verdict([]) == "not trained"
    assert verdict(history(4)) == "healthy"
    assert verdict(history(6, health=[COLLAPSE, HEALTHY, WINS, COLLAPSE, COLLAPSE])) == "mode collapse since 25.0 kimg"
    few = [replace(GOOD, images_seen=44, health=WINS)]
    assert verdict(few) == "discriminator wins since 44 images"
    assert verdict(history(2, health=[WINS, WINS])) == "discriminator wins since 5.0 kimg"
    assert verdict(history(6, health=[COLLAPSE, HEALTHY, WINS, HEALTHY])) == (
        "healthy again after discriminator wins and mode collapse"
    )


def test_diversity_is_one_for_real_images_and_falls_with_copies():
    images = torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert diversity(images, images) == pytest.approx(1)
    assert diversity(images[:1].expand(64, -1, -1, -1), images) == 0
    assert diversity(images[:8].repeat(8, 1, 1, 1), images) == 0
    half = (images.float() / 2).to(torch.uint8)
    assert diversity(half, images) == pytest.approx(0.5, abs=0.01)


def test_diversity_compares_sets_of_equal_size():
    images = torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert diversity(images, images[:10]) == pytest.approx(1)
    assert diversity(images, images[:1]) != diversity(images, images[:1])  # NaN
