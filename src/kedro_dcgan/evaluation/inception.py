"""Features of Inception-v3 as released on 2015-12-05, the only ones on which a Fréchet distance is FID.

Heusel et al. 2017 (arXiv 1706.08500). The network's blocks are torch-fidelity's (Apache-2.0), which tests them against
the TensorFlow graph. Batch norms are folded and memory is channels-last, which changes features by about 1e-6. The
weights are a file of torch hub's cache, which only `fetch_weights` downloads.
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
from kedro_dcgan.evaluation.features import CPU, ID_SUFFIXES, float_pixels, fold_batch_norms, inference
from kedro_dcgan.evaluation.intervals import Estimate, mean_estimate

# The file name contains the first digits of the file's SHA-256, as is usual in torch hub.
WEIGHTS_NAME, WEIGHTS_PREFIX = "weights-inception-2015-12-05-6726825d.pth", "6726825d"
# Splits of the Inception Score.
SPLITS = 10


class InceptionFeatures:
    """Maps uint8 images to float32 features `(N, 2048)`, the input of the last layer.

    Without `weights`, the network is random: to measure its speed only.

    Raises:
        ModelError: on construction, if torch-fidelity is not installed or the SHA-256 of the weights is wrong.
    """

    dimension = 2048
    resize = "tf1 bilinear to 299, from uint8"

    def __init__(
        self, weights: Path | None, device: torch.device = CPU, precision: str = "float32", keeps_features: bool = False
    ) -> None:
        self.id, self.precision, self.keeps_features = f"inception{ID_SUFFIXES[precision]}", precision, keeps_features
        self.batch_size = 20 if device.type == "cpu" else 128
        state, self.weights_sha256 = _read_weights(weights) if weights else (None, "")
        network = build_network()
        if state:
            network.load_state_dict(state)
        self._classes = network.state_dict()["fc.weight"]
        fold_batch_norms(network.eval(), [("conv", "bn")])
        self._device = device
        self._network = network[:-1].to(device).to(memory_format=torch.channels_last)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the features of uint8 images `(N, 1 or 3, H, W)`; grey is repeated to three channels."""
        normalised = (resize(float_pixels(images, self._device), 299) - 128) / 128
        with inference(self._device, self.precision):
            features: Tensor = self._network(normalised.contiguous(memory_format=torch.channels_last))
        return features.float()

    def probabilities(self, features: Tensor) -> Tensor:
        """Return the probabilities of the 1,008 classes, without bias, as in the code of the Inception Score."""
        return (features @ self._classes.T).softmax(dim=1)


def _read_weights(file: Path) -> tuple[dict[str, Tensor], str]:
    """Return the weights and the SHA-256 of their file."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ModelError(
            f"the weights of Inception must be a readable file (got {file}: {error.strerror}). "
            "Fetch them: kedro dcgan fetch-weights."
        ) from None
    digest = hashlib.sha256(data).hexdigest()
    if not digest.startswith(WEIGHTS_PREFIX):
        raise ModelError(
            f"the weights {file} must be those of Inception-v3 of 2015-12-05, SHA-256 {WEIGHTS_PREFIX}… "
            f"(got {digest[:8]}…). Fetch them again: kedro dcgan fetch-weights."
        )
    return torch.load(io.BytesIO(data), weights_only=True, map_location="cpu"), digest


def build_network() -> nn.Sequential:
    """Return the network with random weights and the parameter names of the weights file; the last layer is `fc`."""
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
    """Return the module of torch-fidelity that defines the blocks of the network."""
    try:
        from torch_fidelity import feature_extractor_inceptionv3
    except ImportError:
        raise ModelError(
            "the package torch-fidelity must be installed for FID (it is not). Run pip install torch-fidelity."
        ) from None
    return feature_extractor_inceptionv3


def resize(pixels: Tensor, size: int) -> Tensor:
    """Resize float images `(N, C, H, W)` to `(N, C, size, size)`, bilinearly as TensorFlow 1 does."""

    def weights(before: int) -> Tensor:
        # The weights `(size, before)` of the old pixels in each new one. TensorFlow's positions are in float32, too.
        positions = torch.arange(size, dtype=torch.float32) * torch.tensor(before / size, dtype=torch.float32)
        first = positions.long()
        rows, share = torch.arange(size), positions - first
        matrix = torch.zeros(size, before)
        matrix[rows, first] = 1 - share
        # The last pixel is repeated beyond the edge.
        matrix[rows, (first + 1).clamp(max=before - 1)] += share
        return matrix.to(pixels)

    height, width = pixels.shape[2:]
    return weights(height) @ pixels @ weights(width).T


def inception_score(probabilities: Tensor, splits: int = SPLITS) -> Estimate:
    """Return exp(E[KL(p(y|x) | p(y))]), 1 to C, of probabilities `(N, C)` (Salimans et al. 2016, arXiv 1606.03498).

    Raises:
        ValueError: if there are fewer images than splits.
    """
    if len(probabilities) < splits:
        raise ValueError(f"{splits} splits need at least {splits} images (got {len(probabilities)}). Use more images.")
    scores = []
    for p in probabilities.to(torch.float64).tensor_split(splits):
        divergence = torch.special.xlogy(p, p) - torch.special.xlogy(p, p.mean(dim=0, keepdim=True))
        scores.append(divergence.sum(dim=1).mean().exp())
    return mean_estimate(torch.stack(scores))


def fetch_weights(url: str | None = None) -> Path:
    """Download the weights into torch hub's cache, check their hash, and return the file.

    Raises:
        ModelError: if torch-fidelity is not installed, the download fails or the hash is wrong.
    """
    url = url or torch_fidelity_blocks().URL_INCEPTION_V3
    file = _cached_weights()
    try:
        if not urlparse(url).hostname:
            raise ValueError("no host name")
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), hash_prefix=WEIGHTS_PREFIX)
    except (OSError, RuntimeError, ValueError, HTTPException) as error:
        raise ModelError(
            f"the weights must be downloadable from {url} (got: {error}). Try again, pass another address with --url, "
            f"or copy the file to {file.parent}."
        ) from None
    return file


def find_weights(path: str | None) -> Path | None:
    """Return the file of the weights, or None. `auto` is torch hub's cache, if torch-fidelity is installed."""
    if path != "auto":
        # Path.expanduser raises an error for unknown users.
        return Path(os.path.expanduser(path)) if path else None  # noqa: PTH111
    file = _cached_weights()
    return file if file.is_file() and find_spec("torch_fidelity") else None


def _cached_weights() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS_NAME
