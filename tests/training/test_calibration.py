"""Calibration chooses precision, threads, algorithms and execution by timing; a resumed training reuses them."""

import logging
import math
from collections import Counter
from dataclasses import asdict, replace

import pytest
import torch
from engine import CPU, REAL, batches, new_state, ticks, weights_of
from recipes import tiny_training

from kedro_dcgan.data.shards import PreparedImages, StoredShard
from kedro_dcgan.model.sampling import to_model_range
from kedro_dcgan.training.costs import training_bytes
from kedro_dcgan.training.devices import Compute, Ranks
from kedro_dcgan.training.fast import calibration, execution
from kedro_dcgan.training.fast.autotune import Tuning
from kedro_dcgan.training.fast.calibration import calibrate, calibrate_steps, calibration_of
from kedro_dcgan.training.fast.cuda_graphs import STEPS_BEFORE
from kedro_dcgan.training.fast.execution import Calibration, execute, set_up
from kedro_dcgan.training.plan import plan_training
from kedro_dcgan.training.step import Step
from kedro_dcgan.training.threads import torch_threads

IMAGES = PreparedImages(16, 1, "digest", [StoredShard("0", "", REAL.numpy())], {"train": torch.arange(64).numpy()})
CUDA = Compute(torch.device("cuda"), "float32")
AUTO = {"precision": "auto", "threads": "auto"}


