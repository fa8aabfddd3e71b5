"""Trials and confirmations with real tiny trainings: results, interruptions, faults, and the claim at the end."""

from types import SimpleNamespace

import pytest
import torch
from sweeps import pictures, tiny_sweep, training

from kedro_dcgan.errors import StopRequest, TrainingError
from kedro_dcgan.model.synthetic_marks import SyntheticMark, read_mark
from kedro_dcgan.progress import Bar
from kedro_dcgan.reports.sweep import TrialSummary
from kedro_dcgan.sweeps import runner as runner_module
from kedro_dcgan.sweeps.confirmation import Comparison, Finalists, choose_finalists
from kedro_dcgan.sweeps.jobs import SweepFolder
from kedro_dcgan.sweeps.runner import Runner, SweepEvent
from kedro_dcgan.sweeps.study import best_of, open_study
from kedro_dcgan.training.fast.calibration import calibration_of


@pytest.fixture(autouse=True)
def diverse_samples(monkeypatch):
    """The samples of these tiny networks have collapsed."""
    monkeypatch.setattr("kedro_dcgan.training.loop.diversity", lambda *_: 1.0)


@pytest.fixture(autouse=True)
def close_bars():
    """An open bar would be described by the heartbeats of later tests."""
    yield
    for bar in Bar.opened[:]:
        bar.close()


class Sweep:
    """A sweep in a folder; `stop` asks it to stop."""

    def __init__(self, path, recipe=None, **changes):
        self.folder, self.parameters, self.request = SweepFolder(path), tiny_sweep(**changes), StopRequest()
        self.training, self.images = recipe or training(), pictures()
        self.study = open_study(self.parameters, self.training, self.images, path)
        bar = Bar("sweep", None)
        self.runner = Runner(self.study, self.images, self.parameters, self.training, self.folder, self.request, bar)

    def stop(self):
        self.request.signal_number = 2

    def confirm(self):
        return list(self.runner.confirm([job for *_, job in self.finalists().jobs]))

    def finalists(self, folder=None):
        return choose_finalists(self.study, self.parameters, self.training, folder or self.folder)


def test_each_trial_ends_with_its_results_and_without_checkpoints(tmp_path):
    sweep = Sweep(tmp_path, trials=2)
    events = list(sweep.runner.run_trials())
    assert [event.outcome for event in events] == [None, None, "completed"] * 2
    assert [event.tick.images_seen for event in events] == [32, 64, 96] * 2
    assert {event.sweep for event in events} == {sweep.study.name}
    for trial in sweep.study.trials():
        files = sweep.folder.of(trial.key)
        generator, history = files.read()
        (name,) = (column for column in history if column.endswith("_validation"))
        assert history[name].min() == pytest.approx(trial.distance)
        assert list(history[name]) == pytest.approx(list(trial.distances.values()))
        assert generator.images_seen in (32, 64, 96)
        assert [grid.images_seen for grid in files.grids()] == [0, 32, 64, 96]
        marks = {read_mark(file) for file in files.path.glob("frames/*.png")}
        assert marks == {SyntheticMark(training_id=generator.facts["training_id"])}
        assert not list(files.checkpoints.root.glob("*/*"))


def test_an_interrupted_trial_ends_with_the_same_bits(tmp_path):
    results = {}
    for name in ("whole", "stopped"):
        sweep = Sweep(tmp_path / name, trials=1)
        if name == "stopped":
            events = sweep.runner.run_trials()
            assert next(events).tick.images_seen == 32
            sweep.stop()
            assert [event.outcome for event in events] == [None]
            assert sweep.study.trials()[0].outcome is None
            sweep = Sweep(tmp_path / name, trials=1)
        (trial,) = [*sweep.runner.run_trials()][-1:]
        assert trial.outcome == "completed"
        results[name] = sweep.folder.of(sweep.study.trials()[0].key).read(), sweep.study.trials()[0].distances
    (whole, history), distances = results["whole"]
    (stopped, other), others = results["stopped"]
    assert all(torch.equal(value, stopped.weights[name]) for name, value in whole.weights.items())
    assert history.drop(columns=["images_per_second", "gigaflops_per_second"]).equals(
        other.drop(columns=["images_per_second", "gigaflops_per_second"])
    )
    assert distances == others


def test_a_trial_that_was_killed_before_it_was_recorded_is_not_trained_again(tmp_path, monkeypatch):
    sweep = Sweep(tmp_path, trials=1)

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep.study, "finish", die)
    with pytest.raises(KeyboardInterrupt):
        list(sweep.runner.run_trials())
    again = Sweep(tmp_path, trials=1)
    (event,) = again.runner.run_trials()
    assert (event.outcome, event.tick.images_seen) == ("completed", 96)


