"""The training step of R3GAN (Huang et al. 2024, arXiv 2501.05441) on our networks, reimplemented from its formulas.

Each real image is paired with a fake one: D learns to score it higher, G to score it lower. R1 and R2, the gradient
penalties at real and at fake images, apply in every step. Learning rates, Adam's beta2, gamma and the EMA's half-life
follow half a cosine from their first to their last value. The paper stretches the cosine over 20 million images; here
it lasts for the whole training, and the last half-life is the same share of it: 500,000 of 20 million images.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.model.sampling import draw_latents
from kedro_dcgan.training.devices import Compute
from kedro_dcgan.training.ema import update_average
from kedro_dcgan.training.regularisation import r1_penalty
from kedro_dcgan.training.state import TrainingState

# The first gamma by image size: that of CIFAR-10 and that of FFHQ-64. The last is a tenth.
GAMMA = {32: 0.05, 64: 2.0}
# The last learning rate as a share of the first, the last beta2, and the last half-life as a share of the training.
LAST_RATE, LAST_BETA2, LAST_HALF_LIFE = 0.25, 0.99, 1 / 40


class R3gan:
    """A training step, called with real images `(N, C, H, W)` in [-1, 1]; `total` images make the training."""

    def __init__(self, state: TrainingState, training: TrainingParameters, compute: Compute, total: int) -> None:
        self._state, self._training, self._compute, self._total = state, training, compute, total
        self._gamma = training.penalties.r1 or GAMMA[state.generator.config.image_size]
        self._source = torch.Generator().manual_seed(training.seed + 1)

    def __call__(self, images: Tensor) -> None:
        """Update D, G and the EMA."""
        state = self._state
        share = min(1.0, state.images_seen / self._total)
        self._schedule(share)
        real = images.to(self._compute.device).contiguous(memory_format=torch.channels_last)
        latents = draw_latents(len(real), state.generator.config, self._source).to(real.device)
        with self._compute.autocast():
            fake = state.generator(latents)
        self._update_discriminator(real, fake.detach(), between(self._gamma, self._gamma / 10, share))
        self._update_generator(real, fake)
        half_life = between(0, LAST_HALF_LIFE * self._total, share)
        update_average(state.shown_generator, state.generator, 0.5 ** (len(real) / half_life) if half_life else 0.0)
        state.images_seen += len(real)

    def _schedule(self, share: float) -> None:
        networks = self._training.generator, self._training.discriminator
        optimisers = self._state.generator_optimiser, self._state.discriminator_optimiser
        for optimiser, network in zip(optimisers, networks, strict=True):
            beta1, beta2 = network.betas
            for group in optimiser.param_groups:
                group["lr"] = between(network.learning_rate, LAST_RATE * network.learning_rate, share)
                group["betas"] = beta1, between(beta2, LAST_BETA2, share)

    def _update_discriminator(self, real: Tensor, fake: Tensor, gamma: float) -> None:
        network, optimiser = self._state.discriminator, self._state.discriminator_optimiser
        optimiser.zero_grad(set_to_none=True)
        real_logits, fake_logits = self._logits(torch.cat([real, fake])).chunk(2)
        # R2 is R1 at the fakes.
        penalty = r1_penalty(network, real, gamma) + r1_penalty(network, fake, gamma)
        (softplus(fake_logits - real_logits).mean() + penalty).backward()
        optimiser.step()

    def _update_generator(self, real: Tensor, fake: Tensor) -> None:
        network, optimiser = self._state.discriminator, self._state.generator_optimiser
        optimiser.zero_grad(set_to_none=True)
        network.requires_grad_(False)
        with torch.no_grad():
            real_logits = self._logits(real)
        softplus(real_logits - self._logits(fake)).mean().backward()
        network.requires_grad_(True)
        optimiser.step()

    def _logits(self, images: Tensor) -> Tensor:
        with self._compute.autocast():
            return self._state.discriminator(images).float()


def between(first: float, last: float, share: float) -> float:
    """Return the value of half a cosine from `first` to `last` after a share of the training."""
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
