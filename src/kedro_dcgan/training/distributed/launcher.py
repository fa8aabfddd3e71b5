"""Starts the ranks of a training on this machine with PyTorch's elastic launcher, and reports the one that died.

Nothing listens beyond localhost: ranks and launcher rendezvous through files and communicate over the loopback
interface.
"""

import os
import signal
import sys
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from kedro_dcgan.training.distributed.messages import Exchange


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
        elastic_launch(config, sys.executable)("-m", "kedro_dcgan.training.distributed.worker", str(file))
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        Exchange(folder).send({"died": number, "how": _how(failure.exitcode)})
        return 1
    return 0


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
