"""Features of Inception-v3 as it was released on 2015-12-05: the only ones on which a Fréchet distance is FID.

Heusel et al. 2017 (arXiv 1706.08500). The blocks are torch-fidelity's (Apache-2.0), checked there against the
TensorFlow graph; weights are a file that is there already (`evaluation/inception.py`). Batch norm is folded
into the convolutions and memory is channels-last, which changes the features by about 1e-6.
"""

import hashlib
import io
import os
from collections import OrderedDict
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from kedro_dcgan.errors import ModelError
from kedro_dcgan.evaluation.features import arithmetic, fold_batch_norms, id_of
from kedro_dcgan.evaluation.intervals import Estimate, mean_of

# The hash's beginning is part of the file's name, as torch hub has it.
WEIGHTS_NAME, WEIGHTS_PREFIX = "weights-inception-2015-12-05-6726825d.pth", "6726825d"

_SIZE = 299
_CPU = torch.device("cpu")


class InceptionFeatures:
    """Maps uint8 images to float32 features `(N, 2048)`, those before the last layer.

    Raises:
        ModelError: on construction, if torch-fidelity is not installed, or the weights are not the known ones.
    """

    dimension = 2048
    resize = "tf1 bilinear to 299, from uint8"

    def __init__(
        self,
        weights: Path,
        device: torch.device = _CPU,
        precision: str = "float32",
        keeps_features: bool = False,
    ) -> None:
        self.id, self.precision, self.keeps_features = id_of("inception", precision), precision, keeps_features
        data = _read(weights)
        self.weights_sha256 = hashlib.sha256(data).hexdigest()
        if not self.weights_sha256.startswith(WEIGHTS_PREFIX):
            raise ModelError(
                f"the weights {weights} must be those of Inception-v3 of 2015-12-05, SHA-256 {WEIGHTS_PREFIX}… "
                f"(theirs is {self.weights_sha256[:8]}…). Fetch them again: kedro dcgan fetch-weights."
            )
        self.batch_size = 20 if device.type == "cpu" else 128
        self._set_up(torch.load(io.BytesIO(data), weights_only=True, map_location="cpu"), device)

    def _set_up(self, state: dict[str, Tensor], device: torch.device) -> None:
        network = build_network()
        network.load_state_dict(state)
        fold_batch_norms(network.eval(), [("conv", "bn")])
        self._device = device
        self._network = network[:-1].to(device).to(memory_format=torch.channels_last)
        self._classes: Tensor = state["fc.weight"]

    def __call__(self, images: Tensor) -> Tensor:
        """Return the features of uint8 images `(N, 1 or 3, H, W)`; grey is repeated to three channels."""
        # As bytes to the device: it widens them.
        pixels = images.to(self._device).to(torch.float32).expand(-1, 3, -1, -1)
        normalised = (resize(pixels, _SIZE) - 128) / 128
        with arithmetic(self._device, self.precision):
            features: Tensor = self._network(normalised.contiguous(memory_format=torch.channels_last))
        return features.float()

    def probabilities(self, features: Tensor) -> Tensor:
        """Return those of the 1,008 classes for features `(N, 2048)`; without the bias, as the score's code has it."""
        return (features @ self._classes.T).softmax(dim=1)


def build_network() -> nn.Sequential:
    """Return the network with the names of the weights file, its weights still random; the last layer is `fc`.

    Raises:
        ModelError: if torch-fidelity is not installed.
    """
    blocks = torch_fidelity_blocks()
    conv = blocks.BasicConv2d
    layers: list[tuple[str, nn.Module]] = [
        ("Conv2d_1a_3x3", conv(3, 32, kernel_size=3, stride=2)),
        ("Conv2d_2a_3x3", conv(32, 32, kernel_size=3)),
        ("Conv2d_2b_3x3", conv(32, 64, kernel_size=3, padding=1)),
        ("MaxPool_1", nn.MaxPool2d(3, 2)),
        ("Conv2d_3b_1x1", conv(64, 80, kernel_size=1)),
        ("Conv2d_4a_3x3", conv(80, 192, kernel_size=3)),
        ("MaxPool_2", nn.MaxPool2d(3, 2)),
        ("Mixed_5b", blocks.InceptionA(192, pool_features=32)),
        ("Mixed_5c", blocks.InceptionA(256, pool_features=64)),
        ("Mixed_5d", blocks.InceptionA(288, pool_features=64)),
        ("Mixed_6a", blocks.InceptionB(288)),
        ("Mixed_6b", blocks.InceptionC(768, channels_7x7=128)),
        ("Mixed_6c", blocks.InceptionC(768, channels_7x7=160)),
        ("Mixed_6d", blocks.InceptionC(768, channels_7x7=160)),
        ("Mixed_6e", blocks.InceptionC(768, channels_7x7=192)),
        ("Mixed_7a", blocks.InceptionD(768)),
        ("Mixed_7b", blocks.InceptionE_1(1280)),
        ("Mixed_7c", blocks.InceptionE_2(2048)),
        ("AvgPool", nn.AdaptiveAvgPool2d(1)),
        ("Flatten", nn.Flatten()),
        ("fc", nn.Linear(2048, 1008)),
    ]
    return nn.Sequential(OrderedDict(layers))


