import platform

import pytest
import torch

from kedro_dcgan import processor
from kedro_dcgan.processor import instruction_sets, processor_name

INFO = """processor\t: 0
model name\t: AMD EPYC 9654
flags\t\t: fpu avx2 avx512f avx512bw avx512_bf16 amx_bf16
"""


@pytest.fixture
def without_cache():
    instruction_sets.cache_clear()
    yield
    instruction_sets.cache_clear()


@pytest.mark.usefixtures("without_cache")
def test_torch_without_capabilities_is_made_good_for(monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text(INFO)
    monkeypatch.setattr(processor, "_LISTED", tmp_path / "cpuinfo")
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert processor_name() == "AMD EPYC 9654"
    assert instruction_sets() == {"fpu", "avx2", "avx512_f", "avx512_bw", "avx512_bf16", "amx_bf16"}


@pytest.mark.usefixtures("without_cache")
@pytest.mark.skipif(platform.system() != "Linux" or not hasattr(torch.cpu, "get_capabilities"), reason="needs both")
def test_linux_and_torch_agree(monkeypatch):
    from_torch = instruction_sets()
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    instruction_sets.cache_clear()
    names = {"avx2", "avx512_f", "avx512_bf16", "avx512_vnni", "amx_bf16"}
    assert instruction_sets() & names == from_torch & names
