"""Changes that a discriminator of any architecture can be given, each on its spec."""

from dataclasses import replace

from kedro_dcgan.model.specs import BatchNorm, Conv, Dense, DiscriminatorSpec, Dropout, Layer, LeakyRelu


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