def torch_fidelity_blocks() -> ModuleType:
    """Return torch-fidelity's module of the network's blocks.

    Raises:
        ModelError: if torch-fidelity is not installed.
    """
    try:
        from torch_fidelity import feature_extractor_inceptionv3
    except ImportError:
        raise ModelError(
            "torch-fidelity must be installed for FID (it is not). Run pip install torch-fidelity."
        ) from None
    return feature_extractor_inceptionv3


def _read(weights: Path) -> bytes:
    try:
        return weights.read_bytes()
    except OSError as error:
        raise ModelError(
            f"Inception's weights must be a readable file (got {weights}: {error.strerror}). "
            "Fetch it: kedro dcgan fetch-weights."
        ) from None


# TODO(merge) metrics.tf1_resize


def resize(pixels: Tensor, size: int) -> Tensor:
    """Return float images `(N, C, H, W)` at `(N, C, size, size)`."""
    height, width = pixels.shape[2:]
    return _weights(height, size, pixels) @ pixels @ _weights(width, size, pixels).T


def _weights(before: int, after: int, like: Tensor) -> Tensor:
    # (after, before). The positions are float32 in TensorFlow, too.
    positions = torch.arange(after, dtype=torch.float32) * torch.tensor(before / after, dtype=torch.float32)
    first = positions.long()
    rows, share = torch.arange(after), positions - first
    weights = torch.zeros(after, before)
    weights[rows, first] = 1 - share
    # Beyond the last pixel there is the last one once more.
    weights[rows, (first + 1).clamp(max=before - 1)] += share
    return weights.to(like)


# TODO(merge) metrics.inception_score

SPLITS = 10


def inception_score(probabilities: Tensor, splits: int = SPLITS) -> Estimate:
    """Return exp(E[KL(p(y|x) | p(y))]) of class probabilities `(N, C)`: 1 to C; the mean over consecutive splits.

    Raises:
        ValueError: if there are fewer images than splits.
    """
    if len(probabilities) < splits:
        raise ValueError(f"{splits} splits must have an image each (got {len(probabilities)}). Use more images.")
    return mean_of(torch.stack([_score(part.to(torch.float64)) for part in probabilities.tensor_split(splits)]))


def _score(probabilities: Tensor) -> Tensor:
    marginal = probabilities.mean(dim=0, keepdim=True)
    entropies = torch.special.xlogy(probabilities, probabilities) - torch.special.xlogy(probabilities, marginal)
    return entropies.sum(dim=1).mean().exp()


# TODO(merge) inception_weights


def fetch_weights(url: str | None = None) -> Path:
    """Download the weights to where torch hub keeps such files, with a bar, and return the file; it is checked.

    Raises:
        ModelError: if they cannot be had, or are others.
    """
    url = url or torch_fidelity_blocks().URL_INCEPTION_V3
    place = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS_NAME
    try:
        if not urlparse(url).hostname:
            raise ValueError("no address")
        place.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(place), hash_prefix=WEIGHTS_PREFIX)
    except (OSError, RuntimeError, ValueError, HTTPException) as error:
        raise ModelError(
            f"the weights must be downloaded from {url} (fault: {error}). Try again, name another "
            f"place with --url, or put the file into {place.parent} yourself."
        ) from None
    return place


def find_weights(wanted: str | None) -> Path | None:
    """Return the weights' file: `auto` is where torch hub keeps it, if FID can be measured at all. Or nothing."""
    if wanted != "auto":
        # Path's own `expanduser` fails for a user that there is not.
        return Path(os.path.expanduser(wanted)) if wanted else None  # noqa: PTH111
    cached = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS_NAME
    return cached if cached.is_file() and find_spec("torch_fidelity") else None
