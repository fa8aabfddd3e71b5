"""Messages between the ranks and the process that started them: files in one folder, without an open port.

training.json   the launch file: everything that the ranks need to start
000001.pt ...   messages of the first rank, in order: dicts of tensors, plain values and named classes
seen            the number of images seen
alive           touched by the first rank every few seconds
stop            exists once the ranks are asked to stop
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, JsonValue

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.errors import DataError, TrainingError
from kedro_dcgan.storage import atomic_file
from kedro_dcgan.stored_files import StoredModel, read_json

FILE = "training.json"
WAIT_SECONDS, ALIVE_SECONDS = 300, 5
_POLL_SECONDS, _PROGRESS_SECONDS = 0.05, 0.2
# A rank waits while this many messages are unread, so that it does not fill the disk, but at most for this long.
_MOST_UNREAD, MOST_SECONDS_UNREAD = 4, 600


@dataclass(frozen=True)
class LaunchSpec:
    """The folders of images and checkpoints, the checkpoint to resume from, and the training parameters.

    The ranks end with the process `parent`, if it has started them. `threads` are per rank; 0: one per usable core.
    """

    images: tuple[str, str]
    checkpoints: str
    resume_from: dict[str, Any] | None
    training: TrainingParameters
    parent: int | None
    threads: int

    def write(self, folder: Path) -> Path:
        """Write the launch file into a folder; return its path."""
        content = {"format": 2, **vars(self), "training": self.training.model_dump(mode="json")}
        with atomic_file(folder / FILE) as file:
            file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        return folder / FILE

    @classmethod
    def read(cls, file: Path) -> "LaunchSpec":
        """Wait for the launch file and read it; raise TrainingError if it does not appear or is of another version."""
        until = time.monotonic() + WAIT_SECONDS
        while not file.exists() and time.monotonic() < until:
            time.sleep(0.2)
        try:
            stored = read_json(file, _StoredSpec, "")
        except DataError as error:
            raise TrainingError(
                f"{str(error).strip()} `{file}` must be written by kedro run of the same version. "
                "Run first: kedro run --pipelines=train --params training.devices=external."
            ) from None
        return cls(**{field.name: getattr(stored, field.name) for field in fields(cls)})


class _StoredSpec(StoredModel):
    """The content of the launch file."""

    format: Literal[2]
    images: tuple[str, str]
    checkpoints: str
    resume_from: dict[str, JsonValue] | None
    training: TrainingParameters
    parent: int | None
    threads: Annotated[int, Field(ge=0)]


class Exchange:
    """One end of the exchange; both ends use the same folder. `stop` is the file that asks the ranks to stop."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.stop, self._alive = folder, folder / "stop", folder / "alive"
        self._sent, self._reported, self._heartbeat, self._heard = 0, 0.0, 0.0, 0.0

    def send(self, content: Mapping[str, Any]) -> None:
        """Send a message; wait while many are unread, but raise TrainingError if none was read for ten minutes."""
        until = time.monotonic() + MOST_SECONDS_UNREAD
        while len(self.unread()) >= _MOST_UNREAD:
            if time.monotonic() > until:
                raise TrainingError(
                    f"`{self._folder}` must be read by the kedro run that wrote it (it stopped reading). Start both "
                    "again: training resumes from the last checkpoint."
                )
            time.sleep(_POLL_SECONDS)
        self._sent += 1
        with atomic_file(self._folder / f"{self._sent:06d}.pt") as file:
            torch.save(dict(content), file)

    def unread(self) -> list[Path]:
        """Return the files of unread messages, the oldest first."""
        return sorted(self._folder.glob("[0-9]*.pt"))

    def messages(self, wait: Callable[[], None], classes: Sequence[type] = ()) -> Iterator[dict[str, Any]]:
        """Yield messages of tensors, plain values and these classes, as they arrive; call `wait` meanwhile."""
        while True:
            while not (unread := self.unread()):
                wait()
                time.sleep(_POLL_SECONDS)
            with torch.serialization.safe_globals(list(classes)):
                message = torch.load(unread[0], weights_only=True)
            yield message
            # Delete it only now, because the caller has saved its results.
            unread[0].unlink()

    def report_progress(self, images_seen: int) -> None:
        """Report the progress, at most a few times a second."""
        if time.monotonic() > self._reported + _PROGRESS_SECONDS:
            self._reported, unfinished = time.monotonic(), self._folder / ".seen"
            unfinished.write_text(str(images_seen))
            unfinished.replace(self._folder / "seen")

    def progress(self) -> int:
        """Return the number of images seen, 0 if none was reported."""
        file = self._folder / "seen"
        return int(file.read_text()) if file.exists() else 0

    def stay_alive(self) -> None:
        """Send heartbeats in a thread, until the reader removes the folder."""

        def beat() -> None:
            while self._folder.exists():
                self._alive.touch()
                time.sleep(ALIVE_SECONDS)

        threading.Thread(target=beat, daemon=True).start()

    def silence(self) -> float:
        """Return the seconds since the last heartbeat was noticed; 0 before the first one."""
        # The disk may be another machine's, with another clock.
        heartbeat = self._alive.stat().st_mtime if self._alive.exists() else 0.0
        if heartbeat != self._heartbeat:
            self._heartbeat, self._heard = heartbeat, time.monotonic()
        return time.monotonic() - self._heard if heartbeat else 0.0
