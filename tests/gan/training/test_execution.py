"""Compiled or as written: by measurement, never by force, and a training goes on as it was begun."""

import logging
from collections import Counter
from dataclasses import replace

import pytest
import torch
from engine import CPU, REAL, batches, new_state, ticks, weights_of
from recipes import tiny_training

from kedro_dcgan.gan.describe import describe
from kedro_dcgan.gan.devices import Compute
from kedro_dcgan.gan.memory import checkpoint_bytes
from kedro_dcgan.gan.ranks import ALONE, Ranks
from kedro_dcgan.gan.training import execution
from kedro_dcgan.gan.training.execution import choose_execution, execute, execution_of
from kedro_dcgan.gan.training.graphs import STEPS_BEFORE
from kedro_dcgan.gan.training.plan import plan_training
from kedro_dcgan.gan.training.step import Step
from kedro_dcgan.images.pixels import to_model_range
from kedro_dcgan.images.shards import PreparedImages, StoredShard

IMAGES = PreparedImages(16, 1, "digest", [StoredShard("0", "", REAL.numpy())], {"train": torch.arange(64).numpy()})


def chosen(**changes):
    training = tiny_training(**changes)
    return choose_execution(plan_training(IMAGES, training), training)


@pytest.fixture
def speeds(monkeypatch):
    """Speeds of both executions, as if they were measured; none: it must not be."""
    found = {}
    monkeypatch.setattr(execution, "_images_per_second", lambda plan, training, name: found[name])
    return found


def test_a_short_training_is_not_compiled(speeds):
    speeds["eager"] = 1000.0
    assert chosen(kimg=1000) == "eager"


@pytest.mark.parametrize(("compiled", "expected"), [(1.02, "eager"), (1.04, "compiled")])
def test_a_long_training_is_compiled_if_that_is_faster_and_both_speeds_are_said(speeds, caplog, compiled, expected):
    speeds |= {"eager": 1000.0, "compiled": 1000.0 * compiled}
    with caplog.at_level(logging.INFO):
        assert chosen(kimg=10_000) == expected
    assert f"calibration, images/s: 1000 eager, {1000 * compiled:.0f} compiled · chosen: {expected}" in caplog.text


def on_cuda(**changes):
    training = tiny_training(**changes)
    plan = replace(plan_training(IMAGES, training), compute=Compute(torch.device("cuda"), "float32"))
    return choose_execution(plan, training)


@pytest.fixture
def roomy_cuda(monkeypatch):
    monkeypatch.setattr("kedro_dcgan.gan.memory.free_bytes", lambda device: 2**40)


def test_on_a_gpu_a_training_of_minutes_is_recorded_and_one_of_hours_compiled_too(speeds, roomy_cuda):
    speeds |= {"eager": 1000.0, "graphed": 2000.0, "compiled and graphed": 2500.0}
    # 30 seconds, 10 minutes and 2 hours as it is.
    assert [on_cuda(kimg=kimg) for kimg in (30, 600, 7200)] == ["eager", "graphed", "compiled and graphed"]
    assert on_cuda(kimg=7200, compile=True) == "compiled and graphed"
    assert on_cuda(kimg=7200, compile=False) == "eager"


def test_what_fails_on_a_gpu_leaves_the_fastest_of_the_others(speeds, roomy_cuda, caplog):
    speeds |= {"eager": 1000.0, "graphed": 2000.0}
    assert on_cuda(kimg=7200) == "graphed"
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warning == "  steps cannot be compiled and graphed here, and are not ('compiled and graphed')"


@pytest.mark.parametrize("changes", [{"compile": False}, {"deterministic": True}])
def test_nothing_is_measured_where_the_answer_is_known(speeds, changes):
    assert chosen(kimg=10_000, **changes) == "eager"


def test_where_memory_does_not_hold_a_copy_nothing_is_measured(speeds, monkeypatch):
    monkeypatch.setattr("kedro_dcgan.gan.memory.free_bytes", lambda device: 1000)
    assert chosen(kimg=10_000, compile=True) == "eager"


def test_memory_that_holds_a_part_of_a_batch_is_enough_where_it_is_worked_through_in_parts(speeds, monkeypatch):
    plan = plan_training(IMAGES, tiny_training())
    part = sum(describe(spec, 4).training_bytes for spec in (plan.generator, plan.discriminator))
    free = part + checkpoint_bytes(plan.generator, plan.discriminator)
    monkeypatch.setattr("kedro_dcgan.gan.memory.free_bytes", lambda device: free)
    assert chosen(kimg=10_000, compile=True) == "eager"
    speeds["compiled"] = 1000.0
    assert chosen(kimg=10_000, compile=True, gradient_accumulation=2) == "compiled"


def test_a_compiler_that_fails_is_said_once_and_survived(monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("no C++ compiler\nfound anywhere")

    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: setattr(self, "_compiled_call_impl", fail))
    assert chosen(compile=True) == "eager"
    assert [record.message for record in caplog.records] == [
        "  steps cannot be compiled here, and are not (no C++ compiler)"
    ]


