"""Datasets of models: checkpoints, generators, and cached reference statistics. The library owns their formats.

Every command imports this module, and most need no torch, which takes seconds to import. So imports are inside methods.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

from kedro.io import AbstractDataset

from kedro_dcgan.errors import DiskFullError
from kedro_dcgan.storage import atomic_folder

if TYPE_CHECKING:
    from kedro_dcgan.evaluation.reference import ReferenceCache
    from kedro_dcgan.model.saved import TrainedGenerator
    from kedro_dcgan.training.checkpoints import Checkpoint, CheckpointFolder

logger = logging.getLogger(__name__)


class CheckpointsDataset(AbstractDataset["list[Checkpoint]", "CheckpointFolder"]):
    """Adds the checkpoints of a tick, most often none; loads as a folder of checkpoints, which may be empty.

    If the disk is full, training continues with a warning and keeps the checkpoint before. A checkpoint that ends a run
    must be saved.

    Example:
        >>> import tempfile
        >>> CheckpointsDataset(path=tempfile.mkdtemp()).load().last_saved() is None
        True
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def load(self) -> "CheckpointFolder":
        """Return the folder."""
        from kedro_dcgan.training.checkpoints import CheckpointFolder

        return CheckpointFolder(self.path)

    def save(self, data: "list[Checkpoint]") -> None:
        """Write the checkpoints."""
        for checkpoint in data:
            try:
                self.load().save(checkpoint)
            except DiskFullError as error:
                if checkpoint.must_be_saved:
                    raise
                logger.warning("NOT SAVED: %s Training continues.", error)

    def _exists(self) -> bool:
        return self.path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}


class TrainedGeneratorDataset(AbstractDataset["TrainedGenerator", "TrainedGenerator"]):
    """A trained generator in a folder of two files.

    Example:
        >>> import tempfile, pathlib
        >>> from kedro_dcgan.model.networks import GeneratorConfig
        >>> from kedro_dcgan.model.recipes import build_generator
        >>> from kedro_dcgan.model.saved import TrainedGenerator, snapshot_weights
        >>> config = GeneratorConfig("dcgan", image_size=16, channels=1, latent_dim=2, width=1)
        >>> trained = TrainedGenerator(config, snapshot_weights(build_generator(config)), "0123", images_seen=0)
        >>> dataset = TrainedGeneratorDataset(path=pathlib.Path(tempfile.mkdtemp()) / "generator")
        >>> dataset.save(trained)
        >>> dataset.load().config == config
        True
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def save(self, data: "TrainedGenerator") -> None:
        """Write both files; the folder is replaced when they are complete."""
        from kedro_dcgan.model.saved import write_generator

        with atomic_folder(self.path) as folder:
            write_generator(folder, data)

    def load(self) -> "TrainedGenerator":
        """Read both files.

        Raises:
            ModelError: if a file is missing or damaged.
        """
        from kedro_dcgan.model.saved import read_generator

        return read_generator(self.path)

    def _exists(self) -> bool:
        return (self.path / "generator.json").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}


class ReferenceFeaturesDataset(AbstractDataset[Never, "ReferenceCache"]):
    """A cache of reference statistics. Evaluation fills it; nothing is saved through the catalog.

    Example:
        >>> import tempfile
        >>> ReferenceFeaturesDataset(path=tempfile.mkdtemp()).load().numbers({"split": "test"}, lambda: {"fd": 1.0})
        {'fd': 1.0}
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def load(self) -> "ReferenceCache":
        """Return the cache."""
        from kedro_dcgan.evaluation.reference import ReferenceCache

        return ReferenceCache(self.path)

    def save(self, data: Never) -> None:
        """Refuse: the cache fills itself."""
        raise NotImplementedError("the cache of reference statistics fills itself")

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}
