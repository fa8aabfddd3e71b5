"""The two networks of a GAN, and the standard DCGAN (Radford et al. 2015, arXiv 1511.06434, figure 1).

Images are float32 `(N, C, H, W)` in [-1, 1]. A discriminator returns logits, not probabilities. Each network is built
from one frozen config, which is stored beside its weights. The networks of other recipes are in `recipes.py`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from kedro_dcgan.config import ArchitectureName, InitialisationName
from kedro_dcgan.model.layers import Conv2d, ConvTranspose2d, Dropout

# The channels of the standard DCGAN double from stage to stage, up to this multiple of `width`.
MAX_WIDTH_FACTOR = 16
# The largest micro-batch whose real and fake images go through D in one pass. A joint pass doubles the activations.
MAX_JOINT_IMAGES = 32


@dataclass(frozen=True)
class GeneratorConfig:
    """A generator of images `(channels, image_size, image_size)`.

    A class-conditional one has `classes`, their names. `class_shares`, which add up to 1, are those of the images that
    it was trained on: images without a requested class are drawn from them.
    """

    architecture: ArchitectureName
    image_size: int
    channels: int
    latent_dim: int
    width: int  # channels of the layer next to the image
    latents: Literal["normal", "uniform"] = "normal"  # the standard normal distribution, or uniform in [-1, 1]
    classes: tuple[str, ...] = ()
    class_shares: tuple[float, ...] = ()

    @property
    def input_dim(self) -> int:
        """The width of the generator's input: a latent and, for conditional generators, the class as a one-hot vector.

        The kernel of the first layer is then also the embedding of the classes.
        """
        return self.latent_dim + len(self.classes)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """A discriminator of images `(channels, image_size, image_size)`."""

    architecture: ArchitectureName
    image_size: int
    channels: int
    width: int
    batch_norm: bool = True
    spectral_norm: bool = False
    dropout: float | None = None  # the rate after each activation; None: that of the architecture
    classes: int = 0  # 0: not conditional

    @property
    def outputs(self) -> int:
        """The channels of the last layer: the logit and, for conditional ones, a projection of each class."""
        return 1 + self.classes


class Generator(nn.Module):
    """Inputs `(N, input_dim)` to images `(N, channels, size, size)` in [-1, 1].

    Inputs are latents, with one-hot classes if the generator has any (`sampling.with_classes`).
    """

    def __init__(self, config: GeneratorConfig, *layers: nn.Module) -> None:
        super().__init__()
        self.config, self.layers = config, nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        return self.layers(latents)


class Discriminator(nn.Module):
    """Images `(N, channels, size, size)` in [-1, 1] to logits `(N,)`, higher for real images.

    A conditional one judges images of the classes `(N,)`; without them, it returns the logits `(N, classes)` of each
    image as one of each class. Such a logit is f(x) + <e(y), phi(x)>, the projection of Miyato and Koyama 2018 (arXiv
    1802.05637, equation 4): phi are the inputs of the last layer, and e the kernels of its outputs after the first.
    """

    def __init__(self, config: DiscriminatorConfig, *layers: nn.Module) -> None:
        super().__init__()
        self.config, self.layers = config, nn.Sequential(*layers)
        # Computed here, because distributed training replaces layers later.
        self.has_batch_norm = any(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for layer in layers)
        has_dropout = any(isinstance(layer, Dropout) for layer in layers)
        self._judges_each_image_alone = not (self.has_batch_norm or has_dropout or config.spectral_norm)

    def forward(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        outputs = self.layers(images).flatten(1)  # (N, 1 + classes)
        if not self.config.classes:
            if classes is not None:
                raise ValueError("classes must be given to a conditional discriminator only (this one has none)")
            return outputs[:, 0]
        # In float32, because bfloat16 would round the sum.
        logits = outputs[:, :1].float() + outputs[:, 1:].float()
        return logits if classes is None else logits_of(logits, classes)

    def has_joint_pass(self, images: int) -> bool:
        """Return whether a training step passes `images` real and as many fake images through D together.

        With batch norm, dropout or spectral norm, they take separate passes, as in the published recipes: the
        statistics of batch norm would mix real and fake images, and random masks and power iterations would change.
        """
        return images <= MAX_JOINT_IMAGES and self._judges_each_image_alone


class DcganGenerator(Generator):
    """A projection to a side of 4 to 7, then stages that double it: 4x4 transposed convolution, batch norm, ReLU.

    The channels halve from stage to stage and end at `width` before the image. `output_padding` makes a size odd.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        first, *sizes = stage_sizes(config.image_size)
        widths = [config.width * min(2**level, MAX_WIDTH_FACTOR) for level in reversed(range(len(sizes)))]
        layers: list[nn.Module] = [
            nn.Unflatten(1, (config.input_dim, 1, 1)),
            ConvTranspose2d(config.input_dim, widths[0], first, bias=False),  # (N, widths[0], first, first)
        ]
        size = first
        for width, next_width, next_size in zip(widths, [*widths[1:], config.channels], sizes, strict=True):
            layers += [
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                ConvTranspose2d(width, next_width, 4, 2, 1, output_padding=next_size - 2 * size, bias=False),
            ]
            size = next_size
        super().__init__(config, *layers, nn.Tanh())


