"""From images to features: what all extractors have in common, and the keeping of what they give."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kedro_dcgan.evaluation.frechet import FeatureMoments
from kedro_dcgan.evaluation.intervals import BLOCKS

# Moments are large: they are added up for many images at once.
_ROWS = 2000


class FeatureExtractor(Protocol):
    """Maps uint8 images `(N, 1 or 3, H, W)` to float32 features `(N, dimension)`; `batch_size` is the fastest.

    precision: of the network's arithmetic, `float32` or `bfloat16`; the latter stands in the `id`, too.
    keeps_features: whether features are kept, which all but the Fréchet distance need, or moments alone.
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


def id_of(name: str, precision: str) -> str:
    """Return an extractor's id: in bfloat16 its features are others, and so is its name."""
    return name if precision == "float32" else f"{name}_bf16"


@contextmanager
def arithmetic(device: torch.device, precision: str) -> Iterator[None]:
    """Run a network without gradients in this precision; float32 is full float32 on a GPU, too, and never TF32."""
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


class Collector:
    """Takes images, batch by batch, and keeps the moments of their features in 10 blocks, by turns.

    The features `(N, dimension)` are kept, too, if the extractor says so; if not, memory does not depend on N.
    """

    def __init__(self, extract: FeatureExtractor) -> None:
        self.extract = extract
        self._blocks = [FeatureMoments.empty(extract.dimension) for _ in range(BLOCKS)]
        self._kept: list[Tensor] = []
        self._pending: list[Tensor] = []
        self._counted = 0

    def add_all(self, batches: Iterable[Tensor]) -> "Collector":
        """Take all batches of uint8 images, and return this."""
        for batch in batches:
            self.add(batch)
        return self

    def add(self, images: Tensor) -> None:
        """Take uint8 images, in the batches that the extractor likes best."""
        for batch in images.split(self.extract.batch_size):
            features = self.extract(batch).cpu()
            self._pending.append(features)
            if self.extract.keeps_features:
                self._kept.append(features)
        if sum(map(len, self._pending)) >= _ROWS:
            self._count()

    @property
    def blocks(self) -> list[FeatureMoments]:
        """The moments of every tenth image, beginning with the first, the second, …."""
        self._count()
        return self._blocks

    @property
    def moments(self) -> FeatureMoments:
        """The moments of all images."""
        blocks = self.blocks
        return sum(blocks[1:], blocks[0])

    @property
    def features(self) -> Tensor:
        """The features of all images, in their order, if they were kept."""
        return torch.cat(self._kept)

    def _count(self) -> None:
        if not self._pending:
            return
        features, self._pending = torch.cat(self._pending), []
        for number in range(BLOCKS):
            self._blocks[number] += FeatureMoments.of(features[(number - self._counted) % BLOCKS :: BLOCKS])
        self._counted += len(features)


# TODO(merge) metrics.folding


def fold_batch_norms(network: nn.Module, names: Iterable[tuple[str, str]]) -> None:
    """Make one convolution of each convolution and the batch norm behind it, whose statistics are fixed.

    names: what both are called where they belong to one module of the network, which must be in eval mode.
    """
    for module in list(network.modules()):
        for conv_name, norm_name in names:
            conv, norm = getattr(module, conv_name, None), getattr(module, norm_name, None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
