"""`auto` chooses the faster precision, and an evaluation uses the fastest number of threads."""

import pytest
import torch

from kedro_dcgan.pipelines.evaluation import nodes
from kedro_dcgan.pipelines.evaluation.nodes import fast_extraction, faster_precision
from kedro_dcgan.training.threads import torch_threads

CPU = torch.device("cpu")


@pytest.fixture
def speeds(monkeypatch):
    """Measured images per second by precision."""
    found = {}
    monkeypatch.setattr(nodes, "EfficientNetLite0Features", lambda size, device, precision: precision)
    monkeypatch.setattr(nodes, "_speed", lambda precision: found[precision])
    monkeypatch.setattr(nodes, "has_bfloat16", lambda device: True)
    return found


@pytest.mark.parametrize(("bfloat16", "expected"), [(50.0, "float32"), (105.0, "float32"), (120.0, "bfloat16")])
def test_bfloat16_is_chosen_if_clearly_faster(speeds, bfloat16, expected):
    speeds |= {"float32": 100.0, "bfloat16": bfloat16}
    assert faster_precision(64, CPU) == expected


def test_without_bfloat16_hardware_nothing_is_timed(speeds, monkeypatch):
    monkeypatch.setattr(nodes, "has_bfloat16", lambda device: False)
    assert faster_precision(64, CPU) == "float32"


def test_extraction_uses_the_fastest_number_of_threads_and_restores_it(monkeypatch):
    monkeypatch.setattr("kedro_dcgan.training.threads.usable_cores", lambda: 2)
    extracted = []

    def extract(images):
        # Two threads are slow, as next to a busy program.
        extracted.append(torch.get_num_threads())
        torch.rand(10_000 if torch.get_num_threads() == 1 else 20_000_000)
        return images

    with torch_threads(2):
        with fast_extraction(extract, CPU):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with fast_extraction(extract, torch.device("cuda")):
            assert torch.get_num_threads() == 2
    assert set(extracted) == {1, 2}
