import pytest
import torch

from kedro_dcgan.errors import ParameterError
from kedro_dcgan.gan.devices import Compute, choose_compute, deterministic_algorithms

CPU = Compute(torch.device("cpu"), "float32")


def test_choose_compute_takes_what_is_there():
    assert choose_compute("cpu", "float32") == CPU
    assert choose_compute("auto", "auto").device.type in {"cpu", "cuda", "mps"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_choose_compute_refuses_a_device_that_is_not_there():
    with pytest.raises(ParameterError, match=r"`training.device` must be a device of this machine \(got 'cuda'\)"):
        choose_compute("cuda", "auto")


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
        ({"avx512_bf16": False}, "float32"),
        ({}, "float32"),
    ],
)
def test_a_cpu_gets_bfloat16_where_it_has_it(monkeypatch, capabilities, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert choose_compute("cpu", "auto").precision == precision
    assert choose_compute("cpu", "float32").precision == "float32"


@pytest.mark.parametrize("wanted", [True, False])
def test_deterministic_algorithms_are_those_of_a_training_and_then_as_before(wanted):
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    with deterministic_algorithms(wanted):
        assert torch.are_deterministic_algorithms_enabled() == wanted
        assert torch.backends.cudnn.benchmark != wanted
    assert before == (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark)
