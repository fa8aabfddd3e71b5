"""Penalties on the gradients of the discriminator with respect to its augmented images `(n, C, H, W)`.

A conditional discriminator needs their classes `(n,)`.

Each image is penalised on its own, but batch norm makes a logit depend on the whole batch. So a discriminator with a
penalty must not have batch norm (see `plan.require_networks`). Penalties use a separate forward pass in float32.
"""

import torch
from torch import Tensor, nn

from kedro_dcgan.training.data import Draws


def r1_penalty(
    discriminator: nn.Module, real_images: Tensor, gamma: float | Tensor, classes: Tensor | None = None
) -> Tensor:
    """Return gamma / 2 * E[|grad D(x)|^2] at real images x (Mescheder et al. 2018, arXiv 1801.04406, equation 9)."""
    return gamma / 2 * _gradients(discriminator, real_images, classes).square().sum(dim=1).mean()


class AdaptiveR1(nn.Module):
    """The weight gamma of the R1 penalty, adapted to how sure the discriminator is (`training.penalties.r1: auto`).

    Its confidence is the mean probability that it gives the truth, on real and on fake images: 0.5 if it cannot tell
    them apart, 1 if it is always sure. Gamma rises while the confidence is above 0.6 and falls while it is below, by a
    factor of e in 2,000 images at most. (Karras et al. 2020, arXiv 2006.06676, control augmentation in this way.)
    """

    gamma: Tensor
    confidence: Tensor

    TARGET, BAND, LEAST, MOST = 0.6, 0.05, 0.5, 100.0
    # The confidence is a running mean over about as many images.
    IMAGES_OF_MEAN, IMAGES_OF_FACTOR = 500, 2000

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("gamma", torch.tensor(1.0))
        self.register_buffer("confidence", torch.tensor(self.TARGET))

    @torch.no_grad()
    def adapt(self, probabilities: Tensor, images: int) -> None:
        """Adapt gamma to the mean sigmoids of D on real and on fake images, `(2,)`, after a step of `images`."""
        real, fake = probabilities
        self.confidence.lerp_((real + 1 - fake) / 2, min(1.0, images / self.IMAGES_OF_MEAN))
        excess = ((self.confidence - self.TARGET) / self.BAND).clamp(-1, 1)
        self.gamma.mul_(torch.exp(excess * images / self.IMAGES_OF_FACTOR)).clamp_(self.LEAST, self.MOST)


def gradient_penalty(
    discriminator: nn.Module,
    real_images: Tensor,
    fake_images: Tensor,
    weight: float,
    draws: Draws,
    classes: Tensor | None = None,
) -> Tensor:
    """Return weight * E[(|grad D(x)| - 1)^2] at points x between real and fake images, one per pair of equal classes.

    Gulrajani et al. 2017 (arXiv 1704.00028), equation 3.
    """
    between = torch.lerp(fake_images.float(), real_images.float(), draws.uniform(len(real_images)))
    return weight * (_gradients(discriminator, between, classes).norm(dim=1) - 1).square().mean()


def _gradients(discriminator: nn.Module, images: Tensor, classes: Tensor | None) -> Tensor:
    # (n, C * H * W)
    images = images.detach().float().requires_grad_(True)
    # Run eagerly, because torch.compile supports no second derivative.
    with torch.autocast(images.device.type, enabled=False), torch.compiler.set_stance("force_eager"):
        logits = discriminator(images) if classes is None else discriminator(images, classes)
    (gradients,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradients.flatten(1)
