"""Networks by name: the standard DCGAN and those of the recipes. A new one is a new file and a line here."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from kedro_dcgan.config import ArchitectureName, TrainingParameters
from kedro_dcgan.model.recipes import dcgan, digits28, notebook28, simpsons200
from kedro_dcgan.model.specs import BatchNorm, Conv, Dense, DiscriminatorSpec, Dropout, GeneratorSpec, Layer, LeakyRelu


class Architecture(NamedTuple):
    """From size, channels (and latents) and width to the specs of both networks."""

    generator: Callable[[int, int, int, int], GeneratorSpec]
    discriminator: Callable[[int, int, int], DiscriminatorSpec]


ARCHITECTURES: dict[ArchitectureName, Architecture] = {
    "dcgan": Architecture(dcgan.generator, dcgan.discriminator),
    "digits28": Architecture(digits28.generator, digits28.discriminator),
    "notebook28": Architecture(notebook28.generator, notebook28.discriminator),
    "simpsons200": Architecture(simpsons200.generator, simpsons200.discriminator),
    "simpsons200_light": Architecture(simpsons200.generator, simpsons200.light_discriminator),
}


def network_specs(
    image_size: int, channels: int, training: TrainingParameters
) -> tuple[GeneratorSpec, DiscriminatorSpec]:
    """Return the two networks that the parameters ask for, for images of this shape.

    Raises:
        ParameterError: if the architecture does not take this size.
    """
    architecture, options = ARCHITECTURES[training.architecture], training.discriminator
    generator = architecture.generator(image_size, channels, training.latent_dim, training.generator.width)
    generator = replace(generator, latents=training.latents)
    discriminator = architecture.discriminator(image_size, channels, options.width)
    if options.dropout is not None:
        discriminator = with_dropout(discriminator, options.dropout)
    if not options.batch_norm:
        discriminator = without_batch_norm(discriminator)
    if options.spectral_norm:
        discriminator = with_spectral_norm(discriminator)
    return generator, discriminator


# TODO(merge) gan.architectures.variants


def with_dropout(spec: DiscriminatorSpec, rate: float) -> DiscriminatorSpec:
    """Put dropout behind each activation (Salimans et al. 2016), in the place of what dropout there was."""
    layers: list[Layer] = []
    for layer in spec.layers:
        if not isinstance(layer, Dropout):
            layers += [layer, *([Dropout(rate)] if isinstance(layer, LeakyRelu) and rate else [])]
    return replace(spec, layers=tuple(layers))


def with_spectral_norm(spec: DiscriminatorSpec) -> DiscriminatorSpec:
    """Normalise each kernel by its largest singular value (Miyato et al. 2018, arXiv 1802.05957)."""
    layers = (replace(layer, spectral_norm=True) if isinstance(layer, Conv | Dense) else layer for layer in spec.layers)
    return replace(spec, layers=tuple(layers))


def without_batch_norm(spec: DiscriminatorSpec) -> DiscriminatorSpec:
    """Leave the batch norm out; the convolutions before it get the bias that it made needless."""
    layers: list[Layer] = []
    for layer in spec.layers:
        if not isinstance(layer, BatchNorm):
            layers.append(layer)
        elif layers and isinstance(layers[-1], Conv | Dense):
            layers[-1] = replace(layers[-1], bias=True)
    return replace(spec, layers=tuple(layers))
