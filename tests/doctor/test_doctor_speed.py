"""The measurements of the doctor run on a CPU, and their numbers are consistent."""

import sys

import pytest
import torch

from kedro_dcgan.doctor import speed
from kedro_dcgan.doctor.isolation import Skipped
from kedro_dcgan.doctor.trainings import Subject
from kedro_dcgan.training.fast.execution import Calibration

torch.set_num_threads(1)

SUBJECT = Subject(torch.device("cpu"), ("float32",))
CALIBRATION = Calibration("cpu", "", "float32", 1)
STEPS = speed.StepSpeed(4, 100.0, 50.0, 2.0, 0.5, 1e12, CALIBRATION)


def test_steps_of_both_sides_are_timed():
    found = speed.measure_steps(SUBJECT, CALIBRATION, batch_size=4, rounds=1)
    assert found.ratio == pytest.approx(found.ours / found.peer)
    assert found.ours > 0
    # More than the rate of matrix products is impossible, but the machine may be busy during one of both.
    assert 0 < found.share < 3
    assert "float32 on CPU (1 thread), eager" in str(found)


@pytest.mark.slow
def test_features_are_timed():
    found = speed.measure_features(SUBJECT)
    assert min(found.lite, found.inception, found.torch_fidelity) > 0
    assert "torch-fidelity" in str(found)


def test_inception_is_left_out_without_torch_fidelity(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    assert speed.measure_features(SUBJECT).inception is None


@pytest.mark.slow
def test_epoch_is_timed():
    found = speed.measure_epoch(SUBJECT, STEPS, count=40)
    assert found.seconds > 0
    assert found.is_measured
    assert str(found).endswith("s for 202,599 images, batches of 4")


def test_epoch_that_does_not_fit_into_memory_is_skipped(monkeypatch):
    monkeypatch.setattr(speed, "available_memory", lambda: 10**9)
    with pytest.raises(Skipped, match="202,599 images need 5 GB"):
        speed.measure_epoch(SUBJECT, STEPS)


def test_compiled_steps_are_timed(monkeypatch):
    # Without capture, which needs CUDA.
    monkeypatch.setattr(speed, "replace", lambda calibration, execution: calibration)
    found = speed.measure_compiled(SUBJECT, STEPS)
    assert found.ratio == pytest.approx(found.images_per_second / STEPS.ours)
    assert "images/s in batches of 4" in str(found)
