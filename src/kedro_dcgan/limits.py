"""CPU and memory limits of this process: CPU affinity, and the cgroup (v1 or v2) of a container or a service.

A limit of a cgroup also applies to its descendants, so the smallest limit of this process's cgroup and its ancestors
counts. A missing or unreadable file sets no limit; outside Linux there are no limits. File formats:
https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/admin-guide/cgroup-v1/memory.html,
https://docs.kernel.org/scheduler/sched-bwc.html (v1 CPU quota), cgroups(7), proc_pid_mountinfo(5).

Tests set `root`, the root of the file system.
"""

import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

_Number = TypeVar("_Number", int, float)
_ROOT = Path("/")
# In v1, "no limit" is the largest number of whole pages, just under 2^63 bytes.
_UNLIMITED = 2**60


def usable_cores(root: Path = _ROOT) -> int:
    """Return the number of usable cores: the affinity or the CPU quota rounded up, whichever is smaller."""
    # The kernel restricts the affinity to the cpuset of the cgroup.
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return affinity if quota is None else min(affinity, math.ceil(quota))


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Return the CPU quota in cores (CPU seconds per second, more than 0), or None without one."""
    return _smallest(_quota_of(cgroup) for cgroup in _cgroups("cpu", root))


def memory_limit(root: Path = _ROOT) -> int | None:
    """Return the memory limit in bytes, or None without one."""
    return _smallest(_limit_of(cgroup) for cgroup in _cgroups("memory", root))


def total_memory(root: Path = _ROOT) -> int:
    """Return the memory of the machine or the memory limit in bytes, whichever is smaller."""
    limit, total = memory_limit(root), _machine_memory("total")
    return total if limit is None else min(total, limit)


def available_memory(root: Path = _ROOT) -> int:
    """Return the bytes that this process can still allocate: limit - usage + page cache, at most the machine's."""
    available = _smallest(_available_of(cgroup) for cgroup in _cgroups("memory", root))
    of_machine = _machine_memory("available")
    return of_machine if available is None else min(of_machine, available)


def _machine_memory(kind: Literal["total", "available"]) -> int:
    import psutil  # Not installed where a generator is served, which only needs usable_cores().

    return int(getattr(psutil.virtual_memory(), kind))


def _quota_of(cgroup: Path) -> float | None:
    # "max 100000" or "50000 100000" in v2; "-1" and "100000" in two files in v1: microseconds of each period.
    v1 = " ".join(_read(cgroup / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
    numbers = [_number(text) for text in (_read(cgroup / "cpu.max") or v1).split()]
    match numbers:
        case [int(quota), int(period)] if quota and period:
            return quota / period
    return None


def _limit_of(cgroup: Path) -> int | None:
    # Above memory.high, the kernel throttles a process almost to a halt, so it is a limit, too.
    limits = (_number(_read(cgroup / name)) for name in ("memory.max", "memory.high", "memory.limit_in_bytes"))
    return _smallest(limit for limit in limits if limit is not None and limit < _UNLIMITED)


def _available_of(cgroup: Path) -> int | None:
    limit = _limit_of(cgroup)
    if limit is None:
        return None
    usage = _number(_read(cgroup / "memory.current") or _read(cgroup / "memory.usage_in_bytes")) or 0
    return max(0, limit - usage + min(usage, _page_cache_of(cgroup)))


def _page_cache_of(cgroup: Path) -> int:
    # The kernel drops cached file pages, inactive and then active ones, before it refuses memory. (MemAvailable in
    # /proc/meminfo also counts both; neither includes tmpfs and shared memory.)
    lines = (line.partition(" ") for line in _read(cgroup / "memory.stat").splitlines())
    stat = {name: _number(value) or 0 for name, _, value in lines}
    # In v1, names without `total_` exclude the descendants; v2 has only names without it, which include them.
    return sum(stat.get(f"total_{name}", stat.get(name, 0)) for name in ("inactive_file", "active_file"))


def _cgroups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of this process's cgroup and its ancestors for a controller, in v1 and v2.

    A hybrid host has both versions; only one of them has files for the controller.
    """
    lines = (line.split(":", 2) for line in _read(root / "proc/self/cgroup").splitlines())
    own = {name: line[2] for line in lines if len(line) == 3 for name in line[1].split(",")}
    # The line without a controller name is v2.
    for kind, name in (("cgroup", controller), ("cgroup2", "")):
        if name in own:
            yield from _own_folders(_mounts(kind, name, root), PurePosixPath(own[name]))


def _own_folders(mounts: dict[Path, PurePosixPath], own: PurePosixPath) -> Iterator[Path]:
    for point, mounted in mounts.items():
        # The path of a process outside the cgroup namespace contains "..".
        if own.is_relative_to(mounted) and ".." not in own.parts:
            below = own.relative_to(mounted)
            yield from (point / folder for folder in (below, *below.parents))
            return
    # Without a cgroup namespace, a container can see a path of the host that is not mounted in it. Then the mount is
    # the container's own cgroup.
    yield from list(mounts)[:1]


def _mounts(kind: str, controller: str, root: Path) -> dict[Path, PurePosixPath]:
    """Return the mount points of a hierarchy, each with the cgroup mounted there."""
    found = {}
    for line in _read(root / "proc/self/mountinfo").splitlines():
        # 36 35 0:32 /cgroup /mount/point options and tags - type source super,options
        match line.split():
            case [_, _, _, mounted, point, *_, "-", type_, _, options] if type_ == kind:
                # The super options of a v1 mount name its controllers.
                if kind == "cgroup2" or controller in options.split(","):
                    found[root / _unescaped(point).lstrip("/")] = PurePosixPath(_unescaped(mounted))
    return found


def _unescaped(text: str) -> str:
    # The kernel writes a space as \040.
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _smallest(values: Iterable[_Number | None]) -> _Number | None:
    return min((value for value in values if value is not None), default=None)


def _number(text: str) -> int | None:
    # "max" and "-1" mean no limit.
    return int(text) if re.fullmatch("[0-9]{1,20}", text) else None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except OSError:
        return ""
