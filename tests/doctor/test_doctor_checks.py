"""Each check passes on this machine, and fails if what it checks is broken."""

import copy
import os
from pathlib import Path

import pytest
import torch
from recipes import BASE, changed, yaml
from simulated_capture import Capture
from torch.nn.functional import interpolate

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.doctor import memory_check, run_checks, step_checks
from kedro_dcgan.doctor.isolation import CheckFailed, Skipped, run_isolated
from kedro_dcgan.doctor.option_check import OPTIONS, check_options
from kedro_dcgan.doctor.run_checks import check_data, check_evaluation, check_ranks, check_resume
from kedro_dcgan.doctor.step_checks import check_execution, check_gradients, compare_states
from kedro_dcgan.doctor.trainings import STANDARD, TINY, Subject
from kedro_dcgan.evaluation import features
from kedro_dcgan.model import convolution_algorithms
from kedro_dcgan.training import data, losses, step
from kedro_dcgan.training.fast import cuda_graphs
from kedro_dcgan.training.regularisation import r1_penalty
from kedro_dcgan.training.state import TrainingState
from kedro_dcgan.training.step import Step

torch.set_num_threads(1)

CPU = torch.device("cpu")
SUBJECT = Subject(CPU, ("float32",))


def scaled(function, factor):
    """Return a function whose result is slightly wrong."""
    return lambda *arguments, **options: factor * function(*arguments, **options)


def nothing(*arguments, **options):
    """Do nothing."""


def test_parameters_are_those_of_the_preset():
    values = yaml.safe_load(BASE.read_text())["training"]
    preset = yaml.safe_load((BASE.parents[1] / "faces64" / BASE.name).read_text())["training"]
    flat = {}
    for key, value in preset.items():
        flat |= {f"{key}.{name}": one for name, one in value.items()} if isinstance(value, dict) else {key: value}
    assert changed(values, flat) == STANDARD


def test_options_cover_all_losses_and_options():
    trainings = [TINY.with_values(changes) for changes in OPTIONS.values()]
    assert {one.loss for one in trainings} == set(losses.LOSSES)
    architectures = set(TrainingParameters.model_fields["architecture"].annotation.__args__)
    # The discriminator of simpsons200 has 650 million weights.
    assert {one.architecture for one in trainings} == architectures - {"simpsons200"}
    for name in ("discriminator", "penalties", "augmentation", "ema"):
        for key in type(getattr(TINY, name)).model_fields:
            if key not in ("width", "learning_rate", "betas", "gradient", "recalibration"):
                assert len({str(getattr(getattr(one, name), key)) for one in trainings}) > 1, key
    for key in ("latents", "real_label", "gradient_accumulation", "conditional"):
        assert len({getattr(one, key) for one in trainings}) > 1, key


def test_gradients_agree():
    assert "float32 within" in check_gradients(SUBJECT)


@pytest.mark.parametrize(
    "broken",
    [
        (convolution_algorithms, "_kernel", scaled(convolution_algorithms._kernel, 1.01)),
        (convolution_algorithms, "_large", scaled(convolution_algorithms._large, 1.01)),
        (step, "r1_penalty", scaled(r1_penalty, 1.05)),
        (step, "LOSSES", {**losses.LOSSES, "non_saturating": losses.LOSSES["hinge"]}),
    ],
    ids=["weight gradient", "data gradient", "R1", "loss"],
)
def test_wrong_gradients_are_found(monkeypatch, broken):
    monkeypatch.setattr(*broken)
    with pytest.raises(CheckFailed, match="gradients of the"):
        check_gradients(SUBJECT)


@pytest.mark.slow
def test_compiled_steps_agree():
    assert "compiled within" in check_execution(SUBJECT)


def test_wrong_compiled_networks_are_found(monkeypatch):
    def compile_wrongly(network):
        network._compiled_call_impl = scaled(network.forward, 1.5)

    monkeypatch.setattr(torch.nn.Module, "compile", compile_wrongly)
    with pytest.raises(CheckFailed, match="compiled"):
        check_execution(SUBJECT)


@pytest.fixture
def captured(monkeypatch):
    capture = Capture()
    monkeypatch.setattr(cuda_graphs, "CudaCapture", lambda: capture)
    monkeypatch.setattr(step_checks, "possible_modes", lambda device: ("graphed",))
    return capture


