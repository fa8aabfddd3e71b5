"""CPU and memory limits of this process: CPU affinity, and the cgroup (v1 or v2) of a container or a service.

A cgroup's limit also applies to its descendants, so the effective limit is the smallest one of this process's cgroup
and its ancestors. A missing or unreadable file sets no limit; outside Linux there are no limits. File formats:
https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/admin-guide/cgroup-v1/memory.html,
https://docs.kernel.org/scheduler/sched-bwc.html (v1 CPU quota), cgroups(7), proc_pid_mountinfo(5).

psutil reads no limits; loky reads only the CPU quota of the root cgroup.
"""

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# Tests replace the root of the file system.
_ROOT = Path("/")
# In v1, "no limit" is the largest number of whole pages, just under 2^63 bytes.
_UNLIMITED = 2**60
# 36 35 0:32 /cgroup /mount/point options and tags - type source super,options
_MOUNT = re.compile(r"^\S+ \S+ \S+ (\S+) (\S+) .* - (\S+) \S+ (\S+)$", re.MULTILINE)


def usable_cores() -> int:
    """Return the number of usable cores: the affinity or the CPU quota rounded up, whichever is smaller."""
    # The kernel restricts the affinity to the cpuset of the cgroup.
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return affinity if quota is None else min(affinity, math.ceil(quota))


def cpu_quota() -> float | None:
    """Return the CPU quota in cores (CPU seconds per second, more than 0), or None without one."""
    quotas = []
    for cgroup in _cgroups("cpu"):
        # "max 100000" or "50000 100000" in v2; "-1" and "100000" in two files in v1: microseconds of each period.
        v1 = " ".join(_read(cgroup / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
        match [_number(text) for text in (_read(cgroup / "cpu.max") or v1).split()]:
            case [int(quota), int(period)] if quota and period:
                quotas.append(quota / period)
    return min(quotas, default=None)


def total_memory() -> int:
    """Return the memory of the machine or the memory limit in bytes, whichever is smaller."""
    import psutil  # Not installed where a generator is served, which only needs usable_cores().

    return min([psutil.virtual_memory().total, *(limit for limit, _ in _limited_memory())])


def available_memory() -> int:
    """Return the bytes that this process can still allocate: limit - usage + page cache, at most the machine's."""
    import psutil

    return min([psutil.virtual_memory().available, *(available for _, available in _limited_memory())])


def _limited_memory() -> Iterator[tuple[int, int]]:
    """Yield the limit and the available memory, in bytes, of each cgroup with a limit."""
    for cgroup in _cgroups("memory"):
        # Above memory.high, the kernel throttles a process almost to a halt, so it is a limit, too.
        numbers = [_number(_read(cgroup / name)) for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
        limits = [number for number in numbers if number is not None and number < _UNLIMITED]
        if not limits:
            continue

        # The kernel drops cached file pages, inactive and then active ones, before it refuses memory. (MemAvailable in
        # /proc/meminfo also counts both; neither includes tmpfs and shared memory.) In v1, names without `total_`
        # exclude the descendants; v2 has only names without it, which include them.
        usage = _number(_read(cgroup / "memory.current") or _read(cgroup / "memory.usage_in_bytes")) or 0
        stat: dict[str, str] = dict(re.findall(r"^(\w+) (\d+)$", _read(cgroup / "memory.stat"), re.MULTILINE))
        cache = sum(int(stat.get(f"total_{name}", stat.get(name, "0"))) for name in ("inactive_file", "active_file"))
        yield min(limits), max(0, min(limits) - usage + min(usage, cache))


def _cgroups(controller: str) -> Iterator[Path]:
    """Yield the folders of this process's cgroup and its ancestors for a controller; hybrid hosts have v1 and v2."""
    lines = re.findall(r"^\d+:([^:]*):(.+)$", _read(_ROOT / "proc/self/cgroup"), re.MULTILINE)
    cgroup_of = {name: PurePosixPath(path) for names, path in lines for name in names.split(",")}
    # The line without a controller name is v2.
    for kind, name in (("cgroup", controller), ("cgroup2", "")):
        if name not in cgroup_of:
            continue

        # Find where a cgroup of the hierarchy is mounted. Of several mounts at one point, the last one is visible.
        mounts = {}
        for *paths, mount_kind, options in _MOUNT.findall(_read(_ROOT / "proc/self/mountinfo")):
            # The super options of a v1 mount name its controllers.
            if mount_kind == kind and (not name or name in options.split(",")):
                # The kernel writes a space as \040.
                mounted, point = (re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), path) for path in paths)
                mounts[_ROOT / point.lstrip("/")] = PurePosixPath(mounted)

        # The path of a process outside the cgroup namespace contains "..".
        cgroup = cgroup_of[name]
        inside = [
            (point, cgroup.relative_to(mounted))
            for point, mounted in mounts.items()
            if cgroup.is_relative_to(mounted) and ".." not in cgroup.parts
        ]
        # Without a cgroup namespace, a container can see a path of the host that is not mounted in it. Then the mount
        # is the container's own cgroup.
        outside = [(point, PurePosixPath()) for point in mounts]
        for mount_point, below in (inside or outside)[:1]:
            yield from (mount_point / folder for folder in (below, *below.parents))


def _number(text: str) -> int | None:
    # "max" and "-1" mean no limit.
    return int(text) if re.fullmatch("[0-9]{1,20}", text) else None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except OSError:
        return ""
