"""One rank of a training: `torchrun ... -m kedro_dcgan.training.distributed.worker data/06_models/ranks/training.json`.

The first rank sends ticks and progress to the process that wrote the launch file. Ranks write nothing else.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import distributed

from kedro_dcgan.data.shard_files import read_prepared_images
from kedro_dcgan.errors import DcganError
from kedro_dcgan.training.checkpoints import CheckpointFolder, CheckpointHeader, TrainingStart
from kedro_dcgan.training.devices import Compute, Ranks
from kedro_dcgan.training.distributed.messages import MOST_SECONDS_UNREAD, Exchange, LaunchSpec
from kedro_dcgan.training.in_process import train_in_process
from kedro_dcgan.training.plan import plan_training, require_shares

# How long ranks wait for the first one, which may be validating, or waiting until its messages are read.
_PATIENCE = timedelta(seconds=3 * MOST_SECONDS_UNREAD)


def main(file: Path) -> None:
    """Train as the rank given by torchrun's environment variables."""
    spec, exchange = LaunchSpec.read(file), Exchange(file.parent)
    if spec.parent is not None:
        threading.Thread(target=_exit_with, args=(spec.parent,), daemon=True).start()
    if spec.threads:
        torch.set_num_threads(spec.threads)

    # Join the other ranks: on one machine through a file, otherwise as torchrun says.
    ranks = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    is_cuda = spec.training.device in ("auto", "cuda") and torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if is_cuda else torch.device("cpu")
    if is_cuda:
        torch.cuda.set_device(device)
    distributed.init_process_group(
        "nccl" if is_cuda else "gloo",
        init_method="env://" if spec.parent is None else f"file://{file.parent.resolve()}/meeting",
        rank=ranks.number,
        world_size=ranks.count,
        timeout=_PATIENCE,
        device_id=device if is_cuda else None,
    )
    try:
        _train(spec, exchange, ranks, device)
    except DcganError as error:
        if ranks.is_first:
            exchange.send({"error": str(error)})
        raise
    finally:
        distributed.destroy_process_group()


def _train(spec: LaunchSpec, exchange: Exchange, ranks: Ranks, device: torch.device) -> None:
    images, training = read_prepared_images(*map(Path, spec.images)), spec.training
    require_shares(training, ranks.count)
    plan = plan_training(images, training)
    plan = replace(plan, compute=Compute(device, plan.compute.precision, ranks, spec.threads))
    start = TrainingStart(plan, training, CheckpointHeader(**spec.resume_from) if spec.resume_from else None)
    stored = CheckpointFolder(Path(spec.checkpoints))

    def follow(indices: Iterator[np.ndarray], done: int) -> Iterator[np.ndarray]:
        for batch in indices:
            yield batch
            done += len(batch)
            if ranks.is_first:
                exchange.report_progress(done)

    should_stop = exchange.stop.exists if ranks.is_first else lambda: False
    with train_in_process(images, stored, start, should_stop, follow) as run:
        if ranks.is_first:
            exchange.stay_alive()
            exchange.send({field.name: getattr(run, field.name) for field in fields(run) if field.name != "ticks"})
        # Only the first rank has ticks.
        for tick in run.ticks:
            exchange.send({"tick": tick})
        if ranks.is_first:
            exchange.send({"end": True})


def _exit_with(parent: int) -> None:
    """Exit when the parent or the launcher exits: no other process would read the ticks or stop this one."""
    launcher = os.getppid()
    while psutil.pid_exists(parent) and os.getppid() == launcher:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
