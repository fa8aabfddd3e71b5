"""The interface of feature extractors, their precision, and the collection of their features."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kedro_dcgan.evaluation.frechet import FeatureMoments
from kedro_dcgan.evaluation.intervals import BLOCKS

# The moments are (D, D) matrices, which are slow to update. Update them once for this many images.
_BUFFER = 2000


class FeatureExtractor(Protocol):
    """Maps uint8 images `(N, 1 or 3, H, W)` to float32 features `(N, dimension)`.

    batch_size: the fastest one. precision: `float32` or `bfloat16`, which is also part of the `id`.
    keeps_features: whether features are kept, which all metrics but the Fréchet distance need, or their moments alone.
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


def extractor_id(name: str, precision: str) -> str:
    """Return the id of an extractor: features in bfloat16 differ, and so does their name."""
    return name if precision == "float32" else f"{name}_bf16"


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
    """Fold each batch norm into the convolution before it. The network must be in eval mode.

    names: attributes of a convolution and of its batch norm within one module.
    """
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

    def __init__(self, extract: FeatureExtractor) -> None:
        self.extract = extract
        self._blocks = [FeatureMoments.empty(extract.dimension) for _ in range(BLOCKS)]
        self._features: list[Tensor] = []
        self._buffer: list[Tensor] = []
        self._counted = 0

    def add_all(self, batches: Iterable[Tensor]) -> "Collector":
        """Add all batches of uint8 images, and return this collector."""
        for batch in batches:
            self.add(batch)
        return self

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
