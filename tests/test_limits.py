"""Limits read from fake cgroup files, and their effects. (test_limits_in_cgroups.py uses real cgroups.)"""

import os
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import psutil
import pytest
import torch
import yaml
from cgroups import fake_tree
from networks import discriminator_config, generator_config

from kedro_dcgan import limits
from kedro_dcgan.config import IngestionParameters, PreprocessingParameters
from kedro_dcgan.errors import ParameterError
from kedro_dcgan.pipelines.ingestion.nodes import scan_images
from kedro_dcgan.training.costs import require_memory
from kedro_dcgan.training.devices import hardware_of
from kedro_dcgan.training.threads import most_threads

CONF = Path(__file__).parents[1] / "conf/base"

CORES, TOTAL, FREE = 8, 25_000_000_000, 24_000_000_000
NONE = (None, None, FREE)
V2 = [("/", "/sys/fs/cgroup", "cgroup2", "rw,nsdelegate")]
V1 = [
    ("/", "/sys/fs/cgroup/systemd", "cgroup", "rw,name=systemd"),
    ("/", "/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct"),
    ("/", "/sys/fs/cgroup/memory", "cgroup", "rw,memory"),
]
HYBRID = [*V1, ("/", "/sys/fs/cgroup/unified", "cgroup2", "rw")]
IN_V1 = "5:cpu,cpuacct:{0}\n4:memory:{0}\n1:name=systemd:{0}\n"
HUGE = "9223372036854771712\n"
STAT = "anon 1000000\ninactive_file 60000000\nactive_file 40000000\n"


def v2_files(folder, cpu="50000 100000\n", maximum="400000000\n", **files):
    memory = {"memory.max": maximum, "memory.high": "max\n", "memory.current": "150000000\n", "memory.stat": STAT}
    return {f"{folder}{name}": text for name, text in {"cpu.max": cpu, **memory, **files}.items()}


