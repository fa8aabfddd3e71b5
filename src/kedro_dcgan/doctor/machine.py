"""The facts of a machine, within the limits of its container: hardware, drivers and versions. No names, no paths."""

import os
import platform
import re
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from kedro_dcgan import __version__
from kedro_dcgan.errors import in_short
from kedro_dcgan.limits import available_memory, cpu_quota, total_memory, usable_cores
from kedro_dcgan.processor import instruction_sets, processor_name
from kedro_dcgan.training.devices import has_bfloat16
from kedro_dcgan.training.threads import idle_threads

# By their names in torch, in the order in which they are listed.
_INSTRUCTIONS = {
    "avx2": "AVX2", "avx512_f": "AVX512", "avx512_vnni": "AVX512-VNNI", "avx512_bf16": "AVX512-BF16",
    "amx_bf16": "AMX-BF16", "amx_fp16": "AMX-FP16", "sve": "SVE", "sve2": "SVE2", "bf16": "BF16",
}  # fmt: skip
_PACKAGES = ("torchvision", "numpy", "kedro", "mlflow", "dvc", "torch-fidelity")


def machine_facts() -> dict[str, str]:
    """Return what this machine has, by topic, each in one line; an error is the text of its fact."""
    found = dict[str, str]()
    for topic, read in _TOPICS.items():
        try:
            fact = read()
        except Exception as error:  # A broken driver raises RuntimeErrors of any kind.
            fact = f"unknown: {in_short(error)}"
        found |= fact if isinstance(fact, dict) else {topic: fact}
    return found


def _processor() -> str:
    instructions = [name for key, name in _INSTRUCTIONS.items() if key in instruction_sets()]
    missing = "" if has_bfloat16("cpu") else ", no bfloat16"
    return f"{processor_name()}, {platform.machine()}: {', '.join(instructions) or 'no vector instructions'}{missing}"


def _cores() -> str:
    usable, present, quota = usable_cores(), os.cpu_count() or 1, cpu_quota()
    limits = []
    if hasattr(os, "sched_getaffinity") and (allowed := len(os.sched_getaffinity(0))) < present:
        limits.append(f"affinity or cpuset: {allowed}")
    if quota is not None:
        limits.append(f"CPU quota: {quota:g}")
    if threads := os.environ.get("OMP_NUM_THREADS"):
        limits.append(f"OMP_NUM_THREADS: {threads}")
    listed = f" ({', '.join(limits)})" if limits else ""
    return f"{usable} usable of {present}{listed}, {min(idle_threads(), usable)} idle now"


def _memory() -> str:
    import psutil

    total, present = total_memory(), psutil.virtual_memory().total
    limit = f" (limit of the container; the machine has {present / 1e9:.1f} GB)" if total < present else ""
    return f"{total / 1e9:.1f} GB{limit}, {available_memory() / 1e9:.1f} GB available"


def _gpus() -> dict[str, str]:
    if not torch.cuda.is_available():
        others = "Apple's GPU (MPS)" if torch.backends.mps.is_available() else f"none: {_reason_for_no_cuda()}"
        return {"GPU": others}
    found = {}
    for number in range(torch.cuda.device_count()):
        one = torch.cuda.get_device_properties(number)
        free, _ = torch.cuda.mem_get_info(number)
        found[f"GPU {number}"] = (
            f"{one.name}, {one.total_memory / 1e9:.0f} GB ({free / 1e9:.0f} GB free), compute capability "
            f"{one.major}.{one.minor}, {one.multi_processor_count} multiprocessors"
        )
    cudnn, nccl = torch.backends.cudnn.version(), torch.cuda.nccl.version() if torch.distributed.is_available() else ()
    found["drivers"] = (
        f"NVIDIA driver {_driver()}, CUDA {torch.version.cuda}, cuDNN {cudnn}, NCCL {'.'.join(map(str, nccl))}"
    )
    return found


def _reason_for_no_cuda() -> str:
    if torch.version.cuda is None:
        return "this torch is built without CUDA"
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides all"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return f"torch for CUDA {torch.version.cuda} says: {str(error).strip().splitlines()[0].partition('. ')[0]}"
    return "torch finds none"


def _driver() -> str:
    file = Path("/proc/driver/nvidia/version")
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    found = re.search(r"\b\d{3}\.\d+(\.\d+)?\b", text)
    return found.group() if found else "of unknown version"


def _shared_memory() -> dict[str, str]:
    folder = Path("/dev/shm")  # noqa: S108  (it is only measured)
    return {"shared memory": f"{shutil.disk_usage(folder).total / 1e9:.1f} GB"} if folder.is_dir() else {}


def _versions() -> str:
    found = [f"kedro-dcgan {__version__}", f"Python {platform.python_version()}", f"torch {torch.__version__}"]
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return ", ".join(found)


def _disk() -> str:
    return f"{shutil.disk_usage('.').free / 1e9:.0f} GB free here"


def _system() -> str:
    return f"{platform.system()} {platform.release()}, {' '.join(platform.libc_ver()).strip() or 'no glibc'}"


# The readers of facts. One can return several.
_TOPICS: dict[str, Callable[[], str | dict[str, str]]] = {
    "processor": _processor,
    "cores": _cores,
    "memory": _memory,
    "GPU": _gpus,
    "disk": _disk,
    "shared memory": _shared_memory,
    "system": _system,
    "versions": _versions,
}