def diverging(sweep, numbers):
    """Let the trials of these numbers diverge after their first tick."""
    original, started = sweep.runner._trainer.ticks, []

    def ticks(job):
        started.append(job)
        for tick in original(job):
            yield tick
            if len(started) - 1 in numbers:
                raise TrainingError("the generator's loss must stay finite")

    sweep.runner._trainer.ticks = ticks


def test_a_trial_that_diverges_fails_and_the_sweep_goes_on(tmp_path):
    sweep = Sweep(tmp_path, trials=3)
    diverging(sweep, {1})
    ends = [event for event in sweep.runner.run_trials() if event.outcome]
    assert [event.outcome for event in ends] == ["completed", "failed", "completed"]
    assert "stay finite" in ends[1].fault
    assert ends[1].tick.images_seen == 32


def test_a_sweep_without_a_good_trial_ends_with_an_error(tmp_path):
    sweep = Sweep(tmp_path, trials=2)
    diverging(sweep, {0, 1})
    assert [event.outcome for event in sweep.runner.run_trials() if event.outcome] == ["failed", "failed"]
    with pytest.raises(TrainingError, match=r"a trial that ends well.*stay finite"):
        sweep.finalists()


def test_a_collapsed_generator_is_a_failed_trial(tmp_path, monkeypatch):
    monkeypatch.setattr("kedro_dcgan.training.loop.diversity", lambda *_: 0.1)
    sweep = Sweep(tmp_path, trials=1)
    assert [(event.outcome, event.fault) for event in sweep.runner.run_trials()][-1] == ("failed", "mode collapse")


def test_a_pruned_trial_ends_at_its_tick(tmp_path, monkeypatch):
    sweep = Sweep(tmp_path, trials=1)
    monkeypatch.setattr(sweep.study, "report", lambda trial, distances: len(distances) == 2)
    events = list(sweep.runner.run_trials())
    assert [(event.tick.images_seen, event.outcome) for event in events] == [(32, None), (64, "pruned")]
    (trial,) = sweep.study.trials()
    assert (trial.outcome, trial.images_seen) == ("pruned", 64)
    assert not sweep.folder.of(trial.key).has_results()


def test_no_trial_starts_after_the_time_limit(tmp_path, monkeypatch):
    clock = iter([0.0, 59.0])
    sweep = Sweep(tmp_path, minutes=1)
    monkeypatch.setattr(runner_module, "time", SimpleNamespace(monotonic=lambda: next(clock, 61.0)))
    assert [event.outcome for event in sweep.runner.run_trials() if event.outcome] == ["completed"]


def test_similar_trials_are_calibrated_once(tmp_path, monkeypatch):
    calibrated = []
    monkeypatch.setattr(
        "kedro_dcgan.training.in_process.calibration_of",
        lambda stored, plan, training: calibrated.append(training.batch_size) or calibration_of(stored, plan, training),
    )
    space = {
        "generator": {"learning_rate": {"low": 1e-3, "high": 1e-2}},
        "penalties": {"r1": {"low": 0.1, "high": 1}},
        "batch_size": [8, 16],
    }
    recipe = training(discriminator__batch_norm=False, penalties__r1=0.5)
    sweep = Sweep(tmp_path, recipe, trials=5, space=space, sampler="random", kimg=0.032, validations=1)
    list(sweep.runner.run_trials())
    sizes = [trial.values["batch_size"] for trial in sweep.study.trials()]
    assert set(sizes) == {8, 16}
    assert sorted(calibrated) == [8, 16]


def test_best_and_baseline_are_trained_with_other_seeds_and_only_once(tmp_path):
    sweep = Sweep(tmp_path, trials=2, confirmations=1, kimg=0.032, validations=1)
    list(sweep.runner.run_trials())
    finalists, events = sweep.finalists(), sweep.confirm()
    expected = ["best"] if finalists.baseline is None else ["best", "baseline"]
    assert [(arm, seed) for arm, seed, _ in finalists.jobs] == [("best", 0), *((arm, 1) for arm in expected)]
    assert finalists.jobs[0][2].key == finalists.best.key
    assert [event.outcome for event in events if event.outcome] == ["completed"] * len(expected)
    assert {job.training.seed for *_, job in finalists.jobs[1:]} == {1}
    assert sweep.confirm() == []
    for *_, job in finalists.jobs:
        distances = sweep.folder.of(job.key).read()[1].filter(like="_validation")
        assert sweep.folder.of(job.key).distance() == pytest.approx(distances.min().item())


