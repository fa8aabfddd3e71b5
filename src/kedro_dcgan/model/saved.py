"""A trained generator, in memory and on disk.

On disk it is `generator.safetensors` (weights) and `generator.json` (network config and origin). No pickle.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import JsonValue, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from kedro_dcgan.config import MOST_CLASSES
from kedro_dcgan.errors import DataError, ModelError, ParameterError, in_short
from kedro_dcgan.model.networks import Generator, GeneratorConfig
from kedro_dcgan.model.recipes import build_generator
from kedro_dcgan.storage import sha256_of
from kedro_dcgan.stored_files import Count, Sha256, StoredModel, read_json, require_file, require_sha256, write_json

WEIGHTS, CONFIG = "generator.safetensors", "generator.json"
# Of image size, channels, latents and width. The memory for a network is only allocated if the weights fit it.
_MAX_SIZES = (512, 3, 2**20, 2**20)
# The sum of the shares of classes may differ from 1 by this much.
_MOST_ROUNDING = 1e-6
# Names in safetensors.
_DTYPES = {torch.float32: "F32", torch.int64: "I64"}


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


class StoredGenerator(StoredModel):
    """The content of `generator.json`. `weights_sha256` is missing in files of earlier versions."""

    format: Literal[3] = 3
    network: GeneratorConfig
    dataset_digest: str
    images_seen: Count
    facts: dict[str, JsonValue]
    weights_sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _require_bounded_network(self) -> Self:
        network = self.network
        sizes = (network.image_size, network.channels, network.latent_dim, network.width)
        if not all(1 <= size <= most for size, most in zip(sizes, _MAX_SIZES, strict=True)):
            raise ValueError(f"image size, channels, latents and width must be from 1 to {_MAX_SIZES}, not {sizes}")
        names, shares = network.classes, network.class_shares
        are_shares = not shares or (min(shares) >= 0 and abs(sum(shares) - 1) < _MOST_ROUNDING)
        if len(names) != len(shares) or len(set(names)) < len(names) or len(names) > MOST_CLASSES or not are_shares:
            raise ValueError(f"at most {MOST_CLASSES:,} classes must have different names, and shares that add up to 1")
        return self


def write_generator(folder: Path, trained: TrainedGenerator) -> None:
    """Write both files into an existing folder."""
    # `save_file` would let only this user read the file.
    (folder / WEIGHTS).write_bytes(save(dict(trained.weights)))
    content = {
        "format": 3,
        "network": asdict(trained.config),
        "dataset_digest": trained.dataset_digest,
        "images_seen": trained.images_seen,
        "facts": dict(trained.facts),
        "weights_sha256": sha256_of(folder / WEIGHTS),
    }
    write_json(folder / CONFIG, content)


def read_generator(folder: Path) -> TrainedGenerator:
    """Read both files; raise ModelError if one is missing, damaged, of another generator, or of another format."""
    remedy = f"`{folder}` needs both files of one generator: export, pull or train it again."
    try:
        stored = read_json(folder / CONFIG, StoredGenerator, remedy)
        file = folder / WEIGHTS
        require_file(file, remedy)
        _require_shapes(file, stored.network)
        if stored.weights_sha256 is not None:
            require_sha256(file, stored.weights_sha256, remedy)
        weights = load_file(file)
    except DataError as error:
        raise ModelError(str(error)) from None
    except ParameterError as error:
        raise ModelError(f"`network` in `{folder / CONFIG}` must be possible ({error}) {remedy}") from None
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ModelError(f"`{folder / WEIGHTS}` must be intact (fault: {in_short(error)}). {remedy}") from None
    return TrainedGenerator(stored.network, weights, stored.dataset_digest, stored.images_seen, stored.facts)


def _require_shapes(file: Path, config: GeneratorConfig) -> None:
    """Compare the header of stored weights with the network; a network on the meta device takes no memory."""
    with torch.device("meta"):
        state = build_generator(config).state_dict()
    expected = {name: (_DTYPES.get(tensor.dtype), list(tensor.shape)) for name, tensor in state.items()}
    with safe_open(file, framework="pt") as header:
        parts = {name: header.get_slice(name) for name in header.keys()}  # noqa: SIM118
        found = {name: (part.get_dtype(), part.get_shape()) for name, part in parts.items()}
    for name in [*expected, *found]:
        if found.get(name) != expected.get(name):
            raise ModelError(
                f"`{name}` in `{file}` must be {expected.get(name)} as in the network of `{CONFIG}` "
                f"(got {found.get(name)}). Use both files of one generator, or train it again."
            )


def snapshot_weights(generator: Generator) -> dict[str, Tensor]:
    """Return a contiguous copy of the generator's weights on the CPU."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in generator.state_dict().items()}