def test_the_execution_is_part_of_the_state():
    state = new_state()
    state.execution = "compiled"
    stored = state.state_dict()
    assert (stored["execution"], stored["device"]) == ("compiled", "cpu")


@pytest.mark.parametrize(
    ("stored", "ranks", "expected"),
    [
        (None, ALONE, "graphed"),
        ({"execution": "eager", "device": "cuda"}, ALONE, "eager"),
        ({"execution": "compiled and graphed", "device": "cuda"}, ALONE, "compiled and graphed"),
        ({"execution": "graphed", "device": "cuda"}, Ranks(0, 2), "eager"),
        ({"execution": "compiled", "device": "cpu"}, ALONE, "graphed"),
        ({"execution": "compiled", "device": "cpu"}, Ranks(0, 2), "eager"),
    ],
)
def test_a_training_goes_on_as_it_was_begun_on_the_same_kind_of_device(speeds, roomy_cuda, stored, ranks, expected):
    speeds |= {"eager": 1000.0, "graphed": 2000.0}
    training = tiny_training(kimg=600)
    compute = Compute(torch.device("cuda"), "float32", ranks)
    plan = replace(plan_training(IMAGES, training), compute=compute)
    assert execution_of(stored, plan, training) == expected


def test_optimisers_may_be_recorded_where_steps_are_and_have_their_own_options_after_a_restart():
    recorded, restarted = new_state(), new_state()
    execute(recorded, "graphed")
    ticks(recorded, 2)
    stored = recorded.state_dict()
    restarted.load_state_dict(stored)
    groups = [
        [one.param_groups[0]["capturable"] for one in (state.generator_optimiser, state.discriminator_optimiser)]
        for state in (recorded, restarted)
    ]
    assert groups == [[True, True], [False, False]]


def test_a_gpu_is_timed_until_its_clock_has_risen(monkeypatch):
    monkeypatch.setitem(execution._LEAST_SECONDS, "cpu", 8.0)
    steps = []

    class Counted(Step):
        def __call__(self, images):
            steps.append(1)

    # A second a step.
    monkeypatch.setattr(execution, "Step", Counted)
    monkeypatch.setattr(execution, "_now", lambda device: float(len(steps)))
    training = tiny_training()
    assert execution._images_per_second(plan_training(IMAGES, training), training, "eager") == 8
    # To warm up, four that were too few, and eight.
    assert len(steps) == 4 + 4 + 8


def test_measuring_leaves_the_training_as_it_is(monkeypatch):
    monkeypatch.setitem(execution._OTHERS, "cpu", {"compiled": 1e9})
    plain, measured = new_state(), new_state()
    ticks(plain, 3)
    assert chosen(kimg=10_000) == "eager"
    ticks(measured, 3)
    expected = weights_of(plain)
    assert all(torch.equal(weight, expected[name]) for name, weight in weights_of(measured).items())


@pytest.mark.parametrize("way", ["eager", "graphed"])
def test_whole_cycles_are_timed_when_every_kind_of_step_is_warm(monkeypatch, way):
    training = tiny_training(penalties__r1=1.0, penalties__r1_every=6, discriminator__batch_norm=False)
    training = training.model_copy(update={"discriminator": training.discriminator.model_copy(update={"steps": 2})})
    events = []

    class Watched(Step):
        def _step(self, real_images, draws):
            events.append(self._turns())
            return super()._step(real_images, draws)

        def __init__(self, state, *others):
            super().__init__(state, *others)
            self._recorded = None  # there is no GPU

    monkeypatch.setattr(execution, "Step", Watched)
    monkeypatch.setattr(execution, "_now", lambda device: events.append("clock") or len(events))
    execution._images_per_second(plan_training(IMAGES, training), training, way)
    begin, end = (place for place, event in enumerate(events) if event == "clock")
    kinds, before, timed = set(events) - {"clock"}, Counter(events[:begin]), Counter(events[begin + 1 : end])
    assert len(kinds) == 3
    least = STEPS_BEFORE + 1 if way == "graphed" else 1
    assert all(before[kind] >= least for kind in kinds)
    # Each as often as in training: penalties fall on turns of D alone.
    assert sorted(timed.values()) == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [{}, {"penalties__r1": 4.0, "penalties__r1_every": 2}])
def test_compiled_networks_train_what_eager_ones_train(penalty):
    training, states = tiny_training(ema__half_life=100, discriminator__batch_norm=not penalty, **penalty), []
    for name in ("eager", "compiled"):
        state = new_state(training)
        execute(state, name)
        step = Step(state, training, CPU)
        for batch in batches(4):
            step(to_model_range(batch))
        states.append(weights_of(state))
    for name, weight in states[0].items():
        assert torch.allclose(weight.float(), states[1][name].float(), rtol=1e-3, atol=1e-4), name