def test_a_collapsed_confirmation_failed_and_has_no_distance(tmp_path, monkeypatch):
    sweep = Sweep(tmp_path, trials=1, confirmations=1, kimg=0.032, validations=1)
    list(sweep.runner.run_trials())
    monkeypatch.setattr("kedro_dcgan.training.loop.diversity", lambda *_: 0.1)
    assert [(event.outcome, event.fault) for event in sweep.confirm()] == [("failed", "mode collapse")]
    own, other = sweep.finalists().jobs
    assert sweep.folder.of(own[2].key).distance() > 0
    assert sweep.folder.of(other[2].key).distance() is None


def test_a_confirmation_killed_before_its_end_was_recorded_is_recorded_again(tmp_path):
    sweep = Sweep(tmp_path, trials=1, confirmations=1, kimg=0.032, validations=1)
    list(sweep.runner.run_trials())
    (*_, job) = sweep.finalists().jobs[1]
    # The results are stored, but nobody has seen the last tick.
    for _ in sweep.runner._trainer.ticks(job):
        pass
    assert sweep.folder.of(job.key).has_results()
    assert [event.outcome for event in sweep.confirm()] == ["completed"]
    assert sweep.confirm() == []


def test_values_that_do_not_go_together_are_a_failed_trial(tmp_path):
    space = {"loss": ["non_saturating", "wgan_gp"], "penalties": {"r1": {"low": 0, "high": 1}}}
    recipe = training(discriminator__batch_norm=False, penalties__r1=0)
    sweep = Sweep(tmp_path, recipe, trials=8, space=space, sampler="random", kimg=0.032, validations=1)
    list(sweep.runner.run_trials())
    faults = {trial.fault for trial in sweep.study.trials() if trial.values["loss"] == "wgan_gp"}
    assert faults
    assert all("penalties.r1" in fault for fault in faults)


def test_a_best_trial_of_another_machine_is_trained_here(tmp_path):
    sweep = Sweep(tmp_path, trials=1, confirmations=0, kimg=0.032, validations=1)
    list(sweep.runner.run_trials())
    ((arm, seed, job),) = sweep.finalists(SweepFolder(tmp_path / "elsewhere")).jobs
    assert (arm, seed) == ("best", 0)
    assert job.key != sweep.study.trials()[0].key
    assert job.training.generator == sweep.training.generator


@pytest.mark.parametrize(
    ("best", "baseline", "text"),
    [
        ({1: 50.0, 2: 80.0}, {1: 100.0, 2: 100.0}, "37% lower than the baseline, with 2 of 2 other seeds"),
        ({1: 50.0, 2: 110.0}, {1: 100.0, 2: 100.0}, "not confirmed: better than the baseline with 1 of 2 other seeds"),
        ({1: 100.0}, {1: 100.0}, "not confirmed: better than the baseline with 0 of 1 other seed"),
        ({1: 50.0, 2: None}, {1: 100.0, 2: 100.0}, "not confirmed: better than the baseline with 1 of 2 other seeds"),
        ({1: 50.0, 2: 90.0}, {1: 100.0, 2: None}, "50% lower than the baseline, with 2 of 2 other seeds"),
        ({1: 50.0}, {1: None}, "better than the baseline, with 1 of 1 other seed"),
        ({}, {}, "not compared with the baseline: no other seeds"),
    ],
)
def test_the_claim_follows_from_the_other_seeds(best, baseline, text):
    assert Comparison(best, baseline).text == text


def test_the_claim_without_a_baseline_says_why():
    best = [TrialSummary(number, {}, {}, "completed", 1.0, "a") for number in (0, 7)]
    distances = {("best", 0): 1.0, ("best", 1): 1.0}
    assert Finalists(best[0], None, ()).claim(distances, 0) == "no trial was better than the baseline"
    assert Finalists(best[1], None, ()).claim(distances, 0) == "not compared with the baseline: it failed"
    both = {**distances, ("baseline", 1): 2.0}
    assert Finalists(best[1], best[0], ()).claim(both, 0) == "50% lower than the baseline, with 1 of 1 other seed"


def test_all_processes_agree_on_the_key_of_a_sweep():
    assert SweepEvent("sweep-1").key == SweepEvent("sweep-1", outcome="failed").key != SweepEvent("sweep-2").key
    assert len(SweepEvent("sweep-1").key) == 32


def test_the_best_trial_is_completed():
    trials = [
        TrialSummary(0, {}, {1: 1.0}, "pruned", None, "a"),
        TrialSummary(1, {}, {1: 3.0}, "completed", 3.0, "b"),
        TrialSummary(2, {}, {1: 2.0}, None, None, "c"),
    ]
    assert best_of(trials).number == 1
    assert best_of(trials[:1]) is None
