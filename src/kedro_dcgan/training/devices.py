"""Devices: their choice and precision, memory and copies, deterministic algorithms, hardware."""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.errors import ParameterError
from kedro_dcgan.limits import total_memory, usable_cores
from kedro_dcgan.training.ranks import ALONE, Ranks

# From malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


@dataclass(frozen=True)
class Compute:
    """A device, the precision of the networks' arithmetic (everything else is float32), and the rank of this process.

    `threads` is the limit per rank on a CPU; 0: one per core.
    """

    device: torch.device
    precision: str
    ranks: Ranks = ALONE
    threads: int = 0

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which the networks run."""
        return self._context(enabled=True)

    def weights_cast_once(self) -> AbstractContextManager[Any]:
        """Return a context around several uses of `autocast` between which no weight changes."""
        # Cast weights are cached until the outermost context ends.
        return self._context(enabled=False)

    def _context(self, enabled: bool) -> AbstractContextManager[Any]:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16, enabled)


def choose_compute(device: str, precision: str, parameter: str = "training.device") -> Compute:
    """Resolve `auto` to the fastest available device; the precision stays float32 until calibration.

    `parameter` is named in the error.

    Raises:
        ParameterError: if the named device is missing.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = next(name for name, present in there.items() if present)
    if not there[device]:
        present = ", ".join(name for name, is_there in there.items() if is_there)
        raise ParameterError(
            f"`{parameter}` must be a device of this machine (got {device!r}). Use auto, or one of: {present}."
        )
    return Compute(torch.device(device), "float32" if precision == "auto" else precision)


def require_devices(count: int, device: torch.device, cores: int) -> None:
    """Check that the machine has `count` devices of a kind, or on a CPU `count` cores.

    Raises:
        ParameterError: if it has fewer.
    """
    there = {"cuda": torch.cuda.device_count(), "cpu": cores}.get(device.type, 1)
    if count > there:
        what = "usable cores" if device.type == "cpu" else f"{device.type.upper()} devices of this machine"
        raise ParameterError(f"`training.devices` must be at most {there}, the {what} (got {count}). Lower it.")


def require_cores(training: TrainingParameters, cores: int) -> None:
    """Check that all ranks together have at most one thread per usable core.

    Raises:
        ParameterError: if they have more.
    """
    devices = training.devices if isinstance(training.devices, int) else 1
    if isinstance(training.threads, int) and training.threads * devices > cores:
        raise ParameterError(
            f"`training.threads` times `training.devices` must be at most {cores}, the usable cores (got "
            f"{training.threads} x {devices}). Use auto."
        )


def keep_freed_memory() -> None:
    """Make the C library of this process keep freed memory for later allocations.

    Otherwise each step returns its activations to the system and gets them again, page by page (mallopt(3)). Only glibc
    has this setting.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device, without waiting for the device if that is safe.

    On MPS, such a copy may read memory that was freed: https://github.com/pytorch/pytorch/issues/139550.
    """
    return staged(tensor, device).to(device, non_blocking=device.type == "cuda")


def staged(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor in pinned memory, from which it is copied to a GPU while the host continues.

    From other memory, a copy of more than 64 KB waits for all earlier work on the GPU:
    https://docs.nvidia.com/cuda/cuda-runtime-api/api-sync-behavior.html
    """
    return tensor.pin_memory() if device.type == "cuda" and tensor.device.type == "cpu" else tensor


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """Use only deterministic algorithms, some of which are slower; otherwise the fastest ones.

    On a CPU, all algorithms are deterministic for a given number of threads.
    https://docs.pytorch.org/docs/stable/notes/randomness.html
    """
    if wanted:
        # cuBLAS reads this when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.benchmark = not wanted
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def hardware_of(device: torch.device) -> str:
    """Return the GPU, if any, the processor, and the cores and memory that this process may use."""
    gpu = f"{torch.cuda.get_device_name(device)}, " if device.type == "cuda" else ""
    usable, all_cores, gigabytes = usable_cores(), os.cpu_count() or 1, total_memory() / 1e9
    cores = f"{usable} of {all_cores}" if usable < all_cores else f"{all_cores}"
    return f"{gpu}{_processor()}, {cores} cores, {gigabytes:.{0 if gigabytes >= 10 else 1}f} GB"


def has_bfloat16(device: str) -> bool:
    """Return whether a kind of device has hardware for bfloat16. It need not be faster than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities() if device == "cpu" and hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _processor() -> str:
    # platform.processor() is empty on Linux.
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
