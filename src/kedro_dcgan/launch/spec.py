"""The launch file (JSON): everything that the processes of a training need to start."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.errors import TrainingError
from kedro_dcgan.storage import atomic_file

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
