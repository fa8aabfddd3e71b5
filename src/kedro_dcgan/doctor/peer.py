"""The peer: the training step of pytorch/examples' dcgan, reimplemented from its published algorithm.

NCHW float32 and eager; sigmoid and binary cross-entropy; weight gradients of D computed and discarded in G's update;
three losses read from the device in every step. Its recipe: one learning rate of 2e-4, betas (0.5, 0.999), batches of
64, weights from N(0, 0.02), and samples from the raw weights with batch norm in training mode.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from kedro_dcgan.model.networks import DiscriminatorConfig, GeneratorConfig, initialise
from kedro_dcgan.model.recipes import build_discriminator, build_generator
from kedro_dcgan.model.sampling import to_uint8

BATCH = 64


class Peer:
    """A training step, called with real images `(N, C, H, W)` in [-1, 1]."""

    def __init__(
        self, configs: tuple[GeneratorConfig, DiscriminatorConfig], device: torch.device, seed: int = 0
    ) -> None:
        self._device, source = device, torch.Generator().manual_seed(seed)
        self.generator, self._discriminator = build_generator(configs[0]), build_discriminator(configs[1])
        for network in (self.generator, self._discriminator):
            initialise(network, source)
            network.to(device)
        networks = self.generator, self._discriminator
        self._optimisers = [torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in networks]
        self._criterion = nn.BCELoss()

    def __call__(self, images: Tensor) -> tuple[float, float, float]:
        """Train one step; return D's mean outputs for real and fake images, and G's loss."""
        generator, discriminator, criterion = self.generator, self._discriminator, self._criterion
        real = images.to(self._device)
        ones, zeros = torch.ones(len(real), device=self._device), torch.zeros(len(real), device=self._device)
        discriminator.zero_grad()
        real_output = discriminator(real).sigmoid()
        criterion(real_output, ones).backward()
        fake = generator(torch.randn(len(real), generator.config.latent_dim, device=self._device))
        fake_output = discriminator(fake.detach()).sigmoid()
        criterion(fake_output, zeros).backward()
        self._optimisers[1].step()
        generator.zero_grad()
        loss = criterion(discriminator(fake).sigmoid(), ones)
        loss.backward()
        self._optimisers[0].step()
        return real_output.mean().item(), fake_output.mean().item(), loss.item()

    @torch.no_grad()
    def samples(self, count: int, seed: int) -> Iterator[Tensor]:
        """Yield `count` uint8 images in batches of 64."""
        source = torch.Generator().manual_seed(seed)
        for start in range(0, count, BATCH):
            latents = torch.randn(BATCH, self.generator.config.latent_dim, generator=source).to(self._device)
            yield to_uint8(self.generator(latents))[: count - start].cpu()
