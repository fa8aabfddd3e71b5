"""The study of a sweep: claims, interruptions, pruning, and who may run what."""

import multiprocessing
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
from sweeps import pictures, tiny_sweep, training

from kedro_dcgan.data.shards import Classes
from kedro_dcgan.errors import DataError
from kedro_dcgan.sweeps import study as study_module
from kedro_dcgan.sweeps.study import best_of, open_study


@pytest.fixture
def open_sweep(tmp_path):
    """A function that opens the study of a sweep with changed parameters."""

    def run(**changes):
        return open_study(tiny_sweep(**changes), training(), pictures(), tmp_path)

    return run


def finish_next(study, *distances, outcome="completed"):
    with study.claim() as trial:
        is_pruned = [study.report(trial, dict(enumerate(distances[:end], 1))) for end in range(1, len(distances) + 1)]
        study.finish(trial, outcome, min(distances), 96)
        return trial.number, dict(trial.params), is_pruned


def test_the_first_trial_has_the_current_values(open_sweep):
    number, values, _ = finish_next(open_sweep(), 5.0)
    assert (number, values) == (0, {"generator.learning_rate": 2e-3, "loss": "non_saturating"})


def test_trials_end_at_their_number_and_the_best_is_the_smallest(open_sweep):
    study = open_sweep(trials=3)
    for distances in ((5.0, 4.0), (3.0, 6.0), (7.0,)):
        finish_next(study, *distances)
    with study.claim() as trial:
        assert trial is None
    assert [one.distance for one in study.trials()] == [4.0, 3.0, 7.0]
    assert best_of(study.trials()).number == 1
    # More trials continue the same sweep.
    assert finish_next(open_sweep(trials=4), 1.0)[0] == 3


def test_pruned_and_failed_trials_count_but_are_never_the_best(open_sweep):
    study = open_sweep(trials=3)
    finish_next(study, 5.0)
    finish_next(study, 1.0, outcome="pruned")
    finish_next(study, 0.5, outcome="failed")
    assert [(one.outcome, one.distance) for one in study.trials()] == [
        ("completed", 5.0),
        ("pruned", None),
        ("failed", None),
    ]
    assert best_of(study.trials()).number == 0
    with study.claim() as trial:
        assert trial is None


def test_an_interrupted_trial_is_claimed_again_with_its_values(open_sweep):
    study = open_sweep()
    finish_next(study, 5.0)
    with study.claim() as trial:
        study.report(trial, {1: 4.0})
    # Another process, later.
    with open_sweep().claim() as again:
        assert (again.number, again.params) == (trial.number, trial.params)
        # A distance that is known already is not reported twice.
        study.report(again, {1: 4.0, 2: 3.0})
        study.finish(again, "completed", 3.0, 96)
    assert study.trials()[1].distances == {1: 4.0, 2: 3.0}


def test_two_claims_are_of_different_trials(open_sweep):
    with open_sweep().claim() as one, open_sweep().claim() as other:
        assert (one.number, other.number) == (0, 1)


def claim_and_wait(folder, claimed):
    with open_study(tiny_sweep(), training(), pictures(), folder).claim() as trial:
        claimed.send(trial.number)
        signal.pause()


def test_a_trial_of_a_killed_process_is_free_and_that_of_a_living_one_is_not(open_sweep, tmp_path):
    receiver, sender = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=claim_and_wait, args=(tmp_path, sender))
    process.start()
    assert receiver.recv() == 0
    study = open_sweep()
    assert study.running_elsewhere() == 1
    with study.claim() as trial:
        assert trial.number == 1
        study.finish(trial, "completed", 1.0, 96)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with study.claim() as trial:
        assert trial.number == 0


def test_a_silent_trial_of_another_folder_is_given_up(open_sweep, tmp_path, monkeypatch):
    elsewhere = {"storage": f"sqlite:///{tmp_path}/optuna.db", "trials": 1}
    with open_study(tiny_sweep(**elsewhere), training(), pictures(), tmp_path / "other").claim() as trial:
        assert trial.number == 0
    study = open_sweep(trials=1)
    with study.claim() as trial:
        assert trial is None
    assert study.running_elsewhere() == 1
    monkeypatch.setattr(study_module, "_HEARTBEAT_TIMEOUT", 0.0)
    assert study.running_elsewhere() == 0
    with study.claim() as trial:
        assert trial.number == 1


def test_a_trial_worse_than_the_median_of_the_first_five_is_pruned(open_sweep):
    study = open_sweep(pruner="median", trials=10)
    for number in range(5):
        assert finish_next(study, 10.0 + number, 5.0 + number)[2] == [False, False]
    # Medians of 12 and 7; of its distances so far, the smallest counts.
    assert finish_next(study, 12.5, 4.0)[2] == [True, False]
    assert finish_next(study, 11.0, 8.0)[2] == [False, True]
    assert finish_next(study, 11.0, 6.0)[2] == [False, False]


