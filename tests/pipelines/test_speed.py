"""The precision of `auto` is the faster one, and the threads are those that are fastest."""

import pytest
import torch

from kedro_dcgan.pipelines.evaluation import speed
from kedro_dcgan.pipelines.evaluation.speed import faster_precision, threads_for
from kedro_dcgan.training.threads import torch_threads

CPU = torch.device("cpu")


@pytest.fixture
def speeds(monkeypatch):
    """Images a second by precision, as if they were measured."""
    found = {}
    monkeypatch.setattr(speed, "EfficientNetLite0Features", lambda size, device, precision: precision)
    monkeypatch.setattr(speed, "_speed", lambda precision: found[precision])
    monkeypatch.setattr(speed, "has_bfloat16", lambda device: True)
    return found


@pytest.mark.parametrize(("bfloat16", "expected"), [(50.0, "float32"), (105.0, "float32"), (120.0, "bfloat16")])
def test_bfloat16_is_chosen_where_it_is_clearly_faster(speeds, bfloat16, expected):
    speeds |= {"float32": 100.0, "bfloat16": bfloat16}
    assert faster_precision(64, CPU) == expected


def test_without_hardware_for_bfloat16_nothing_is_timed(speeds, monkeypatch):
    monkeypatch.setattr(speed, "has_bfloat16", lambda device: False)
    assert faster_precision(64, CPU) == "float32"


def test_an_evaluation_has_the_threads_that_are_fastest_and_then_all_is_as_before(monkeypatch):
    monkeypatch.setattr("kedro_dcgan.training.threads.usable_cores", lambda: 2)
    extracted = []

    def extract(images):
        # Two threads are slow: something else uses the cores.
        extracted.append(torch.get_num_threads())
        torch.rand(10_000 if torch.get_num_threads() == 1 else 20_000_000)
        return images

    with torch_threads(2):
        with threads_for(extract, CPU):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with threads_for(extract, torch.device("cuda")):
            assert torch.get_num_threads() == 2
    assert set(extracted) == {1, 2}