def test_captured_steps_agree(captured):
    assert "graphed within" in check_execution(SUBJECT)
    assert captured.replays


def test_stale_draws_of_captured_steps_are_found(captured, monkeypatch):
    monkeypatch.setattr(cuda_graphs.BufferedDraws, "refill", nothing)
    with pytest.raises(CheckFailed, match="graphed"):
        check_execution(SUBJECT)


def test_stale_images_of_captured_steps_are_found(captured, monkeypatch):
    run = cuda_graphs.CapturedSteps.__call__

    def with_the_first_images(self, take, kind, images, classes, source):
        self.first = getattr(self, "first", {})
        is_warm = self._taken.get(kind, 0) >= cuda_graphs.STEPS_BEFORE
        return run(self, take, kind, self.first.setdefault(kind, images) if is_warm else images, classes, source)

    monkeypatch.setattr(cuda_graphs.CapturedSteps, "__call__", with_the_first_images)
    with pytest.raises(CheckFailed, match="graphed"):
        check_execution(SUBJECT)


def test_capture_without_effect_is_found(captured, monkeypatch):
    monkeypatch.setattr(Capture, "_replay", nothing)
    with pytest.raises(CheckFailed, match="graphed"):
        check_execution(SUBJECT)


def test_steps_that_cannot_be_captured_are_found(captured, monkeypatch):
    def fail(self, function):
        raise RuntimeError("operation not permitted when stream is capturing")

    # Training falls back to eager steps.
    monkeypatch.setattr(Capture, "__call__", fail)
    with pytest.raises(CheckFailed, match=r"cannot be captured.*not permitted when stream is capturing"):
        check_execution(SUBJECT)


def test_a_mode_that_fails_does_not_hide_the_others(captured, monkeypatch):
    def fail(network):
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(step_checks, "possible_modes", lambda device: ("graphed", "compiled and graphed"))
    monkeypatch.setattr(torch.nn.Module, "compile", fail)
    monkeypatch.setattr(cuda_graphs.BufferedDraws, "refill", nothing)
    with pytest.raises(CheckFailed, match=r"graphed steps against eager ones.*compiled and graphed steps fail"):
        check_execution(SUBJECT)


def test_execution_is_skipped_without_a_compiler(monkeypatch):
    monkeypatch.setattr(step_checks.shutil, "which", nothing)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(Skipped, match="compiler"):
        check_execution(SUBJECT)


def test_options_work():
    assert str(len(OPTIONS)) in check_options(SUBJECT)


def test_weights_that_are_not_updated_are_found():
    start, moved = (
        {**{f"{name}_optimiser": {"state": {0: {"exp_avg": torch.ones(3)}}} for name in ("generator", "discriminator")},
         "generator": {"weight": torch.full((3,), value)}, "discriminator": {"weight": torch.full((3,), value)}}
        for value in (0.0, 1.0)
    )  # fmt: skip
    assert compare_states(moved, moved, start, 0.01) == (0, "")
    assert compare_states(start, moved, start, 0.01) == (0, "the weight updates differ by 100% (at most 50%)")


def test_losses_that_are_not_finite_are_found(monkeypatch):
    broken = {**losses.LOSSES, "hinge": losses.LOSSES["hinge"].__class__(**{
        **vars(losses.LOSSES["hinge"]), "generator": lambda logits: logits / 0,
    })}  # fmt: skip
    monkeypatch.setattr(step, "LOSSES", broken)
    with pytest.raises(CheckFailed, match=r"hinge.*a metric is not finite"):
        check_options(SUBJECT)


def test_a_network_that_does_not_learn_is_found(monkeypatch):
    optimise = Step._optimise
    monkeypatch.setattr(
        Step,
        "_optimise",
        lambda self, network, optimiser: network is self._state.generator or optimise(self, network, optimiser),
    )
    with pytest.raises(CheckFailed, match=r"the weights .* of the generator do not change"):
        check_options(SUBJECT)