def test_hyperband_ends_bad_trials_at_several_lengths(open_sweep):
    # Of 30 trials that differ from the first validation on, about two thirds end early, some late, the best never.
    study = open_sweep(pruner="hyperband", trials=30, validations=9)
    qualities = np.random.default_rng(0).permutation(30) + 10.0
    lengths = {}
    for quality in qualities:
        with study.claim() as trial:
            reports = (step for step in range(1, 10) if study.report(trial, {step: quality / step}))
            lengths[quality] = next(reports, 10)
            study.finish(trial, "pruned" if lengths[quality] < 10 else "completed", quality / 9, 96)
    assert lengths[10.0] == 10
    assert 10 <= sum(length == 1 for length in lengths.values()) <= 25
    assert set(lengths.values()) >= {1, 3, 10}


def test_an_interrupted_sweep_draws_the_same_values(tmp_path):
    drawn = []
    for folder, stops in ((tmp_path / "a", False), (tmp_path / "b", True)):
        values = []
        for number in range(8):
            study = open_study(tiny_sweep(trials=8), training(), pictures(), folder)
            if stops and number in (1, 6):
                with study.claim() as trial:
                    study.report(trial, {1: 4.0})
            values.append(finish_next(study, 100 * abs(number - 5.5))[1])
        drawn.append(values)
    assert drawn[0] == drawn[1]
    assert len({one["generator.learning_rate"] for one in drawn[0]}) == 8


@pytest.mark.parametrize(
    "change", [{"kimg": 1}, {"sampler": "random"}, {"space": {"batch_size": [8, 16]}}, {"seed": 1}]
)
def test_another_sweep_has_another_name(open_sweep, change):
    assert open_sweep(**change).name != open_sweep().name


def test_what_does_not_change_the_trials_does_not_change_the_sweep(open_sweep, tmp_path):
    assert open_sweep(trials=99, minutes=1, confirmations=0, preset="other").name == open_sweep().name
    faster = training(threads=1, images_per_tick=8, images_per_checkpoint=8)
    assert open_study(tiny_sweep(), faster, pictures(), tmp_path).name == open_sweep().name
    other = training(real_label=0.9)
    assert open_study(tiny_sweep(), other, pictures(), tmp_path).name != open_sweep().name


def test_changed_labels_are_another_sweep_of_a_conditional_training(tmp_path):
    names = set()
    for conditional in (False, True):
        for labels in ([0, 1], [1, 0]):
            classes = Classes(("a", "b"), {"train": np.resize(labels, 64), "validation": np.resize(labels, 16)})
            images = replace(pictures(), classes=classes)
            names.add(open_study(tiny_sweep(), training(conditional=conditional), images, tmp_path).name)
    assert len(names) == 3


def open_and_claim(folder, ready, results):
    ready.wait()
    with open_study(tiny_sweep(trials=4), training(), pictures(), folder).claim() as trial:
        results.put(None if trial is None else (trial.number, trial.params["generator.learning_rate"]))
        ready.wait()


@pytest.mark.slow
def test_processes_that_start_together_share_the_trials(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(6), context.Queue()
    processes = [context.Process(target=open_and_claim, args=(tmp_path, ready, results)) for _ in range(6)]
    for process in processes:
        process.start()
    claimed = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 6
    trials = [trial for trial in claimed if trial]
    assert sorted(number for number, _ in trials) == [0, 1, 2, 3]
    assert len({rate for _, rate in trials}) == 4


def test_a_moved_folder_continues_its_trials(tmp_path):
    with open_study(tiny_sweep(), training(), pictures(), tmp_path / "a").claim() as trial:
        assert trial.number == 0
    (tmp_path / "a").rename(tmp_path / "b")
    with open_study(tiny_sweep(), training(), pictures(), tmp_path / "b").claim() as trial:
        assert trial.number == 0


@pytest.mark.parametrize("key", ["/etc", "../../..", "", None, "a" * 31, "A" * 32])
def test_a_key_that_is_no_key_names_no_folder(open_sweep, key):
    study = open_sweep()
    with study.claim() as trial:
        trial.set_user_attr("key", key)
    assert study.trials()[0].key == ""


def test_the_path_of_a_project_may_have_any_characters(tmp_path):
    folder = tmp_path / "a {b} 50% ?x#y"
    finish_next(open_study(tiny_sweep(), training(), pictures(), folder), 5.0)
    assert len(open_study(tiny_sweep(), training(), pictures(), folder).trials()) == 1
    assert (folder / "optuna.db").is_file()


@pytest.mark.parametrize("storage", ["sqlite:////nowhere/at/all.db", "nonsense", "postgresql://localhost:1/none"])
def test_an_unusable_database_is_refused_in_one_line(open_sweep, storage):
    with pytest.raises(DataError, match=r"sweep\.storage") as caught:
        open_sweep(storage=storage)
    assert "\n" not in str(caught.value)


def test_importances_add_up_to_one_and_need_several_trials(open_sweep):
    study = open_sweep(trials=6)
    assert study.importances() == {}
    for number in range(6):
        finish_next(study, 10.0 + number**2)
    found = study.importances()
    assert set(found) == {"generator.learning_rate", "loss"}
    assert sum(found.values()) == pytest.approx(1)
