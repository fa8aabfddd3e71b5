"""A trained generator on disk: `generator.safetensors` (weights) and `generator.json` (spec and origin). No pickle."""

import json
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from kedro_dcgan.datasets.atomic import atomic_folder
from kedro_dcgan.errors import ModelError
from kedro_dcgan.gan.trained import TrainedGenerator, trained_generator

WEIGHTS, CONFIG = "generator.safetensors", "generator.json"


class TrainedGeneratorDataset(AbstractDataset[TrainedGenerator, TrainedGenerator]):
    """Keeps a generator in a folder of two files.

    Example:
        >>> import tempfile, pathlib
        >>> from kedro_dcgan.gan.networks import Generator
        >>> from kedro_dcgan.gan.specs import dcgan_generator
        >>> from kedro_dcgan.gan.trained import snapshot_weights
        >>> generator = Generator(dcgan_generator(image_size=16, channels=1, latent_dim=2, width=1))
        >>> trained = TrainedGenerator(generator.spec, snapshot_weights(generator), "0123", images_seen=0)
        >>> dataset = TrainedGeneratorDataset(path=pathlib.Path(tempfile.mkdtemp()) / "generator")
        >>> dataset.save(trained)
        >>> dataset.load().spec == trained.spec
        True
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def save(self, data: TrainedGenerator) -> None:
        """Write both files; the folder takes its place when they are complete."""
        with atomic_folder(self.path) as folder:
            save_file(dict(data.weights), folder / WEIGHTS)
            (folder / CONFIG).write_text(json.dumps(data.config(), indent=2) + "\n", encoding="utf-8")

    def load(self) -> TrainedGenerator:
        """Read both files.

        Raises:
            ModelError: if a file is missing or damaged.
        """
        return read_trained_generator(self.path)

    def _exists(self) -> bool:
        return (self.path / CONFIG).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}


def read_trained_generator(folder: Path) -> TrainedGenerator:
    """Read a generator from a folder that `TrainedGeneratorDataset` wrote.

    Raises:
        ModelError: if a file is missing or damaged.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return trained_generator(config, load_file(folder / WEIGHTS))
    except FileNotFoundError:
        raise ModelError(
            f"`{folder}` must hold a trained generator (it does not). Train one: kedro run --pipelines=train."
        ) from None
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ModelError(f"`{folder}` must be as it was written (damaged: {error}). Train or pull it again.") from None
