"""Penalties on the gradients of the discriminator with respect to its augmented images `(n, C, H, W)`.

Each image is penalised on its own, but batch norm makes a logit depend on the whole batch. So a discriminator with a
penalty must not have batch norm. Penalties take a forward pass of their own, in float32 whatever the precision.
"""

import torch
from torch import Tensor, nn

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.errors import ParameterError
from kedro_dcgan.model.networks import Discriminator
from kedro_dcgan.training.data import Draws


def r1_penalty(discriminator: nn.Module, real_images: Tensor, gamma: float) -> Tensor:
    """Return gamma / 2 * E[|grad D(x)|^2] at real images x (Mescheder et al. 2018, arXiv 1801.04406, equation 9)."""
    return gamma / 2 * _gradients(discriminator, real_images).square().sum(dim=1).mean()


def gradient_penalty(
    discriminator: nn.Module, real_images: Tensor, fake_images: Tensor, weight: float, draws: Draws
) -> Tensor:
    """Return weight * E[(|grad D(x)| - 1)^2] at points x between real and fake images, one per pair.

    Gulrajani et al. 2017 (arXiv 1704.00028), equation 3.
    """
    between = torch.lerp(fake_images.float(), real_images.float(), draws.uniform(len(real_images)))
    return weight * (_gradients(discriminator, between).norm(dim=1) - 1).square().mean()


def require_no_batch_norm(discriminator: Discriminator, training: TrainingParameters) -> None:
    """Refuse to penalise the gradients of a discriminator with batch norm.

    Raises:
        ParameterError: if the parameters ask for both.
    """
    has_penalty = training.penalties.r1 > 0 or training.loss == "wgan_gp"
    if has_penalty and discriminator.has_batch_norm:
        if training.loss == "wgan_gp":
            which, other = "loss` wgan_gp", "loss=non_saturating"
        else:
            which, other = f"penalties.r1` {training.penalties.r1:g}", "penalties.r1=0"
        raise ParameterError(
            "`training.discriminator.batch_norm` must be false where the gradients are penalised (got true, with "
            f"`training.{which}). Pass --params training.discriminator.batch_norm=false, or training.{other}."
        )


def _gradients(discriminator: nn.Module, images: Tensor) -> Tensor:
    # (n, C * H * W)
    images = images.detach().float().requires_grad_(True)
    # Run eagerly, because torch.compile supports no second derivative.
    with torch.autocast(images.device.type, enabled=False), torch.compiler.set_stance("force_eager"):
        logits = discriminator(images)
    (gradients,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradients.flatten(1)
