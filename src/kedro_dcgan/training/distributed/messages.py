"""What the first rank and whoever started it say to each other: files in one folder, which need no open port.

000001.pt …   messages of the first rank, in their order: dicts of tensors and plain values
seen          how many images have been seen
alive         touched by the first rank every few seconds
stop          there if the ranks are asked to stop
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.errors import TrainingError
from kedro_dcgan.storage import atomic_file

_POLL_SECONDS = 0.05
_PROGRESS_SECONDS = 0.2
ALIVE_SECONDS = 5
# Messages that nobody has read yet: then a rank waits, so as not to fill the disk, but not for ever.
_MOST_UNREAD, MOST_SECONDS_UNREAD = 4, 600


class Exchange:
    """One side's view of the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._sent, self._said = folder, 0, 0.0

    def send(self, content: Mapping[str, Any]) -> None:
        """Leave a message, when there are few unread ones.

        Raises:
            TrainingError: if nobody has read one for ten minutes.
        """
        until = time.monotonic() + MOST_SECONDS_UNREAD
        while len(self._unread()) >= _MOST_UNREAD:
            if time.monotonic() > until:
                raise TrainingError(
                    f"`{self._folder}` must be read by the kedro run that has written it (it is not any more). Start "
                    "both again: training goes on from the last checkpoint."
                )
            time.sleep(_POLL_SECONDS)
        self._sent += 1
        with atomic_file(self._folder / f"{self._sent:06d}.pt") as file:
            torch.save(dict(content), file)

    def messages(self, wait: Callable[[], None]) -> Iterator[dict[str, Any]]:
        """Yield the messages as they come, and remove each when the next one is wanted; `wait` while there is none."""
        while True:
            unread = self._unread()
            if not unread:
                wait()
                time.sleep(_POLL_SECONDS)
                continue
            yield torch.load(unread[0], weights_only=True)
            unread[0].unlink()

    def has_messages(self) -> bool:
        """Tell whether there are unread ones."""
        return bool(self._unread())

    def ask_to_stop(self) -> None:
        """Let the ranks know that they are to stop."""
        (self._folder / "stop").touch()

    def is_asked_to_stop(self) -> bool:
        """Tell whether they are."""
        return (self._folder / "stop").exists()

    def say_progress(self, images_seen: int) -> None:
        """Say how far training is, a few times a second."""
        if time.monotonic() > self._said + _PROGRESS_SECONDS:
            self._said = time.monotonic()
            (self._folder / ".seen").write_text(str(images_seen), encoding="ascii")
            (self._folder / ".seen").replace(self._folder / "seen")

    def progress(self) -> int:
        """Return how far training is, 0 if that was not said."""
        try:
            return int((self._folder / "seen").read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0

    def stay_alive(self) -> None:
        """Show from now on that this process is there."""
        threading.Thread(target=self._touch, daemon=True).start()

    def last_alive(self) -> float:
        """Return when the first rank showed that it is there, by the clock of its disk; 0 if it never did."""
        file = self._folder / "alive"
        return file.stat().st_mtime if file.exists() else 0.0

    def _touch(self) -> None:
        # Until the folder goes: then nobody listens any more.
        while self._folder.exists():
            (self._folder / "alive").touch()
            time.sleep(ALIVE_SECONDS)

    def _unread(self) -> list[Path]:
        return sorted(self._folder.glob("[0-9]*.pt"))


# TODO(merge) launch.spec

FILE = "training.json"
FORMAT = 2
WAIT_SECONDS = 300


@dataclass(frozen=True)
class LaunchSpec:
    """Where the images and the checkpoints are, which checkpoint to resume from, and how to train.

    The ranks end with the process `parent`, if it has started them. `threads` are per rank; 0: one per usable core.
    """

    images: tuple[str, str]
    checkpoints: str
    resume_from: dict[str, Any] | None
    training: dict[str, Any]
    parent: int | None
    threads: int

    @property
    def parameters(self) -> TrainingParameters:
        """How to train."""
        return TrainingParameters.model_validate(self.training)

    def write(self, folder: Path) -> Path:
        """Write it into a folder and return the file."""
        with atomic_file(folder / FILE) as file:
            file.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n", encoding="utf-8")
        return folder / FILE

    @classmethod
    def read(cls, file: Path) -> "LaunchSpec":
        """Read what `write` wrote, or is about to write: ranks may be started at the same time as who tells them.

        Raises:
            TrainingError: if it does not come, or is of another version.
        """
        until = time.monotonic() + WAIT_SECONDS
        while not file.exists() and time.monotonic() < until:
            time.sleep(0.2)
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"`{file}` must be what kedro run has written ({error}). {_REMEDY}") from None
        if content.pop("format", None) != FORMAT:
            raise TrainingError(f"`{file}` must be of this version of kedro-dcgan (it is of another). {_REMEDY}")
        return cls(**{**content, "images": tuple(content["images"])})


_REMEDY = "Run first: kedro run --pipelines=train --params training.devices=external."
