"""Checkpoints of trainings: what there is when one begins, and what it adds."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

from kedro.io import AbstractDataset

from kedro_dcgan.errors import DiskFullError
from kedro_dcgan.evaluation.reference_files import ReferenceFolder
from kedro_dcgan.model.saved import CONFIG, read_generator, write_generator
from kedro_dcgan.storage import atomic_folder
from kedro_dcgan.training.checkpoints import CheckpointFolder

if TYPE_CHECKING:
    # Most commands make this dataset and do without torch, which takes seconds to import.
    from kedro_dcgan.model.saved import TrainedGenerator
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


# TODO(merge) datasets.trained_generator_dataset


class TrainedGeneratorDataset(AbstractDataset["TrainedGenerator", "TrainedGenerator"]):
    """Keeps a generator in a folder of two files.

    Example:
        >>> import tempfile, pathlib
        >>> from kedro_dcgan.model.networks import Generator
        >>> from kedro_dcgan.model.recipes import dcgan
        >>> from kedro_dcgan.model.saved import TrainedGenerator, snapshot_weights
        >>> generator = Generator(dcgan.generator(image_size=16, channels=1, latent_dim=2, width=1))
        >>> trained = TrainedGenerator(generator.spec, snapshot_weights(generator), "0123", images_seen=0)
        >>> dataset = TrainedGeneratorDataset(path=pathlib.Path(tempfile.mkdtemp()) / "generator")
        >>> dataset.save(trained)
        >>> dataset.load().spec == trained.spec
        True
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def save(self, data: "TrainedGenerator") -> None:
        """Write both files; the folder takes its place when they are complete."""
        with atomic_folder(self.path) as folder:
            write_generator(folder, data)

    def load(self) -> "TrainedGenerator":
        """Read both files.

        Raises:
            ModelError: if a file is missing or damaged.
        """
        return read_generator(self.path)

    def _exists(self) -> bool:
        return (self.path / CONFIG).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}


# TODO(merge) datasets.reference_features_dataset


class ReferenceFeaturesDataset(AbstractDataset[Never, ReferenceFolder]):
    """Loads as a folder that fills itself; nothing is saved from outside.

    Example:
        >>> import tempfile
        >>> ReferenceFeaturesDataset(path=tempfile.mkdtemp()).load().numbers({"split": "test"}, lambda: {"fd": 1.0})
        {'fd': 1.0}
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def load(self) -> ReferenceFolder:
        """Return what is there."""
        return ReferenceFolder(self.path)

    def save(self, data: Never) -> None:
        """Refuse: the folder fills itself."""
        raise NotImplementedError("references are kept when they are first asked for")

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}
