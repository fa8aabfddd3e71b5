"""Networks as data: a spec lists the layers that a network is built from, in the order of the forward pass.

A spec is JSON-able, so a generator on disk is its weights and its spec, and no code is pickled.
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

Padding = int | Literal["same"]


@dataclass(frozen=True)
class Conv:
    """A convolution with a square kernel; `same` pads as Keras does, so that size / stride comes out."""

    kind: ClassVar = "conv"
    channels: int
    kernel: int
    stride: int = 1
    padding: Padding = 0
    bias: bool = False
    spectral_norm: bool = False


@dataclass(frozen=True)
class ConvTranspose:
    """A transposed convolution with a square kernel; `same` crops as Keras does, so that size * stride comes out.

    `output_padding` rows and columns are added below and at the right, to reach odd sizes.
    """

    kind: ClassVar = "conv_transpose"
    channels: int
    kernel: int
    stride: int = 1
    padding: Padding = 0
    bias: bool = False
    output_padding: int = 0


@dataclass(frozen=True)
class Dense:
    """A fully connected layer: `(N, inputs)` to `(N, units)`."""

    kind: ClassVar = "dense"
    units: int
    bias: bool = True
    spectral_norm: bool = False


@dataclass(frozen=True)
class BatchNorm:
    """Batch norm of channels or units. `momentum` is the share of the new batch in the running statistics."""

    kind: ClassVar = "batch_norm"
    affine: bool = True
    epsilon: float = 1e-5
    momentum: float = 0.1


@dataclass(frozen=True)
class Relu:
    """max(x, 0)."""

    kind: ClassVar = "relu"


@dataclass(frozen=True)
class LeakyRelu:
    """x, or slope * x where x is negative."""

    kind: ClassVar = "leaky_relu"
    slope: float = 0.2


@dataclass(frozen=True)
class Tanh:
    """To [-1, 1]."""

    kind: ClassVar = "tanh"


@dataclass(frozen=True)
class Dropout:
    """Zeros for a share of the values, in training."""

    kind: ClassVar = "dropout"
    rate: float


@dataclass(frozen=True)
class Reshape:
    """`(N, channels * height * width)` to `(N, channels, height, width)`."""

    kind: ClassVar = "reshape"
    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class Flatten:
    """`(N, C, H, W)` to `(N, C * H * W)`."""

    kind: ClassVar = "flatten"


Layer = Conv | ConvTranspose | Dense | BatchNorm | Relu | LeakyRelu | Tanh | Dropout | Reshape | Flatten
_KINDS: dict[str, type[Layer]] = {
    kind.kind: kind
    for kind in (Conv, ConvTranspose, Dense, BatchNorm, Relu, LeakyRelu, Tanh, Dropout, Reshape, Flatten)
}


@dataclass(frozen=True)
class GeneratorSpec:
    """Latents `(N, latent_dim)` to images `(N, channels, image_size, image_size)` in [-1, 1].

    `latents` is the distribution that it is trained for: standard normal, or uniform in [-1, 1].
    """

    latent_dim: int
    image_size: int
    channels: int
    layers: tuple[Layer, ...]
    latents: Literal["normal", "uniform"] = "normal"


@dataclass(frozen=True)
class DiscriminatorSpec:
    """Images `(N, channels, image_size, image_size)` in [-1, 1] to logits `(N,)`."""

    image_size: int
    channels: int
    layers: tuple[Layer, ...]

    @property
    def judges_each_image_alone(self) -> bool:
        """Whether an image's logit is independent of the rest of the batch, and a pass updates no buffers."""
        is_spectral = any(getattr(layer, "spectral_norm", False) for layer in self.layers)
        return not is_spectral and not any(isinstance(layer, BatchNorm | Dropout) for layer in self.layers)


def generator_spec_from_dict(record: dict[str, Any]) -> GeneratorSpec:
    """Read back what `spec_to_dict` wrote.

    Raises:
        TypeError, KeyError: if a field is missing or unknown.
    """
    layers = tuple(
        _KINDS[layer["kind"]](**{k: v for k, v in layer.items() if k != "kind"}) for layer in record["layers"]
    )
    return GeneratorSpec(**{**record, "layers": layers})


def spec_to_dict(spec: GeneratorSpec | DiscriminatorSpec) -> dict[str, Any]:
    """Return the spec as plain JSON values."""
    return {**asdict(spec), "layers": [{"kind": layer.kind, **asdict(layer)} for layer in spec.layers]}
