from dataclasses import replace

import pytest

from kedro_dcgan.evaluation.verdict import COLLAPSE, EXPLODED, HIGH, LOW, MEDIUM, UNDERTRAINED, Verdict
from kedro_dcgan.reports.advice import RunFacts, advise_run

GOOD = Verdict("", None, HIGH, HIGH)
# A finished training of 64x64 images as large as that.
RUN = RunFacts(
    verdict=GOOD,
    training="healthy",
    epochs=200,
    ends_with_best=False,
    budget=None,
    r1=4,
    train_images=5000,
    image_size=64,
    original_side=64,
    format_advice=None,
)


def run_of(verdict=None, **changes):
    return replace(RUN, verdict=replace(GOOD, **(verdict or {})), **changes)


# From the first rule to the last: a run with the symptoms of several rules gets the advice of the first one.
CASES = [
    ({"fault": EXPLODED, "fidelity": LOW}, {}, ["both learning rates", "penalties.r1"]),
    ({"fault": COLLAPSE}, {}, ["learning rates", "batch_size"]),
    ({}, {"format_advice": "pass --env=images64"}, ["--env=images64"]),
    ({"copies": True}, {"train_images": 120}, ["copies", "add images (120 now)"]),
    ({}, {"training": "discriminator wins since 5.0 kimg"}, ["discriminator.learning_rate"]),
    ({}, {"training": "oscillation since 5.0 kimg"}, ["learning rates"]),
    ({"fidelity": MEDIUM}, {"budget": "5m", "ends_with_best": True}, ["train longer", "training.budget", "(5m now)"]),
    ({"fidelity": LOW}, {"r1": 1000}, ["penalties.r1", "1000 now"]),
    ({"fault": UNDERTRAINED}, {"epochs": 1}, ["train longer", "training.epochs", "(1 so far)"]),
    ({"fidelity": LOW}, {"ends_with_best": True, "epochs": 50}, ["train longer", "(50 so far)"]),
    ({}, {"train_images": 999}, ["add images (999"]),
    ({"fidelity": MEDIUM}, {}, ["generator.width", "discriminator.width"]),
    ({"diversity": MEDIUM}, {}, ["batch_size"]),
    ({}, {"original_side": 128}, ["image_size", "128 pixels"]),
    ({}, {}, ["nothing to fix", "compare"]),
]


@pytest.mark.parametrize(("verdict", "changes", "words"), CASES)
def test_each_symptom_has_its_advice(verdict, changes, words):
    advice = advise_run(run_of(verdict, **changes))
    assert [word for word in words if word not in advice] == []
    assert "\n" not in advice
    assert "{" not in advice


@pytest.mark.parametrize("rank", range(len(CASES)))
def test_the_first_of_several_symptoms_decides(rank):
    verdict, changes = {}, {}
    for of_verdict, of_run, _ in reversed(CASES[rank:]):
        verdict, changes = {**verdict, **of_verdict}, {**changes, **of_run}
    assert CASES[rank][2][0] in advise_run(run_of(verdict, **changes))


def test_good_runs_are_not_told_to_train_longer():
    assert "train longer" not in advise_run(run_of(ends_with_best=True))


def test_without_a_verdict_the_training_goes_on_while_it_improves():
    unknown = {"fidelity": None, "diversity": None}
    assert "train longer" in advise_run(run_of(unknown, ends_with_best=True))
    assert "add images" in advise_run(run_of(unknown, train_images=40))
