"""Captured steps train the same bits as eager ones. On a CPU, a simulated capture enforces the rules of CUDA graphs."""

import gc
import logging
import weakref

import pytest
import torch
from engine import CPU, REAL, batches, classes_of, new_state, ticks, weights_of
from recipes import tiny_training
from simulated_capture import Capture

from kedro_dcgan.model.sampling import to_model_range
from kedro_dcgan.training.devices import Compute, deterministic_algorithms
from kedro_dcgan.training.fast import cuda_graphs as graphs
from kedro_dcgan.training.fast.cuda_graphs import STEPS_BEFORE
from kedro_dcgan.training.fast.execution import execute, step_of
from kedro_dcgan.training.step import Step

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
LINEAR = {"discriminator__batch_norm": False}


@pytest.fixture
def capture(monkeypatch):
    made = Capture()
    monkeypatch.setattr(graphs, "CudaCapture", lambda: made)
    return made


def trained(execution, steps, training, compute=CPU):
    state = new_state(training, compute)
    execute(state, execution)
    step = step_of(state, training, compute)
    values = [step(to_model_range(batch.images), classes_of(batch, training)) for batch in batches(steps)]
    return torch.stack(values), weights_of(state), state


CHANGES = [
    {},
    {"ema__half_life": 50},
    {"discriminator__steps": 2},
    {"discriminator__update": "separately"},
    {"augmentation__flip": True, "augmentation__differentiable": ("colour", "translation", "cutout")},
    {**LINEAR, "penalties__r1": 0.5, "penalties__r1_every": 3},
    {**LINEAR, "penalties__r1": "auto", "penalties__r1_every": 3},
    {**LINEAR, "loss": "wgan_gp"},
    {**LINEAR, "discriminator__spectral_norm": True, "loss": "hinge"},
    {"gradient_accumulation": 2},
    {"architecture": "dcgan", "latents": "uniform", "real_label": 0.9},
    {**LINEAR, "conditional": True, "penalties__r1": 0.5, "gradient_accumulation": 2},
]


@pytest.mark.parametrize("changes", CHANGES)
def test_captured_steps_train_the_same_bits(capture, changes):
    training = tiny_training(**changes)
    # Enough steps to replay each variant.
    steps = 5 * STEPS_BEFORE
    expected, found = trained("eager", steps, training), trained("graphed", steps, training)
    assert torch.equal(expected[0], found[0])
    assert all(torch.equal(weight, found[1][name]) for name, weight in expected[1].items())
    assert capture.replays >= STEPS_BEFORE
    if changes.get("ema__half_life"):
        averages = (state.ema_generator.state_dict() for _, _, state in (expected, found))
        assert all(torch.equal(one, other) for one, other in zip(*(a.values() for a in averages), strict=True))


def test_captured_steps_in_bfloat16_train_the_same_bits(capture):
    compute = Compute(torch.device("cpu"), "bfloat16")
    expected, found = (trained(name, 8, tiny_training(), compute) for name in ("eager", "graphed"))
    assert torch.equal(expected[0], found[0])
    assert capture.replays == 8 - STEPS_BEFORE


def test_each_step_variant_is_captured_separately(capture):
    training = tiny_training(**LINEAR, penalties__r1=1, penalties__r1_every=2)
    trained("graphed", 12, training)
    # Odd and even steps are two variants, each captured after its warm-up.
    assert capture.replays == 12 - 2 * STEPS_BEFORE


def test_resumed_captured_training_ends_with_the_same_bits(capture):
    whole, first, second = new_state(), new_state(), new_state()
    for state in (whole, first, second):
        execute(state, "graphed")
    ticks(whole, 12)
    ticks(first, 5)
    second.load_state_dict(first.state_dict())
    ticks(second, 7)
    expected = weights_of(whole)
    assert all(torch.equal(weight, expected[name]) for name, weight in weights_of(second).items())


def test_steps_that_cannot_be_captured_run_eagerly_with_one_warning(monkeypatch, caplog):
    class Failing:
        def __call__(self, function):
            # Fail while the discriminator is frozen, before any weight has changed.
            with monkeypatch.context() as broken:
                broken.setattr(Step, "_generate", lambda *_, **__: REAL[:8].float())
                broken.setattr(Step, "_update_discriminator", lambda *_: (None, None, None))
                broken.setattr(Step, "_logits", fail)
                function()

    def fail(*_):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(graphs, "CudaCapture", Failing)
    with caplog.at_level(logging.WARNING):
        expected, found = (trained(name, 8, tiny_training()) for name in ("eager", "graphed"))
    assert all(torch.equal(weight, found[1][name]) for name, weight in expected[1].items())
    (warning,) = [record.message for record in caplog.records]
    assert "(operation not permitted when stream is capturing)" in warning


def test_capture_error_without_a_message_is_named_by_its_type(monkeypatch, caplog):
    def fail(*_):
        try:
            raise NotImplementedError
        finally:
            raise RuntimeError("the capture has ended with an error")

    monkeypatch.setattr(graphs, "CudaCapture", lambda: fail)
    with caplog.at_level(logging.WARNING):
        trained("graphed", STEPS_BEFORE + 1, tiny_training())
    assert "(NotImplementedError)" in caplog.text


def test_graphs_are_freed_with_the_step(capture):
    state = new_state()
    execute(state, "graphed")
    step = step_of(state, tiny_training(), CPU)
    gc.disable()
    try:
        for batch in batches(STEPS_BEFORE + 2):
            step(to_model_range(batch.images))
        gone = weakref.ref(state)
        del state, step
        assert gone() is None
    finally:
        gc.enable()


@cuda
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("changes", CHANGES)
def test_cuda_graphs_train_the_same_bits_as_eager_steps(changes, precision):
    compute, training = Compute(torch.device("cuda"), precision), tiny_training(**changes)
    results = []
    with deterministic_algorithms(True):
        for execution in ("eager", "graphed"):
            state = new_state(training, compute)
            execute(state, execution)
            step = step_of(state, training, compute)
            for batch in batches(5 * STEPS_BEFORE):
                classes = classes_of(batch, training)
                step(to_model_range(batch.images.cuda()), None if classes is None else classes.cuda())
            results.append(weights_of(state))
    for name, weight in results[0].items():
        assert torch.equal(weight, results[1][name]), name


def test_simulated_capture_rejects_what_cuda_graphs_forbid():
    with pytest.raises(AssertionError, match="_local_scalar_dense cannot be recorded"):
        Capture()(lambda: torch.ones(1) * REAL.float().mean().item())
    with pytest.raises(AssertionError, match="randn cannot be recorded"):
        Capture()(lambda: torch.randn(1))