class DcganDiscriminator(Discriminator):
    """The generator's mirror image: 4x4 convolutions of stride 2 with batch norm (except the first) and LeakyReLU(0.2).

    A last convolution over the remaining 4 to 7 pixels gives the logit.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        last, *sizes = stage_sizes(config.image_size)
        layers: list[nn.Module] = []
        channels = config.channels
        for level in range(len(sizes)):
            width = config.width * min(2**level, MAX_WIDTH_FACTOR)
            # Without batch norm, the convolution gets the bias that batch norm makes redundant.
            has_bias = level > 0 and not config.batch_norm
            layers.append(normalised(Conv2d(channels, width, 4, 2, 1, bias=has_bias), config))
            if level > 0 and config.batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers += activation(config)
            channels = width
        super().__init__(config, *layers, normalised(Conv2d(channels, config.outputs, last, bias=False), config))


def one_hot(classes: Tensor, count: int) -> Tensor:
    """Return the classes `(N,)` as one-hot vectors `(N, count)`, float32.

    torch's own `one_hot` reads its argument on the host, and indexing copies to the device if it must be deterministic:
    a CUDA graph can capture neither.
    """
    return (classes[:, None] == torch.arange(count, device=classes.device)).float()


def logits_of(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the logit `(N,)` of each image's class, of the logits of all classes `(N, count)`."""
    return (logits * one_hot(classes, logits.shape[1])).sum(dim=1)


def stage_sizes(image_size: int) -> list[int]:
    """Return the sizes from 4 to 7 pixels up to the image; an odd size is one more than twice the one before."""
    sizes = [image_size]
    while sizes[0] > 7:
        sizes.insert(0, sizes[0] // 2)
    return sizes


def activation(config: DiscriminatorConfig, slope: float = 0.2, dropout: float = 0.0) -> list[nn.Module]:
    """Return LeakyReLU and, at a rate above 0, dropout (Salimans et al. 2016); the config's rate wins."""
    rate = dropout if config.dropout is None else config.dropout
    return [nn.LeakyReLU(slope, inplace=True), *([Dropout(rate)] if rate else [])]


def normalised(layer: nn.Module, config: DiscriminatorConfig) -> nn.Module:
    """Divide a layer's kernel by its largest singular value, if configured (Miyato et al. 2018, arXiv 1802.05957)."""
    return spectral_norm(layer) if config.spectral_norm else layer


def initialise(network: nn.Module, generator: torch.Generator, initialisation: InitialisationName = "normal") -> None:
    """Draw the weights of a new network.

    Kernels are from N(0, 0.02) and batch-norm gains from N(1, 0.02) (Radford et al. 2015, section 4, and their code).
    With `he`, kernels in front of LeakyReLU(0.2) keep the variance of their inputs (He et al. 2015, arXiv 1502.01852,
    section 2.2): their standard deviation is sqrt(2 / (1.04 fan_in)). It is meant for discriminators without batch
    norm. It does not suit generators, because torch computes another fan-in for transposed convolutions.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            # Under spectral norm, `weight` is computed from another parameter.
            kernel = dict(module.named_parameters()).get("parametrizations.weight.original", module.weight)
            if initialisation == "he":
                nn.init.kaiming_normal_(kernel, a=0.2, generator=generator)
            else:
                nn.init.normal_(kernel, 0.0, 0.02, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
            nn.init.normal_(module.weight, 1.0, 0.02, generator=generator)
            nn.init.zeros_(module.bias)
