"""Checkpoints of trainings: what there is when one begins, and what it adds."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

from kedro_dcgan.checkpoint_files import CheckpointFolder
from kedro_dcgan.errors import DiskFullError

if TYPE_CHECKING:
    # Most commands make this dataset and do without torch, which takes seconds to import.
    from kedro_dcgan.training.checkpoints import Checkpoint

logger = logging.getLogger(__name__)


class CheckpointsDataset(AbstractDataset["list[Checkpoint]", CheckpointFolder]):
    """Adds the checkpoints of a tick, most often none; loads as a folder to choose from, which may be empty.

    Where the disk is full, training goes on with a warning, and with the checkpoint before; but it does not
    end or stop with one that was not saved.

    Example:
        >>> import tempfile
        >>> CheckpointsDataset(path=tempfile.mkdtemp()).load().last_saved() is None
        True
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def load(self) -> CheckpointFolder:
        """Return what is there."""
        return CheckpointFolder(self.path)

    def save(self, data: "list[Checkpoint]") -> None:
        """Write the checkpoints."""
        for checkpoint in data:
            try:
                CheckpointFolder(self.path).save(checkpoint)
            except DiskFullError as error:
                if checkpoint.must_be_saved:
                    raise
                logger.warning("NOT SAVED: %s Training goes on.", error)

    def _exists(self) -> bool:
        return self.path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}
