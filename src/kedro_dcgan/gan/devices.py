"""Which device and which precision a training runs on, decided once and before it starts."""

from dataclasses import dataclass

import torch

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


def choose_compute(device: str, precision: str) -> Compute:
    """Resolve `auto`: the fastest device that is there, and bfloat16 where its hardware has it.

    Raises:
        ParameterError: if a device is asked for by name and is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = next(name for name, present in there.items() if present)
    if not there[device]:
        present = ", ".join(name for name, is_there in there.items() if is_there)
        raise ParameterError(
            f"`training.device` must be a device of this machine (got {device!r}). Use auto, or one of: {present}."
        )
    if precision == "auto":
        precision = "bfloat16" if _has_bfloat16(device) else "float32"
    return Compute(torch.device(device), precision)


def _has_bfloat16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities() if device == "cpu" and hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
