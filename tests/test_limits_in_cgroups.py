"""Limits in real cgroups, of the version that this machine has; skipped if none can be created."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from cgroups import CGROUPS, LIMIT, limited_cgroups, run_inside

from kedro_dcgan import limits

pytestmark = pytest.mark.slow

READ = "import os; from kedro_dcgan.limits import *\n"
NAMES = ("usable_cores", "cpu_quota", "total_memory", "available_memory")
SHOW = f"{READ}print(json.dumps([{', '.join(f'{name}()' for name in NAMES)}, len(os.sched_getaffinity(0))]))"
MEGABYTE = 1_000_000


@pytest.mark.parametrize("inside", [None, "a"], ids=["own", "of an ancestor"])
def test_quota_and_memory_limit(inside):
    with limited_cgroups("cpu", "memory", inside=inside) as folders:
        cores, quota, total, available, affinity = run_inside(folders, SHOW)
    assert (cores, quota, total) == (1, 1.0, LIMIT)
    assert LIMIT - 100 * MEGABYTE < available < LIMIT
    assert affinity == len(os.sched_getaffinity(0))


def test_cpuset_restricts_the_affinity():
    with limited_cgroups("cpuset") as folders:
        cores, quota, total, *_ = run_inside(folders, SHOW)
    assert (cores, quota, total) == (1, limits.cpu_quota(), limits.total_memory())


USE = f"""{READ}
before = available_memory()
memory = b"x" * 200_000_000
print(json.dumps(before - available_memory()))
"""
CACHE = f"""{READ}
def usage():
    return total_memory() - available_memory()
before = usage()
with open(sys.argv[2], "wb") as file:
    for _ in range(20):
        file.write(os.urandom(10_000_000))
    os.fsync(file.fileno())
# A second read makes the pages active.
for _ in range(3):
    with open(sys.argv[2], "rb") as file:
        while file.read(10_000_000):
            pass
cached = usage() - before
memory = b"x" * 300_000_000
print(json.dumps([cached, len(memory)]))
"""


def test_used_memory_is_not_available():
    with limited_cgroups("memory") as folders:
        assert run_inside(folders, USE) == pytest.approx(200 * MEGABYTE, abs=20 * MEGABYTE)


def test_page_cache_is_available(tmp_path):
    if file_system(tmp_path) in ("tmpfs", "ramfs"):
        pytest.skip("files in the temporary folder are not in the page cache")
    with limited_cgroups("memory") as folders:
        cached, allocated = run_inside(folders, CACHE, tmp_path / "file")
    assert cached < 30 * MEGABYTE
    # The kernel has dropped the 200 MB of cache.
    assert allocated == 300 * MEGABYTE


def file_system(folder):
    return subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True).stdout.strip()


BIND = """
script = 'mount --bind "$1" "$2" && exec "$3" -c "$4"'
os.execvp("unshare", ["unshare", "--mount", "sh", "-c", script, "sh", *sys.argv[2:]])
"""


def test_container_without_a_cgroup_namespace():
    # As Docker mounts v1: the container's cgroup is the mount point, but /proc/self/cgroup has the host's path.
    if not (CGROUPS / "memory").is_dir() or not can_unshare():
        pytest.skip("no memory controller of v1, or no permission to mount")
    with limited_cgroups("memory", inside="a") as [folder]:
        (folder / "memory.limit_in_bytes").write_text(str(LIMIT // 2))
        show = [sys.executable, f"import json\n{SHOW}"]
        _, _, total, *_ = run_inside([folder], BIND, folder.parent, CGROUPS / "memory", *show)
    assert total == LIMIT // 2


def can_unshare():
    return shutil.which("unshare") and not subprocess.run(["unshare", "--mount", "true"], check=False).returncode


IMPORTS = """
import torch
from test_limits import auto_workers, memory_error_of_simpsons200
from kedro_dcgan.training.devices import hardware_of
from kedro_dcgan.training.threads import most_threads
"""
CONSUMERS = """
hardware = hardware_of(torch.device("cpu"))
print(json.dumps([auto_workers(), most_threads(), hardware, memory_error_of_simpsons200()]))
"""


def test_workers_threads_and_memory_check_respect_a_container():
    with limited_cgroups("cpu", "memory") as folders:
        workers, threads, hardware, error = run_inside(folders, CONSUMERS, before=IMPORTS)
    assert (workers, threads) == (1, 1)
    cores = f"1 of {os.cpu_count()}" if os.cpu_count() > 1 else "1"
    assert hardware.endswith(f", {cores} cores, 0.4 GB")
    assert float(re.search(r"got (\d\.\d) GB free", error)[1]) < 0.4
    assert "\n" not in error
