"""Starts the ranks of a training on this machine with PyTorch's elastic launcher, and reports the one that died.

The launcher is a process of its own, and imports little, so that it starts quickly. Ranks rendezvous through files and
communicate over the loopback interface: nothing listens beyond localhost.
"""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from kedro_dcgan.training.distributed.messages import Exchange

logger = logging.getLogger(__name__)

LOG = "log.txt"
_WORKER = "kedro_dcgan.training.distributed.worker"
_SECONDS_TO_END = 20


@contextmanager
def launched(file: Path, devices: int | str, threads: int) -> Iterator["subprocess.Popen[bytes] | None"]:
    """Run the ranks of the training that a file describes, and yield their launcher; None if the user starts them."""
    if isinstance(devices, str):
        logger.info("  waits for: torchrun --nnodes=… --nproc-per-node=… -m %s %s", _WORKER, file)
        yield None
        return
    command = [sys.executable, "-m", "kedro_dcgan.training.distributed.launcher", str(file), str(devices)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with (file.parent / LOG).open("w") as log:
        # A session of its own, because Ctrl-C goes to this process, which asks the ranks to stop.
        launcher = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)  # noqa: S603  (our own module)
    try:
        yield launcher
        with suppress(subprocess.TimeoutExpired):
            launcher.wait(_SECONDS_TO_END)
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if launcher.poll() is None:
                os.killpg(launcher.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    launcher.wait(_SECONDS_TO_END)


def main(file: Path, count: int) -> int:
    """Run `count` ranks of the training that a file describes; return an exit code."""
    for library in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo")
    # Otherwise its store would listen on all interfaces. The ranks use a file.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    folder = file.parent
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=folder.name,
        rdzv_backend="c10d",
        rdzv_endpoint=str(folder.resolve() / "rendezvous"),
        rdzv_configs={"store_type": "file"},
        max_restarts=0,
        monitor_interval=0.2,
    )
    try:
        elastic_launch(config, sys.executable)("-m", _WORKER, str(file))
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        code = failure.exitcode
        Exchange(folder).send({"died": number, "how": signal.Signals(-code).name if code < 0 else f"exit code {code}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