@pytest.fixture
def speeds(monkeypatch):
    """Simulated timings: images per second by precision, threads and execution."""
    found = {}

    class Trial:
        def __init__(self, plan, training, way):
            self._way = way

        def images_per_second(self):
            way = self._way
            return found[way.precision, torch.get_num_threads() if way.device == "cpu" else 0, way.execution]

    monkeypatch.setattr(calibration, "Trial", Trial)
    monkeypatch.setattr(
        calibration, "tune_networks", lambda *_: {"generator": Tuning({}, {}), "discriminator": Tuning({}, {})}
    )
    monkeypatch.setattr(calibration, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(calibration, "hardware_of", lambda device: "this machine")
    with torch_threads(2):
        monkeypatch.setattr(calibration, "most_threads", lambda: 2)
        monkeypatch.setattr(calibration, "idle_threads", lambda: 2)
        yield found


@pytest.fixture
def roomy_cuda(monkeypatch):
    monkeypatch.setattr(calibration, "free_bytes", lambda device: 2**40)


def plan_of(training, compute=CPU):
    return replace(plan_training(IMAGES, training), compute=compute)


def calibrated(compute=CPU, **changes):
    training = tiny_training(**{"kimg": 10, **AUTO, **changes})
    return calibrate(plan_of(training, compute), training)


def cpu_speeds(quick, **changes):
    """Return speeds of a CPU: 100 images/s in all settings except those in `quick`."""
    usual = {(precision, count, "eager"): 100.0 for precision in ("float32", "bfloat16") for count in (1, 2)}
    return {**usual, **quick}


@pytest.mark.parametrize(
    ("quick", "precision", "threads"),
    [
        ({("float32", 2, "eager"): 150.0, ("bfloat16", 2, "eager"): 200.0}, "bfloat16", 2),
        # bfloat16 in hardware, but slower; a gain within the noise.
        ({("float32", 2, "eager"): 150.0, ("bfloat16", 2, "eager"): 120.0}, "float32", 2),
        ({("float32", 2, "eager"): 150.0, ("bfloat16", 2, "eager"): 156.0}, "float32", 2),
        # Another program uses a core.
        ({("float32", 2, "eager"): 20.0, ("bfloat16", 1, "eager"): 140.0}, "bfloat16", 1),
        ({("float32", 2, "eager"): 20.0}, "float32", 1),
    ],
)
def test_fastest_precision_and_number_of_threads_are_chosen(speeds, caplog, quick, precision, threads):
    speeds |= cpu_speeds(quick)
    with caplog.at_level(logging.INFO):
        chosen = calibrated()
    assert (chosen.precision, chosen.threads) == (precision, threads)
    assert chosen.images_per_second == speeds[precision, threads, "eager"]
    (line,) = [record.message for record in caplog.records]
    assert f"chosen: {precision} on CPU ({threads} thread" in line
    assert all(f"{speeds[key]:,.0f}" in line for key in [("float32", 2, "eager"), (precision, threads, "eager")])
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("threads", [1, 2])
def test_explicit_parameters_win_however_slow(speeds, precision, threads):
    speeds |= cpu_speeds({(precision, threads, "eager"): 1.0})
    chosen = calibrated(precision=precision, threads=threads)
    assert (chosen.precision, chosen.threads, chosen.images_per_second) == (precision, threads, 1.0)


def test_precision_with_very_slow_convolutions_is_not_timed(speeds, monkeypatch):
    of_network = Tuning({}, {torch.float32: 1.0, torch.bfloat16: math.inf})
    monkeypatch.setattr(calibration, "tune_networks", lambda *_: {"generator": of_network, "discriminator": of_network})
    speeds |= {("float32", 1, "eager"): 1.0, ("float32", 2, "eager"): 2.0}
    assert calibrated().precision == "float32"


def test_bfloat16_without_hardware_support_is_not_timed(speeds, monkeypatch):
    monkeypatch.setattr(calibration, "has_bfloat16", lambda device: False)
    speeds |= {("float32", 1, "eager"): 1.0, ("float32", 2, "eager"): 2.0}
    assert calibrated().precision == "float32"


@pytest.mark.parametrize("changes", [{"deterministic": True}, {"kimg": 0.7}])
def test_deterministic_or_short_training_is_not_timed(speeds, changes):
    chosen = calibrated(**changes)
    assert (chosen.precision, chosen.threads, chosen.validation_threads) == ("float32", 2, 2)
    assert chosen.images_per_second is None


@pytest.mark.parametrize(
    ("changes", "threads"),
    [({}, 1), ({"deterministic": True}, 2), ({"threads": 2}, 2)],
)
def test_short_training_leaves_busy_cores_to_other_programs(speeds, monkeypatch, changes, threads):
    monkeypatch.setattr(calibration, "idle_threads", lambda: 1)
    chosen = calibrated(kimg=0.7, **changes)
    assert (chosen.threads, chosen.validation_threads, chosen.images_per_second) == (threads, threads, None)


@pytest.mark.parametrize(("faster", "precision"), [(1.0, "float32"), (0.5, "bfloat16")])
def test_only_convolutions_are_timed_if_memory_cannot_hold_a_copy(speeds, monkeypatch, faster, precision):
    plan = plan_of(tiny_training())
    # Two copies fit with micro-batches of half the size only.
    least = training_bytes(plan.generator, plan.discriminator, 4, CPU.device, "float32")
    free = calibration._COPIES * calibration._MOST_OF_LEAST * least
    monkeypatch.setattr(calibration, "free_bytes", lambda device: free)
    of_network = Tuning({}, {torch.float32: 1.0, torch.bfloat16: faster})
    monkeypatch.setattr(calibration, "tune_networks", lambda *_: {"generator": of_network, "discriminator": of_network})
    assert calibrated().precision == precision
    speeds |= cpu_speeds({("float32", 2, "eager"): 150.0})
    assert calibrated(gradient_accumulation=2).images_per_second == 150.0


@pytest.mark.parametrize(("compiled", "expected"), [(1.02, "eager"), (1.04, "compiled")])
def test_long_training_is_compiled_if_that_is_faster(speeds, compiled, expected):
    speeds |= cpu_speeds({("float32", 2, "eager"): 1000.0, ("float32", 2, "compiled"): 1000.0 * compiled})
    assert calibrated(kimg=3000).execution == "eager"
    assert calibrated(kimg=4000).execution == expected
    assert calibrated(kimg=4000, compile=False).execution == "eager"
    assert calibrated(kimg=10, compile=True).execution == "compiled"
    # An explicit parameter applies even if nothing is timed.
    assert calibrated(kimg=0.7, compile=True).execution == "compiled"
    assert calibrated(kimg=4000, compile=True, deterministic=True).execution == "compiled"


def test_gpu_captures_training_of_minutes_and_also_compiles_training_of_hours(speeds, roomy_cuda):
    for precision, factor in (("float32", 1), ("bfloat16", 2)):
        ways = {"eager": 500.0, "graphed": 1000.0, "compiled and graphed": 1500.0}
        speeds |= {(precision, 0, way): factor * speed for way, speed in ways.items()}
    # 30 seconds, 10 minutes and 2 hours of eager bfloat16 steps.
    chosen = [calibrated(CUDA, kimg=kimg) for kimg in (30, 600, 7200)]
    assert [one.execution for one in chosen] == ["eager", "graphed", "compiled and graphed"]
    assert {one.precision for one in chosen} == {"bfloat16"}
    assert calibrated(CUDA, kimg=7200, compile=False).execution == "eager"


def test_failed_modes_fall_back_to_the_fastest_other(speeds, roomy_cuda, caplog):
    speeds |= {("float32", 0, way): speed for way, speed in {"eager": 1000.0, "graphed": 2000.0}.items()}
    assert calibrated(CUDA, kimg=7200, precision="float32").execution == "graphed"
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "compiled and graphed" in warning


def test_gpu_precision_is_chosen_by_the_speed_of_captured_steps(speeds, roomy_cuda):
    # In eager steps, bfloat16 only adds casts, because the kernels wait for the host.
    speeds |= {("float32", 0, "eager"): 1000.0, ("bfloat16", 0, "eager"): 900.0}
    speeds |= {("float32", 0, "graphed"): 2000.0, ("bfloat16", 0, "graphed"): 4000.0}
    chosen = calibrated(CUDA, kimg=600)
    assert (chosen.precision, chosen.execution) == ("bfloat16", "graphed")


def test_out_of_memory_during_timing_falls_back_to_convolution_times(speeds, monkeypatch):
    def fail(self):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(calibration.Trial, "images_per_second", fail)
    of_network = Tuning({}, {torch.float32: 1.0, torch.bfloat16: 0.5})
    monkeypatch.setattr(calibration, "tune_networks", lambda *_: {"generator": of_network, "discriminator": of_network})
    chosen = calibrated(threads=1)
    assert (chosen.precision, chosen.threads, chosen.images_per_second) == ("bfloat16", 1, None)


def test_failing_compiler_warns_once_and_falls_back_to_eager(monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("no C++ compiler\nfound anywhere")

    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: setattr(self, "_compiled_call_impl", fail))
    assert calibrated(compile=True, precision="float32").execution == "eager"
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "no C++ compiler" in warning
    assert "found anywhere" not in warning


STORED = Calibration("cpu", "this machine", "bfloat16", 1, 1, "eager", {"generator": {}}, 123.0)


def resumed(stored, compute=CPU, **changes):
    training = tiny_training(**{"kimg": 10, **AUTO, **changes})
    return calibration_of({"calibration": asdict(stored)}, plan_of(training, compute), training)


def test_resume_reuses_the_calibration(speeds):
    # The fixture has no speeds, so a measurement would fail.
    assert resumed(STORED) == (STORED, STORED)
    assert resumed(STORED, precision="bfloat16") == (STORED, STORED)


def test_explicit_parameters_win_on_resume_and_are_not_stored(speeds):
    # The stored speed does not apply to another number of threads.
    used, kept = resumed(STORED, threads=2)
    assert used == replace(STORED, threads=2, validation_threads=2, images_per_second=None)
    assert kept == STORED
    compiled = replace(STORED, execution="compiled")
    assert resumed(compiled, compile=False) == (replace(STORED, images_per_second=None), compiled)
    speeds["bfloat16", 2, "compiled"] = 150.0
    assert resumed(STORED, compile=True)[0].execution == "compiled"
    speeds |= cpu_speeds({("float32", 2, "eager"): 150.0})
    assert resumed(STORED, precision="float32")[0].precision == "float32"


def test_smaller_machine_caps_the_threads_without_storing_the_cap(speeds, caplog):
    elsewhere = replace(STORED, hardware="a larger machine", threads=8, validation_threads=8)
    with caplog.at_level(logging.INFO):
        used, kept = resumed(elsewhere)
    assert used == replace(STORED, threads=2, validation_threads=2, images_per_second=None)
    assert kept == elsewhere
    assert "threads: 2, not 8" in caplog.text


def test_another_device_type_keeps_the_precision_and_times_the_rest(speeds):
    speeds |= {("bfloat16", 1, "eager"): 100.0, ("bfloat16", 2, "eager"): 150.0}
    speeds |= {("float32", 1, "eager"): 100.0, ("float32", 2, "eager"): 150.0}
    found, _ = resumed(replace(STORED, device="cuda", execution="graphed"))
    assert (found.device, found.precision, found.threads, found.execution) == ("cpu", "bfloat16", 2, "eager")


def test_emulated_bfloat16_is_used_with_a_warning_and_not_timed(speeds, monkeypatch, caplog):
    monkeypatch.setattr(calibration, "has_bfloat16", lambda device: False)
    assert calibrated(precision="bfloat16").precision == "bfloat16"
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "float32" in warning


def test_checkpoint_without_calibration_is_calibrated(speeds):
    speeds |= cpu_speeds({("float32", 2, "eager"): 150.0})
    training = tiny_training(kimg=10, **AUTO)
    assert calibration_of({}, plan_of(training), training)[0].threads == 2


def test_ranks_run_eagerly_and_share_the_cores(speeds):
    stored = replace(STORED, device="cuda", execution="graphed")
    used, kept = resumed(stored, Compute(torch.device("cuda"), "float32", Ranks(0, 2), 1))
    assert (used.execution, kept.execution) == ("eager", "graphed")
    assert calibrated(Compute(torch.device("cpu"), "float32", Ranks(0, 2), 1), precision="float32").threads == 1


def test_calibration_is_stored_in_the_state_and_applied_to_all_networks():
    training = tiny_training(ema__half_life=100)
    state = new_state(training)
    algorithms = {"generator": {"layers.1": {"large float32": "torch"}}, "discriminator": {}}
    chosen = replace(STORED, algorithms=algorithms)
    set_up(state, chosen)
    assert Calibration(**state.state_dict()["calibration"]) == chosen
    for network in (state.generator, state.ema_generator):
        assert network.get_submodule("layers.1").algorithms == {"large float32": "torch"}


def test_optimisers_are_capturable_only_where_steps_are_captured():
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


def test_timing_covers_whole_cycles_after_warm_up_of_every_step_variant(monkeypatch):
    training = tiny_training(penalties__r1=1.0, penalties__r1_every=6, discriminator__batch_norm=False)
    training = training.model_copy(update={"discriminator": training.discriminator.model_copy(update={"steps": 2})})
    events = []

    class RecordingStep(Step):
        def train(self, variant, *batch):
            events.append(variant)
            return super().train(variant, *batch)

        def __init__(self, state, training, compute, run):
            super().__init__(state, training, compute)  # without `run`, because there is no GPU

    monkeypatch.setattr("kedro_dcgan.training.fast.execution.Step", RecordingStep)
    for way in ("eager", "graphed"):
        events.clear()
        copy = execution.Trial(plan_of(training), training, replace(STORED, precision="float32", execution=way))
        monkeypatch.setattr(execution, "device_clock", lambda device: events.append("clock") or float(len(events)))
        copy.images_per_second()
        _, warm, begin, end = (place for place, event in enumerate(events) if event == "clock")
        kinds, before, timed = set(events) - {"clock"}, Counter(events[:warm]), Counter(events[begin + 1 : end])
        assert len(kinds) == 3
        least = STEPS_BEFORE + 1 if way == "graphed" else 1
        assert all(before[kind] >= least for kind in kinds)
        # Each variant is timed as often as it occurs in training.
        assert sorted(timed.values()) == [1, 2, 3]


def test_gpu_is_timed_until_its_clock_has_risen(monkeypatch):
    monkeypatch.setitem(execution._LEAST_SECONDS, "cpu", 8.0)
    steps = []

    class CountingStep(Step):
        def __call__(self, images, classes):
            steps.append(1)

    # Each step takes one second.
    monkeypatch.setattr("kedro_dcgan.training.fast.execution.Step", CountingStep)
    monkeypatch.setattr(execution, "device_clock", lambda device: float(len(steps)))
    training = tiny_training()
    assert execution.Trial(plan_of(training), training, STORED).images_per_second() == 8
    # Two warm-up steps, two rounds that were too short (2 and 4 steps), and a round of 8.
    assert len(steps) == 2 + 2 + 4 + 8


def test_timing_does_not_change_the_training():
    plain, measured = new_state(), new_state()
    ticks(plain, 3)
    training = tiny_training(kimg=10, **AUTO)
    before = torch.get_rng_state()
    plan = plan_of(training)
    chosen = calibrate_steps(plan.generator, plan.discriminator, training, plan.compute)
    assert chosen.images_per_second > 0
    assert torch.equal(torch.get_rng_state(), before)
    ticks(measured, 3)
    expected = weights_of(plain)
    assert all(torch.equal(weight, expected[name]) for name, weight in weights_of(measured).items())


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [{}, {"penalties__r1": 4.0, "penalties__r1_every": 2}])
def test_compiled_networks_train_the_same_weights_as_eager_ones(penalty):
    training, states = tiny_training(ema__half_life=100, discriminator__batch_norm=not penalty, **penalty), []
    for name in ("eager", "compiled"):
        state = new_state(training)
        execute(state, name)
        step = Step(state, training, CPU)
        for batch in batches(4):
            step(to_model_range(batch.images))
        states.append(weights_of(state))
    for name, weight in states[0].items():
        assert torch.allclose(weight.float(), states[1][name].float(), rtol=1e-3, atol=1e-4), name
