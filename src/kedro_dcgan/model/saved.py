"""A trained generator, in memory and on disk.

On disk it is `generator.safetensors` (weights) and `generator.json` (network config and origin). No pickle.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from kedro_dcgan.errors import ModelError
from kedro_dcgan.model.networks import Generator, GeneratorConfig
from kedro_dcgan.model.recipes import build_generator

FORMAT = 3
WEIGHTS, CONFIG = "generator.safetensors", "generator.json"


@dataclass(frozen=True)
class TrainedGenerator:
    """Weights (CPU tensors by name), the config of their network, and facts about their training."""

    config: GeneratorConfig
    weights: Mapping[str, Tensor]
    dataset_digest: str
    images_seen: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> Generator:
        """Return the network on the CPU and in eval mode; raise ModelError if the weights do not fit it."""
        generator = build_generator(self.config)
        try:
            generator.load_state_dict(dict(self.weights))
        except RuntimeError as error:
            first_fault = str(error).splitlines()[1].strip()
            raise ModelError(f"the generator's weights must fit its network ({first_fault}). Train it again.") from None
        return generator.eval()

    def fingerprint(self) -> str:
        """Return 16 hex digits of the SHA-256 over the weights, which identify the generator that was measured."""
        hasher = hashlib.sha256()
        for name, tensor in sorted(self.weights.items()):
            hasher.update(name.encode() + tensor.numpy().tobytes())
        return hasher.hexdigest()[:16]


def write_generator(folder: Path, trained: TrainedGenerator) -> None:
    """Write both files into an existing folder."""
    save_file(dict(trained.weights), folder / WEIGHTS)
    content = {
        "format": FORMAT,
        "network": asdict(trained.config),
        "dataset_digest": trained.dataset_digest,
        "images_seen": trained.images_seen,
        "facts": dict(trained.facts),
    }
    (folder / CONFIG).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_generator(folder: Path) -> TrainedGenerator:
    """Read both files; raise ModelError if one is missing, damaged, incomplete, or of another format."""
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise ModelError(
                f"`{folder / CONFIG}` must be of format {FORMAT} (got {content.get('format')!r}). "
                "Read it with the version of kedro-dcgan that wrote it, or train again."
            )
        network = GeneratorConfig(**content["network"])
        weights = load_file(folder / WEIGHTS)
        return TrainedGenerator(network, weights, content["dataset_digest"], content["images_seen"], content["facts"])
    except FileNotFoundError:
        raise ModelError(
            f"`{folder}` must hold a trained generator (it does not). Train one: kedro run --pipelines=train."
        ) from None
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ModelError(f"`{folder}` must be undamaged (fault: {error}). Train or pull it again.") from None
    except (AttributeError, KeyError, TypeError) as error:
        raise ModelError(f"`{folder / CONFIG}` must be complete (fault: {error}). Export it again.") from None


def snapshot_weights(generator: Generator) -> dict[str, Tensor]:
    """Return a contiguous copy of the generator's weights on the CPU."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in generator.state_dict().items()}
