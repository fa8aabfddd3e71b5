"""Networks as data: a spec lists the stages that a network is built from.

A spec is JSON-able, so a generator on disk is its weights and its spec, and no code is pickled.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from kedro_dcgan.errors import ParameterError
from kedro_dcgan.parameters import TrainingParameters

MAX_WIDTH_FACTOR = 16


@dataclass(frozen=True)
class Stage:
    """One convolution (or transposed one), its batch norm and its activation. Kernels are square."""

    kind: Literal["conv", "conv_transpose"]
    channels: int
    kernel: int
    stride: int
    padding: int
    norm: bool
    activation: Literal["relu", "leaky_relu", "tanh", "none"]


@dataclass(frozen=True)
class GeneratorSpec:
    """Latents `(N, latent_dim)` to images `(N, channels, image_size, image_size)` in [-1, 1]."""

    latent_dim: int
    image_size: int
    channels: int
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class DiscriminatorSpec:
    """Images `(N, channels, image_size, image_size)` in [-1, 1] to logits `(N,)`."""

    image_size: int
    channels: int
    stages: tuple[Stage, ...]


def dcgan_generator(image_size: int, channels: int, latent_dim: int, width: int) -> GeneratorSpec:
    """Return the standard DCGAN generator (Radford et al. 2015, arXiv 1511.06434, figure 1; 4x4 kernels).

    A projection to `start x start` pixels, then stages that double the size: each is a 4x4 transposed
    convolution of stride 2 with batch norm and ReLU, the last one plain with tanh. The channels halve
    from stage to stage and end at `width` before the image.

    Raises:
        ParameterError: if no start of 4 to 7 pixels reaches `image_size` by doubling.
    """
    start, doublings = _start_and_doublings(image_size)
    factors = [min(2**level, MAX_WIDTH_FACTOR) for level in reversed(range(doublings))]
    stages = [Stage("conv_transpose", width * factors[0], start, 1, 0, True, "relu")]
    stages += [Stage("conv_transpose", width * factor, 4, 2, 1, True, "relu") for factor in factors[1:]]
    stages += [Stage("conv_transpose", channels, 4, 2, 1, False, "tanh")]
    return GeneratorSpec(latent_dim, image_size, channels, tuple(stages))


def dcgan_discriminator(image_size: int, channels: int, width: int) -> DiscriminatorSpec:
    """Return the standard DCGAN discriminator, the generator's mirror image.

    4x4 convolutions of stride 2 with LeakyReLU(0.2), batch norm in all but the first, and a last
    convolution over what is left of the image that gives one logit.

    Raises:
        ParameterError: as `dcgan_generator`.
    """
    start, doublings = _start_and_doublings(image_size)
    factors = [min(2**level, MAX_WIDTH_FACTOR) for level in range(doublings)]
    stages = [
        Stage("conv", width * factor, 4, 2, 1, norm=level > 0, activation="leaky_relu")
        for level, factor in enumerate(factors)
    ]
    stages += [Stage("conv", 1, start, 1, 0, False, "none")]
    return DiscriminatorSpec(image_size, channels, tuple(stages))


def network_specs(
    image_size: int, channels: int, training: TrainingParameters
) -> tuple[GeneratorSpec, DiscriminatorSpec]:
    """Return the two networks that the parameters ask for, for images of this shape.

    Raises:
        ParameterError: as `dcgan_generator`.
    """
    return (
        dcgan_generator(image_size, channels, training.latent_dim, training.generator.width),
        dcgan_discriminator(image_size, channels, training.discriminator.width),
    )


def generator_spec_from_dict(record: dict[str, Any]) -> GeneratorSpec:
    """Read back what `dataclasses.asdict` wrote.

    Raises:
        TypeError, KeyError: if a field is missing or unknown.
    """
    return GeneratorSpec(**{**record, "stages": tuple(Stage(**stage) for stage in record["stages"])})


def spec_to_dict(spec: GeneratorSpec | DiscriminatorSpec) -> dict[str, Any]:
    """Return the spec as plain JSON values."""
    return {**asdict(spec), "stages": [asdict(stage) for stage in spec.stages]}


def _start_and_doublings(image_size: int) -> tuple[int, int]:
    size, doublings = image_size, 0
    while size % 2 == 0 and size > 7:
        size, doublings = size // 2, doublings + 1
    if not 4 <= size <= 7 or doublings == 0:
        fitting = sorted(
            (start << level for start in range(4, 8) for level in range(1, 8)), key=lambda s: abs(s - image_size)
        )
        near = " or ".join(str(size) for size in sorted(fitting[:2]))
        raise ParameterError(
            f"`preprocessing.image_size` must be 4, 5, 6 or 7 doubled some times (got {image_size}). "
            f"The nearest sizes are {near}."
        )
    return size, doublings
