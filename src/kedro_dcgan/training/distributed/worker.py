"""One rank of a training: `torchrun ... -m kedro_dcgan.training.distributed.worker data/06_models/ranks/training.json`.

The first rank sends ticks and progress to the process that wrote the launch file. Ranks write nothing else.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import distributed

from kedro_dcgan.data.shards import read_prepared_images
from kedro_dcgan.errors import DcganError
from kedro_dcgan.training.checkpoints import CheckpointFolder, CheckpointHeader, TrainingStart
from kedro_dcgan.training.devices import Compute
from kedro_dcgan.training.distributed.messages import MOST_SECONDS_UNREAD, Exchange, LaunchSpec
from kedro_dcgan.training.in_process import train_in_process
from kedro_dcgan.training.loop import Tick
from kedro_dcgan.training.plan import plan_training, require_shares
from kedro_dcgan.training.ranks import Ranks

# How long ranks wait for the first one, which may be validating, or waiting until its messages are read.
_PATIENCE = timedelta(seconds=3 * MOST_SECONDS_UNREAD)


def main(file: Path) -> None:
    """Train as the rank given by torchrun's environment variables."""
    spec, exchange = LaunchSpec.read(file), Exchange(file.parent)
    if spec.parent is not None:
        threading.Thread(target=_end_with, args=(spec.parent,), daemon=True).start()
    if spec.threads:
        torch.set_num_threads(spec.threads)
    number, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        with _meeting(file.parent if spec.parent is not None else None, spec, number, count) as device:
            _train(spec, exchange, Ranks(number, count), device)
    except DcganError as error:
        if number == 0:
            exchange.send({"error": str(error)})
        raise


def _train(spec: LaunchSpec, exchange: Exchange, ranks: Ranks, device: torch.device) -> None:
    images, training = read_prepared_images(*map(Path, spec.images)), spec.parameters
    require_shares(training, ranks.count)
    plan = plan_training(images, training)
    plan = replace(plan, compute=Compute(device, plan.compute.precision, ranks, spec.threads))
    start = TrainingStart(plan, CheckpointHeader(**spec.resume_from) if spec.resume_from else None)
    stored, progress = CheckpointFolder(Path(spec.checkpoints)), _Progress(exchange, ranks.is_first)
    with train_in_process(images, stored, training, start, progress.is_asked_to_stop, progress.follow) as run:
        if ranks.is_first:
            exchange.stay_alive()
            exchange.send({"begin": run.begin, "calibration": run.calibration.as_dict()})
        # Only the first rank has ticks.
        for tick in run.ticks:
            exchange.send({"tick": _plain(tick)})
        if ranks.is_first:
            exchange.send({"end": True})


class _Progress:
    # Reports the progress of the first rank, and asks whether to stop.
    def __init__(self, exchange: Exchange, is_first: bool) -> None:
        self._exchange, self._is_first = exchange, is_first

    def follow(self, indices: Iterator[np.ndarray], done: int) -> Iterator[np.ndarray]:
        for batch in indices:
            yield batch
            done += len(batch)
            if self._is_first:
                self._exchange.report_progress(done)

    def is_asked_to_stop(self) -> bool:
        return self._is_first and self._exchange.is_asked_to_stop()


@contextmanager
def _meeting(folder: Path | None, spec: LaunchSpec, number: int, count: int) -> Iterator[torch.device]:
    # On one machine, ranks rendezvous through a file; otherwise as torchrun says.
    is_cuda = spec.parameters.device in ("auto", "cuda") and torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if is_cuda else torch.device("cpu")
    if is_cuda:
        torch.cuda.set_device(device)
    where = f"file://{folder.resolve()}/meeting" if folder else "env://"
    distributed.init_process_group(
        "nccl" if is_cuda else "gloo",
        init_method=where,
        rank=number,
        world_size=count,
        timeout=_PATIENCE,
        device_id=device if is_cuda else None,
    )
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def _plain(tick: Tick) -> dict[str, Any]:
    records = [record.as_dict() for record in tick.records]
    return {**vars(tick), "records": records, "kept": tick.kept.state_dict()}


def _end_with(parent: int) -> None:
    # Without the parent, nobody reads the ticks, or ends this process when another rank dies.
    launcher = os.getppid()
    while psutil.pid_exists(parent) and os.getppid() == launcher:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
