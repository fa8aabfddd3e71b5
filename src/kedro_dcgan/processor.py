"""The processor of this machine: its name, and its instruction sets by torch's names."""

import functools
import platform
import re
from pathlib import Path

import torch

_LISTED = Path("/proc/cpuinfo")


def processor_name() -> str:
    """Return the name of the processor."""
    # platform.processor() is empty on Linux.
    return _listed("model name") or platform.processor() or platform.machine()


@functools.cache
def instruction_sets() -> frozenset[str]:
    """Return the instruction sets that the processor has, such as `avx2`, `avx512_bf16` and `amx_bf16`."""
    if hasattr(torch.cpu, "get_capabilities"):
        return frozenset(name for name, value in torch.cpu.get_capabilities().items() if value is True)
    # torch 2.9 does not tell. Linux writes avx512f instead of avx512_f.
    flags = (_listed("flags") or _listed("Features")).split()
    return frozenset(re.sub(r"^avx512(?=[a-z])", "avx512_", flag) for flag in flags)


def _listed(key: str) -> str:
    lines = _LISTED.read_text(encoding="utf-8", errors="replace").splitlines() if _LISTED.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")
