"""Which device and which precision a training runs on, decided once and before it starts."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from kedro_dcgan.errors import ParameterError


@dataclass(frozen=True)
class Compute:
    """A device and the number format of the networks' arithmetic; everything else is float32."""

    device: torch.device
    precision: str

    def autocast(self) -> torch.autocast:
        """Return the context in which the networks run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def __str__(self) -> str:
        if self.device.type == "cuda":
            return f"{self.precision} on {torch.cuda.get_device_name(self.device)}"
        where = f"CPU ({torch.get_num_threads()} threads)" if self.device.type == "cpu" else self.device.type.upper()
        return f"{self.precision} on {where}"


def choose_compute(device: str, precision: str, parameter: str = "training.device") -> Compute:
    """Resolve `auto`: the fastest device that is there, and bfloat16 where its hardware has it.

    `parameter` is where the device was asked for.

    Raises:
        ParameterError: if a device is asked for by name and is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = next(name for name, present in there.items() if present)
    if not there[device]:
        present = ", ".join(name for name, is_there in there.items() if is_there)
        raise ParameterError(
            f"`{parameter}` must be a device of this machine (got {device!r}). Use auto, or one of: {present}."
        )
    if precision == "auto":
        precision = "bfloat16" if _has_bfloat16(device) else "float32"
    return Compute(torch.device(device), precision)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device, without waiting for the device where that is safe.

    (On MPS a copy may read memory that has been given back: https://github.com/pytorch/pytorch/issues/139550.)
    """
    return tensor.to(device, non_blocking=device.type == "cuda")


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """Let torch use only algorithms that give equal bits for equal inputs (some are slower); else the fastest.

    On a CPU they all do, for an equal number of threads.
    https://docs.pytorch.org/docs/stable/notes/randomness.html
    """
    if wanted:
        # Read by cuBLAS when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.benchmark = not wanted
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def _has_bfloat16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities() if device == "cpu" and hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
