"""A trained generator in a folder of its own."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

from kedro_dcgan.generator_files import CONFIG, read_generator, write_generator
from kedro_dcgan.storage import atomic_folder

if TYPE_CHECKING:
    # Most commands make this dataset and do without torch, which takes seconds to import.
    from kedro_dcgan.model.saved import TrainedGenerator


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
