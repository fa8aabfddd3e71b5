"""A training in several processes: starts the ranks, and yields the ticks that the first rank sends."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.errors import TrainingError
from kedro_dcgan.limits import usable_cores
from kedro_dcgan.training.checkpoints import CheckpointFolder, TrainingStart
from kedro_dcgan.training.distributed.messages import ALIVE_SECONDS, FILE, Exchange, LaunchSpec
from kedro_dcgan.training.fast.execution import Calibration
from kedro_dcgan.training.in_process import RunningTraining
from kedro_dcgan.training.loop import Tick
from kedro_dcgan.training.records import KeptGenerator, TickRecord

logger = logging.getLogger(__name__)

LOG = "log.txt"
_WORKER = "kedro_dcgan.training.distributed.worker"
_SECONDS_TO_END = 20


@contextmanager
def train_in_processes(
    images: PreparedImages,
    stored: CheckpointFolder,
    training: TrainingParameters,
    start: TrainingStart,
    is_asked_to_stop: Callable[[], bool],
    show_progress: Callable[[int], None],
) -> Iterator[RunningTraining]:
    """Train in `training.devices` processes of this machine, or in those that the user starts.

    Raises:
        TrainingError: what the first rank says, or that a rank has died.
    """
    with _folder(stored.root.with_name("ranks")) as folder:
        exchange = Exchange(folder)
        with _ranks(_spec(images, stored, training, start).write(folder), training) as require_alive:

            def wait() -> None:
                if is_asked_to_stop():
                    exchange.ask_to_stop()
                show_progress(exchange.progress())
                require_alive(exchange)

            messages = _without_faults(exchange.messages(wait), training, folder)
            first = next(messages)
            calibration = Calibration(**first["calibration"])
            yield RunningTraining(first["begin"], calibration, (_tick(**message["tick"]) for message in messages))


def _spec(
    images: PreparedImages, stored: CheckpointFolder, training: TrainingParameters, start: TrainingStart
) -> LaunchSpec:
    if images.place is None:
        raise TrainingError("`images` must be on disk for other processes (they are not). Set `training.devices` to 1.")
    count = training.devices
    parent, threads = (os.getpid(), _threads(training)) if isinstance(count, int) else (None, 0)
    resume_from = asdict(start.resume_from) if start.resume_from else None
    return LaunchSpec(images.place, str(stored.root), resume_from, training.model_dump(mode="json"), parent, threads)


def _threads(training: TrainingParameters) -> int:
    # Ranks share the cores.
    devices = training.devices if isinstance(training.devices, int) else 1
    return training.threads if isinstance(training.threads, int) else max(1, usable_cores() // devices)


@contextmanager
def _folder(folder: Path) -> Iterator[Path]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        # No later rank may find the launch file. After an error, the folder stays, with the log.
        (folder / FILE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _ranks(file: Path, training: TrainingParameters) -> Iterator[Callable[[Exchange], None]]:
    # Yields a function that checks that the ranks are alive.
    if isinstance(training.devices, str):
        logger.info("  waits for: torchrun --nnodes=… --nproc-per-node=… -m %s %s", _WORKER, file)
        yield _Heartbeat().require
        return
    command = [sys.executable, "-m", "kedro_dcgan.training.distributed.launcher", str(file), str(training.devices)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(_threads(training))}
    with (file.parent / LOG).open("w") as log:
        # A session of its own, because Ctrl-C goes to this process, which asks the ranks to stop.
        child = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)  # noqa: S603  (our own module)

    def require(exchange: Exchange) -> None:
        if child.poll() is not None and not exchange.has_messages():
            raise TrainingError(f"the launcher must live as long as training does (it died). {_see(file.parent)}")

    try:
        yield require
        _wait_for(child)
    finally:
        _end(child)


class _Heartbeat:
    def __init__(self) -> None:
        self._last, self._since = 0.0, time.monotonic()

    def require(self, exchange: Exchange) -> None:
        now = exchange.last_alive()
        if now != self._last:
            self._last, self._since = now, time.monotonic()
        silence = time.monotonic() - self._since
        if self._last and silence > 12 * ALIVE_SECONDS:
            raise TrainingError(
                f"the first rank must live as long as training does (no heartbeat for {silence:.0f} s). "
                "Look at the output of torchrun. The same commands resume from the last checkpoint."
            )


def _end(child: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is None:
            os.killpg(child.pid, number)
            _wait_for(child)


def _wait_for(child: "subprocess.Popen[bytes]") -> None:
    with suppress(subprocess.TimeoutExpired):
        child.wait(_SECONDS_TO_END)


def _without_faults(
    messages: Iterator[dict[str, Any]], training: TrainingParameters, folder: Path
) -> Iterator[dict[str, Any]]:
    for message in messages:
        match message:
            case {"end": True}:
                return
            case {"error": text}:
                raise TrainingError(text)
            case {"died": number, "how": how}:
                raise TrainingError(
                    f"all of `training.devices` {training.devices} ranks must live as long as training does (rank "
                    f"{number} died: {how}). {_see(folder)}"
                )
        yield message


def _see(folder: Path) -> str:
    return f"The same command resumes from the last checkpoint; their output is in {folder / LOG}."


def _tick(records: list[dict[str, Any]], kept: dict[str, Any], **values: Any) -> Tick:
    return Tick(records=tuple(TickRecord(**record) for record in records), kept=KeptGenerator(**kept), **values)
