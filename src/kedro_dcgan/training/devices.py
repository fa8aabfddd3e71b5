"""The ranks of a training, the device and precision of each, copies to devices, torch's settings, and hardware."""

import ctypes
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed

from kedro_dcgan.errors import ParameterError
from kedro_dcgan.limits import total_memory, usable_cores
from kedro_dcgan.processor import instruction_sets, processor_name

Rows = TypeVar("Rows", Tensor, np.ndarray)


@dataclass(frozen=True)
class Ranks:
    """Rank `number` of the `count` processes that train one model, each on its own rows of every batch.

    All ranks must call its collective methods in the same order. Only these, `distributed/layers.py` and
    `checkpoints.restore` communicate, by `torch.distributed`.
    """

    number: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this rank samples, validates and saves."""
        return self.number == 0

    def rows_of(self, batch: Rows, parts: int = 1) -> Rows:
        """Return this rank's share of a batch: equally many rows of each of its `parts` micro-batches."""
        shares = batch.reshape(parts, self.count, -1, *batch.shape[1:])[:, self.number]
        return shares.reshape(-1, *batch.shape[1:])

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Set each tensor to its mean over all ranks, by one all-reduce."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= self.count
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view(tensor.shape))

    def gather(self, values: Tensor) -> Tensor:
        """Return the values `(n,)` of all ranks, `(count, n)`."""
        if self.count == 1:
            return values[None]
        of_all = values.new_empty(self.count * len(values))
        distributed.all_gather_into_tensor(of_all, values)
        return of_all.view(self.count, -1)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Return whether the flag is set in any rank. Waits for the device."""
        return bool(self.gather(torch.tensor([float(flag)], device=device)).any()) if self.count > 1 else flag


ALONE = Ranks()


@dataclass(frozen=True)
class Compute:
    """A device, the precision of the networks (everything else is float32), and the rank of this process."""

    device: torch.device
    precision: str
    ranks: Ranks = ALONE
    threads: int = 0  # at most, per rank on a CPU; 0: one per usable core

    def autocast(self, enabled: bool = True) -> AbstractContextManager[Any]:
        """Return the context in which the networks run."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16, enabled)

    def weights_cast_once(self) -> AbstractContextManager[Any]:
        """Return a context in which several uses of `autocast` share their cast weights; no weight may change."""
        return self.autocast(enabled=False)


def choose_compute(device: str, precision: str, parameter: str = "training.device") -> Compute:
    """Resolve `auto` to the fastest device, and to float32 until calibration; ParameterError for a missing device."""
    is_available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    present = [name for name, available in is_available.items() if available]
    name = present[0] if device == "auto" else device
    if name not in present:
        raise ParameterError(
            f"`{parameter}` must be a device of this machine (got {name!r}). Use auto, or one of: {', '.join(present)}."
        )
    return Compute(torch.device(name), "float32" if precision == "auto" else precision)


def keep_freed_memory() -> None:
    """Make glibc reuse freed memory (mallopt(3)), instead of requesting new pages for each step's activations."""
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_max = -1, -4  # from malloc.h
        library = ctypes.CDLL(None)
        library.mallopt(mmap_max, 0)
        library.mallopt(trim_threshold, 2**31 - 1)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device, without waiting for the device if that is safe."""
    # On MPS, such a copy may read memory that was freed: https://github.com/pytorch/pytorch/issues/139550.
    return staged(tensor, device).to(device, non_blocking=device.type == "cuda")


def staged(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor in pinned memory, from which it is copied to a GPU while the host continues."""
    # From other memory, a copy of more than 64 KB waits for all earlier work on the GPU:
    # https://docs.nvidia.com/cuda/cuda-runtime-api/api-sync-behavior.html
    return tensor.pin_memory() if device.type == "cuda" and tensor.device.type == "cpu" else tensor


@contextmanager
def deterministic_algorithms(enabled: bool) -> Iterator[None]:
    """Use only deterministic algorithms if `enabled`, otherwise the fastest. CPU algorithms are all deterministic."""
    if enabled:
        # cuBLAS reads this when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(enabled)
    torch.backends.cudnn.benchmark = not enabled
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
    return f"{gpu}{processor_name()}, {cores} cores, {gigabytes:.{0 if gigabytes >= 10 else 1}f} GB"


def has_bfloat16(device: str) -> bool:
    """Return whether a kind of device has hardware for bfloat16. It need not be faster than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device == "cpu" and not instruction_sets().isdisjoint(("avx512_bf16", "amx_bf16"))
