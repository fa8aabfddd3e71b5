"""Cgroups for tests: fake trees of files, and real cgroups where this machine allows it."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

# 0.4 GB in whole pages, which have up to 64 KiB.
LIMIT = 6102 * 65536
CORE = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
CGROUPS = Path("/sys/fs/cgroup")
V1 = {
    "cpu": {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "100000"},
    "memory": {"memory.limit_in_bytes": str(LIMIT)},
    "cpuset": {"cpuset.mems": "0", "cpuset.cpus": str(CORE)},
}
V2 = {
    "cpu": {"cpu.max": "100000 100000"},
    "memory": {"memory.max": str(LIMIT)},
    "cpuset": {"cpuset.cpus": str(CORE)},
}
_CANNOT_JOIN = 77
_JOIN = f"""
import json, os, sys
try:
    for folder in json.loads(sys.argv[1]):
        open(folder + "/cgroup.procs", "w").write(str(os.getpid()))
except OSError:
    sys.exit({_CANNOT_JOIN})
"""


def fake_tree(root, cgroup, mounts, files):
    """Write the root of a file system: mounts are `(mounted, point, type, options)`, files are in /sys/fs/cgroup."""
    lines = (
        f"{40 + n} 31 0:{n} {top} {point} rw,nosuid shared:{n} - {kind} {kind} {options}\n"
        for n, (top, point, kind, options) in enumerate(mounts)
    )
    own = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": "22 27 0:21 / /proc rw - proc proc rw\n" + "".join(lines)}
    for name, text in {**own, **{f"sys/fs/cgroup/{name}": text for name, text in files.items()}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, errors="surrogateescape")
    return root


@contextmanager
def limited_cgroups(*controllers, inside=None):
    """Create cgroups for `controllers`, with a quota of one CPU, a memory limit of `LIMIT` and a cpuset of one core.

    Yields the folders to join: those with the limits, or unlimited children named `inside`. Skips the test where no
    cgroups can be created.
    """
    folders = _create(controllers)
    if not folders:
        pytest.skip(f"no cgroups can be created here for {', '.join(controllers)}")
    inner = [folder / inside for folder in folders] if inside else []
    try:
        for folder in inner:
            folder.mkdir()
        yield inner or folders
    finally:
        for folder in inner + folders:
            _remove(folder)


def run_inside(folders, code, *arguments, before=""):
    """Run code in a Python process that has joined cgroups, with `arguments` from `sys.argv[2]` on; return its JSON.

    The code `before` joining is not charged to their memory.
    """
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", before + _JOIN + code, json.dumps(list(map(str, folders))), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if result.returncode == _CANNOT_JOIN:
        pytest.skip("the cgroups that were created cannot be joined")
    assert not result.returncode, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def _create(controllers):
    proc = Path("/proc/self/cgroup")
    lines = [line.split(":", 2) for line in proc.read_text(encoding="utf-8").splitlines()] if proc.is_file() else []
    own = {name: path.lstrip("/") for _, names, path in lines for name in names.split(",")}
    v1 = [_first([CGROUPS / name / own.get(name, ""), CGROUPS / name], V1[name]) for name in controllers]
    if all(v1):
        return v1
    for folder in filter(None, v1):
        _remove(folder)
    # In v2 one cgroup has all controllers, if they are enabled below its parent.
    mine = CGROUPS / own.get("", "")
    settings = {file: value for name in controllers for file, value in V2[name].items()}
    v2 = _first([mine.parent, CGROUPS, mine], settings) if (CGROUPS / "cgroup.controllers").is_file() else None
    return [v2] if v2 else []


def _first(parents, settings):
    for parent in parents:
        folder = parent / f"kedro-dcgan-test-{os.getpid()}"
        try:
            if not (parent / "cgroup.procs").is_file():
                continue
            folder.mkdir()
            for name, value in settings.items():
                (folder / name).write_text(value)
        except OSError:
            _remove(folder)
        else:
            return folder
    return None


def _remove(folder):
    for _ in range(50):
        if not folder.is_dir():
            return
        with suppress(OSError):
            folder.rmdir()
            return
        # A process that has just ended may still be counted.
        time.sleep(0.1)
    raise AssertionError(f"{folder} cannot be removed")
