"""A training in several processes: starts the ranks, and yields the ticks that the first rank sends."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.errors import TrainingError
from kedro_dcgan.limits import usable_cores
from kedro_dcgan.training.checkpoints import CheckpointFolder, TrainingStart
from kedro_dcgan.training.distributed.launcher import LOG, launched
from kedro_dcgan.training.distributed.messages import ALIVE_SECONDS, FILE, Exchange, LaunchSpec
from kedro_dcgan.training.fast.execution import Calibration
from kedro_dcgan.training.in_process import RunningTraining
from kedro_dcgan.training.loop import Tick
from kedro_dcgan.training.state import KeptGenerator, TickRecord

# The first rank sends these, and a heartbeat every few seconds.
_CLASSES = (Calibration, Tick, TickRecord, KeptGenerator)
_MOST_SILENCE = 12 * ALIVE_SECONDS

_REMEDY = "The same command resumes from the last checkpoint; the output of the ranks is in"


@contextmanager
def train_in_processes(
    images: PreparedImages,
    stored: CheckpointFolder,
    start: TrainingStart,
    is_asked_to_stop: Callable[[], bool],
    show_progress: Callable[[int], None],
) -> Iterator[RunningTraining]:
    """Train in processes of this machine, or that the user starts; raise TrainingError if a rank fails or dies."""
    # Start in an empty folder. After an error it stays, with the log.
    folder, training = stored.root.with_name("ranks"), start.training
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    exchange, spec, log = Exchange(folder), _spec(images, stored, start), folder / LOG
    try:
        with launched(spec.write(folder), training.devices, spec.threads) as launcher:

            def wait() -> None:
                if is_asked_to_stop():
                    exchange.stop.touch()
                show_progress(exchange.progress())
                if launcher and launcher.poll() is not None and not exchange.unread():
                    raise TrainingError(f"the launcher must stay alive until training ends (it died). {_REMEDY} {log}.")
                if not launcher and (silence := exchange.silence()) > _MOST_SILENCE:
                    raise TrainingError(
                        f"the first rank must stay alive until training ends (no heartbeat for {silence:.0f} s). "
                        "Look at the output of torchrun. The same commands resume from the last checkpoint."
                    )

            messages = _raise_faults(exchange.messages(wait, _CLASSES), training, log)
            first = next(messages)
            yield RunningTraining(**first, ticks=(message["tick"] for message in messages))
    finally:
        # No later rank may find the launch file.
        (folder / FILE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _spec(images: PreparedImages, stored: CheckpointFolder, start: TrainingStart) -> LaunchSpec:
    if images.place is None:
        raise TrainingError("`images` must be on disk for other processes (they are not). Set `training.devices` to 1.")
    parent, threads, training = None, 0, start.training
    if isinstance(training.devices, int):
        # Ranks share the cores.
        share = max(1, usable_cores() // training.devices)
        parent, threads = os.getpid(), training.threads if isinstance(training.threads, int) else share
    resume_from = asdict(start.resume_from) if start.resume_from else None
    return LaunchSpec(images.place, str(stored.root), resume_from, training, parent, threads)


def _raise_faults(
    messages: Iterator[dict[str, Any]], training: TrainingParameters, log: Path
) -> Iterator[dict[str, Any]]:
    for message in messages:
        match message:
            case {"end": True}:
                return
            case {"error": text}:
                raise TrainingError(text)
            case {"died": number, "how": how}:
                raise TrainingError(
                    f"all of `training.devices` {training.devices} ranks must stay alive until training ends (rank "
                    f"{number} died: {how}). {_REMEDY} {log}."
                )
        yield message
