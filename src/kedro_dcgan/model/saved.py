"""A trained generator as a value: its spec, its weights and where it comes from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from torch import Tensor

from kedro_dcgan.errors import ModelError
from kedro_dcgan.model.networks import Generator
from kedro_dcgan.model.specs import GeneratorSpec, generator_spec_from_dict, spec_to_dict

if TYPE_CHECKING:
    from kedro_dcgan.model.saved import TrainedGenerator

FORMAT = 2


@dataclass(frozen=True)
class TrainedGenerator:
    """Weights (CPU tensors by name), the spec that they fit, and facts about their training."""

    spec: GeneratorSpec
    weights: Mapping[str, Tensor]
    dataset_digest: str
    images_seen: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> Generator:
        """Return the network with these weights, on the CPU and in eval mode.

        Raises:
            ModelError: if the weights do not fit the spec.
        """
        generator = Generator(self.spec)
        try:
            generator.load_state_dict(dict(self.weights))
        except RuntimeError as error:
            first_fault = str(error).splitlines()[1].strip()
            raise ModelError(f"the generator's weights must fit its spec ({first_fault}). Train it again.") from None
        return generator.eval()

    def fingerprint(self) -> str:
        """Return 16 hex digits of the SHA-256 over the weights: what was measured is told from what was not."""
        hasher = hashlib.sha256()
        for name in sorted(self.weights):
            hasher.update(name.encode())
            hasher.update(self.weights[name].numpy().tobytes())
        return hasher.hexdigest()[:16]

    def config(self) -> dict[str, Any]:
        """Return everything but the weights, as JSON values."""
        return {
            "format": FORMAT,
            "spec": spec_to_dict(self.spec),
            "dataset_digest": self.dataset_digest,
            "images_seen": self.images_seen,
            "facts": dict(self.facts),
        }


def trained_generator(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> TrainedGenerator:
    """Put together what `TrainedGenerator.config` and its weights were taken apart into.

    Raises:
        ModelError: if the config is of another format or incomplete.
    """
    if config.get("format") != FORMAT:
        raise ModelError(
            f"a generator's config must be of format {FORMAT} (got {config.get('format')!r}). "
            "Read it with the version of kedro-dcgan that wrote it."
        )
    try:
        spec = generator_spec_from_dict(config["spec"])
        return TrainedGenerator(spec, weights, config["dataset_digest"], config["images_seen"], config["facts"])
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"a generator's config must be complete (fault: {error}). Export the generator again."
        ) from None


def snapshot_weights(generator: Generator) -> dict[str, Tensor]:
    """Return a copy of the generator's weights on the CPU, contiguous, which training leaves alone."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in generator.state_dict().items()}


# TODO(merge) generator_files

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