def test_device_with_other_losses_is_found(monkeypatch):
    logits = Step._logits

    def shifted(self, images, classes=None):
        return logits(self, images, classes) + (self._compute.precision == "bfloat16")

    monkeypatch.setattr(Step, "_logits", shifted)
    with pytest.raises(CheckFailed, match=r"in bfloat16, eager steps: the losses are"):
        check_options(Subject(CPU, ("bfloat16",)))


def test_resumed_training_is_the_same():
    assert "bit for bit" in check_resume(SUBJECT)


@pytest.mark.parametrize("part", ["generator_optimiser", "ema_generator", "adaptive_r1"])
def test_state_that_is_not_restored_is_found(monkeypatch, part):
    load = TrainingState.load_state_dict

    def forget(self, state):
        load(self, {**state, part: copy.deepcopy(getattr(self, part).state_dict())})

    monkeypatch.setattr(TrainingState, "load_state_dict", forget)
    with pytest.raises(CheckFailed, match="tensors differ"):
        check_resume(SUBJECT)


def test_draws_that_do_not_follow_from_the_clock_are_found(monkeypatch):
    source, number = step.source_at, iter(range(1000))
    monkeypatch.setattr(step, "source_at", lambda seed, seen: source(seed, next(number)))
    with pytest.raises(CheckFailed, match="tensors differ"):
        check_resume(SUBJECT)


def test_data_agree():
    assert "equal the rows" in check_data(SUBJECT)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("to_device", lambda rows, device: rows.flip(0)),
        ("staged", lambda images, device: images.flip(0)),
        ("_classes_at", lambda indices, images, device: torch.zeros(len(indices))),
    ],
    ids=["resident", "streamed", "classes"],
)
def test_wrong_batches_are_found(monkeypatch, name, broken):
    monkeypatch.setattr(data, name, broken)
    with pytest.raises(CheckFailed, match=r"batch \d+ of"):
        check_data(SUBJECT)


@pytest.mark.slow
def test_ranks_agree():
    assert "2 ranks (gloo on the CPU)" in check_ranks(SUBJECT)


# Run by each rank, because PYTHONPATH has its folder.
_WITHOUT_AVERAGE = """
import sys
if "kedro_dcgan.training.distributed.worker" in sys.orig_argv:
    from kedro_dcgan.training.devices import Ranks
    Ranks.average = lambda self, tensors: None
"""


@pytest.mark.slow
def test_ranks_that_do_not_average_their_gradients_are_found(monkeypatch, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(_WITHOUT_AVERAGE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(run_checks.__file__).parents[2])]))
    with pytest.raises(CheckFailed, match="2 ranks against one: the mean gradients differ"):
        check_ranks(SUBJECT)


def test_ranks_are_skipped_on_one_core(monkeypatch):
    monkeypatch.setattr(run_checks, "usable_cores", lambda: 1)
    with pytest.raises(Skipped, match="two cores"):
        check_ranks(SUBJECT)


def test_evaluation_agrees():
    assert "features within" in check_evaluation(SUBJECT)


@pytest.mark.parametrize(
    ("place", "name", "broken"),
    [
        (features, "interpolate", lambda pixels, size, **_: interpolate(pixels, size)),
        (features, "fuse_conv_bn_eval", lambda convolution, norm: convolution),
        (run_checks, "frechet_distance", scaled(run_checks.frechet_distance, 1.01)),
    ],
    ids=["resizing", "batch norms", "distance"],
)
def test_wrong_evaluation_is_found(monkeypatch, place, name, broken):
    monkeypatch.setattr(place, name, broken)
    with pytest.raises(CheckFailed, match="features"):
        check_evaluation(SUBJECT)


def check_memory_with(factor, subject):
    """Check the memory, with an estimate that is wrong by a factor."""
    memory_check.training_bytes = scaled(memory_check.training_bytes, factor)
    return memory_check.check_memory(subject)


@pytest.mark.parametrize(
    ("factor", "precisions", "status"),
    [
        (1, ("float32",), "passed"),
        (1, ("float32", "bfloat16"), "passed"),
        (0.01, ("float32",), "failed"),
        (10, ("float32",), "failed"),
    ],
)
def test_estimate_of_the_memory_must_fit_the_peak(factor, precisions, status):
    outcome = run_isolated(check_memory_with, factor, Subject(CPU, precisions), seconds=300)
    assert outcome.status == status, outcome
    assert "GB at the peak" in outcome.summary
