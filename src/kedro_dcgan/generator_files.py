"""A trained generator on disk: `generator.safetensors` (weights) and `generator.json` (spec and origin). No pickle.

Knows no framework: the registered model reads its files with it too. And imports torch, which takes
seconds, when a generator is written or read: every command makes all datasets.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from kedro_dcgan.errors import ModelError

if TYPE_CHECKING:
    from kedro_dcgan.model.saved import TrainedGenerator

WEIGHTS, CONFIG = "generator.safetensors", "generator.json"


def write_generator(folder: Path, trained: "TrainedGenerator") -> None:
    """Write both files into a folder that is there."""
    from safetensors.torch import save_file

    save_file(dict(trained.weights), folder / WEIGHTS)
    config = json.dumps(trained.config(), indent=2, ensure_ascii=False)
    (folder / CONFIG).write_text(config + "\n", encoding="utf-8")


def read_generator(folder: Path) -> "TrainedGenerator":
    """Read what `write_generator` wrote.

    Raises:
        ModelError: if a file is missing or damaged.
    """
    from safetensors.torch import load_file

    from kedro_dcgan.model.saved import trained_generator

    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return trained_generator(config, load_file(folder / WEIGHTS))
    except FileNotFoundError:
        raise ModelError(
            f"`{folder}` must hold a trained generator (it does not). Train one: kedro run --pipelines=train."
        ) from None
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ModelError(f"`{folder}` must be as it was written (damaged: {error}). Train or pull it again.") from None
