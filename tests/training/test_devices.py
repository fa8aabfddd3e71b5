import subprocess
import sys

import pytest
import torch
from recipes import tiny_training

from kedro_dcgan.errors import ParameterError
from kedro_dcgan.training import devices, plan
from kedro_dcgan.training.devices import (
    Compute,
    choose_compute,
    deterministic_algorithms,
    has_bfloat16,
)

CPU = Compute(torch.device("cpu"), "float32")


def test_choose_compute_returns_an_available_device():
    assert choose_compute("cpu", "float32") == CPU
    assert choose_compute("auto", "auto").device.type in {"cpu", "cuda", "mps"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_choose_compute_rejects_an_unavailable_device():
    with pytest.raises(ParameterError, match=r"`training.device`.*\(got 'cuda'\)"):
        choose_compute("cuda", "auto")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2", "avx512_bf16"}, True),
        ({"amx_bf16"}, True),
        ({"avx512_f"}, False),
        ({}, False),
    ],
)
def test_cpu_has_bfloat16_if_it_has_the_instructions(monkeypatch, capabilities, expected):
    monkeypatch.setattr(devices, "instruction_sets", lambda: frozenset(capabilities))
    assert has_bfloat16("cpu") == expected


def test_explicit_precision_is_used_and_auto_starts_as_float32(monkeypatch):
    monkeypatch.setattr(devices, "instruction_sets", frozenset)
    asked = ("auto", "float32", "bfloat16")
    assert [choose_compute("cpu", one).precision for one in asked] == ["float32", "float32", "bfloat16"]


@pytest.mark.parametrize("wanted", [True, False])
def test_deterministic_algorithms_are_set_and_restored(wanted):
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    with deterministic_algorithms(wanted):
        assert torch.are_deterministic_algorithms_enabled() == wanted
        assert torch.backends.cudnn.benchmark != wanted
    assert before == (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark)


def compute_on(monkeypatch, kind, cores, **changes):
    monkeypatch.setattr(plan, "choose_compute", lambda *_: Compute(torch.device(kind), "float32"))
    monkeypatch.setattr(plan, "usable_cores", lambda: cores)
    return plan.compute_of(tiny_training(**changes))


def test_more_threads_than_cores_are_rejected(monkeypatch):
    compute_on(monkeypatch, "cpu", 1, threads="auto")
    compute_on(monkeypatch, "cpu", 2, threads=2)
    with pytest.raises(ParameterError, match=r"`training.threads`.* 2\b.*\(got 2 x 2\)"):
        compute_on(monkeypatch, "cpu", 2, threads=2, devices=2)


@pytest.mark.parametrize(("kind", "there"), [("cpu", 4), ("cuda", 2), ("mps", 1)])
def test_more_devices_than_available_are_rejected(monkeypatch, kind, there):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert compute_on(monkeypatch, kind, 4, devices=there).device.type == kind
    with pytest.raises(ParameterError, match=rf"`training.devices`.* {there}\b.*\(got {there + 1}\)"):
        compute_on(monkeypatch, kind, 4, devices=there + 1)


FAULTS = """
import resource, sys, torch
from kedro_dcgan.training.devices import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def pages_of_a_step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.zeros(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for _ in range(4):
    pages_of_a_step()
print(pages_of_a_step())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs the GNU C library")
def test_keeping_freed_memory_avoids_page_faults():
    # Four times 64 MB are 4 x 16,384 pages of 4 KB.
    command = [sys.executable, "-c", FAULTS]
    given_back, kept = (
        int(subprocess.run([*command, how], capture_output=True, check=True).stdout) for how in ("leave", "keep")
    )
    assert kept < 10
    assert given_back > 1000