def v1_files(folder, quota="150000\n", limit="400000000\n"):
    cpu = {"cpu.cfs_quota_us": quota, "cpu.cfs_period_us": "100000\n"}
    # Names without `total_` exclude the descendants.
    stat = STAT + "total_inactive_file 70000000\ntotal_active_file 50000000\n"
    memory = {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": "150000000\n", "memory.stat": stat}
    in_cpu = {f"cpu,cpuacct/{folder}{name}": text for name, text in cpu.items()}
    return in_cpu | {f"memory/{folder}{name}": text for name, text in memory.items()}


def at(folder, mounts):
    return [(folder, *mount[1:]) for mount in mounts]


V2_FOUND, V1_FOUND = (0.5, 400_000_000, 350_000_000), (1.5, 400_000_000, 370_000_000)
TREES = {
    "v2, in a namespace": ("0::/\n", V2, v2_files(""), V2_FOUND),
    "v2, a service": ("0::/system.slice/a.service\n", V2, v2_files("system.slice/a.service/"), V2_FOUND),
    "v2, limited by an ancestor": (
        "0::/pod/a/b\n", V2, v2_files("pod/") | v2_files("pod/a/b/", "max 100000", "max"), V2_FOUND
    ),
    "v2, unlimited": ("0::/a\n", V2, v2_files("a/", "max 100000\n", "max\n"), NONE),
    "v2, throttled": (
        "0::/\n", V2, v2_files("", maximum="max", **{"memory.high": "300000000"}), (0.5, 300_000_000, 250_000_000)
    ),
    "v2, over the limit": ("0::/\n", V2, v2_files("", maximum="40000000"), (0.5, 40_000_000, 0)),
    "v2, host path in a container": ("0::/docker/abc\n", at("/docker/abc", V2), v2_files(""), V2_FOUND),
    "v2, outside the namespace": ("0::/../b\n", V2, v2_files("") | v2_files("../b/", "10000 100000"), V2_FOUND),
    "v1": (IN_V1.format("/a/b"), V1, v1_files("a/b/"), V1_FOUND),
    "v1, limited by an ancestor": (IN_V1.format("/a/b"), V1, v1_files("a/") | v1_files("a/b/", "-1", HUGE), V1_FOUND),
    "v1, unlimited": (IN_V1.format("/a"), V1, v1_files("a/", "-1\n", HUGE), NONE),
    "v1, Docker": (IN_V1.format("/docker/abc"), at("/docker/abc", V1), v1_files(""), V1_FOUND),
    "v1, a child in Docker": (
        IN_V1.format("/docker/abc/b"), at("/docker/abc", V1), v1_files("", "-1", HUGE) | v1_files("b/"), V1_FOUND
    ),
    "v1, path is not mounted": (IN_V1.format("/docker/abc"), V1, v1_files(""), V1_FOUND),
    "hybrid": (IN_V1.format("/a") + "0::/a\n", HYBRID, v1_files("a/") | {"unified/a/cgroup.procs": ""}, V1_FOUND),
    "hybrid, CPU in v2": (
        "4:memory:/a\n0::/a\n", HYBRID[2:], v1_files("a/") | {"unified/a/cpu.max": "200000 50000"}, (4.0, *V1_FOUND[1:])
    ),
    "spaces in paths": (
        "0::/a pod/a\n", [(r"/a\040pod", r"/sys/fs/cgroup/a\040b", "cgroup2", "rw")], v2_files("a b/a/"), V2_FOUND
    ),
    "garbage in files": ("0::/\n", V2, v2_files("", "half a core\udcff", "much", **{"memory.high": "-7"}), NONE),
    "an empty quota": ("0::/\n", V2, v2_files("", "0 0", "max"), NONE),
    "garbage in /proc": ("what\n::\n0\n\udcff", [("-", "-", "cgroup2", "-")], v2_files(""), NONE),
    "no files": ("0::/\n", V2, {}, NONE),
    "no usage": ("0::/\n", V2, {"memory.max": "400000000"}, (None, 400_000_000, 400_000_000)),
}  # fmt: skip


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """A machine of 8 cores and 25 GB, whose file system has its root in `tmp_path`."""
    monkeypatch.setattr(limits, "_ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(CORES)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: CORES)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=TOTAL, available=FREE))


@pytest.mark.parametrize("name", TREES)
def test_smallest_limit_of_the_cgroup_and_its_ancestors_applies(tmp_path, name):
    cgroup, mounts, files, (quota, limit, available) = TREES[name]
    fake_tree(tmp_path, cgroup, mounts, files)
    assert limits.cpu_quota() == quota
    assert limits.available_memory() == available
    assert limits.total_memory() == (limit or TOTAL)


@pytest.mark.parametrize(("quota", "cores"), [("10000", 1), ("100000", 1), ("100001", 2), ("300000", 3), ("900000", 8)])
def test_quota_is_rounded_up_and_capped_at_the_affinity(tmp_path, quota, cores):
    fake_tree(tmp_path, "0::/\n", V2, {"cpu.max": f"{quota} 100000\n"})
    assert limits.usable_cores() == cores


def test_without_proc_there_are_no_limits():
    assert limits.cpu_quota() is None
    assert limits.usable_cores() == CORES
    assert (limits.total_memory(), limits.available_memory()) == (TOTAL, FREE)


def test_limit_above_the_machine_is_capped(tmp_path):
    fake_tree(tmp_path, "0::/\n", V2, {"memory.max": str(2 * TOTAL), "memory.current": "0"})
    assert (limits.total_memory(), limits.available_memory()) == (TOTAL, FREE)


@pytest.fixture
def container(tmp_path):
    """A container with one CPU and 0.4 GB."""
    fake_tree(tmp_path, "0::/\n", V2, v2_files("", "100000 100000"))


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def memory_error_of_simpsons200():
    """Return the error for networks that need 10 GB."""
    networks = generator_config("simpsons200", 200, 3, 100, 32), discriminator_config("simpsons200", 200, 3, 32)
    with pytest.raises(ParameterError) as caught:
        require_memory(*networks, 16, torch.device("cpu"))
    return str(caught.value)


def auto_workers():
    """Return the number of workers of ingestion for `auto`."""
    parameters = {}
    for name in ("ingestion", "preprocessing"):
        parameters |= yaml.safe_load((CONF / f"parameters_{name}.yml").read_text())
    ingestion = IngestionParameters(**{**parameters["ingestion"], "workers": "auto"})
    source = SimpleNamespace(count=0, blocks=list)
    sources = SimpleNamespace(open=lambda name, limits: source)
    with patch("kedro_dcgan.pipelines.ingestion.nodes.map_in_order", return_value=iter([])) as map_in_order:
        list(scan_images(sources, ingestion, PreprocessingParameters(**parameters["preprocessing"])).run([], 0))
    return map_in_order.call_args.args[2]


@pytest.mark.usefixtures("container")
def test_networks_too_large_for_the_container_are_rejected_in_one_line():
    error = memory_error_of_simpsons200()
    assert "(got 0.3 GB free)" in error
    assert "\n" not in error


@pytest.mark.usefixtures("container")
def test_quota_of_one_cpu_gives_one_ingestion_worker():
    assert auto_workers() == 1


@pytest.mark.usefixtures("container", "two_threads")
def test_hardware_and_threads_respect_the_container():
    hardware = hardware_of(torch.device("cpu"))
    assert most_threads() == 1
    assert hardware.endswith("1 of 8 cores, 0.4 GB")


@pytest.mark.usefixtures("container", "two_threads")
def test_served_generator_respects_the_container():
    from kedro_dcgan.tracking.model import GeneratorModel

    with patch("kedro_dcgan.tracking.model.read_generator"):
        model = GeneratorModel()
        model.load_context(SimpleNamespace(artifacts={"generator": "."}))
    assert model._workers == 1
