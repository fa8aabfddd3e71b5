"""Latents from a seed, images from latents, and the scale of pixel values.

Pixels are uint8 outside the networks and float32 in [-1, 1] inside. An image depends only on its own latent.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from kedro_dcgan.errors import DataError
from kedro_dcgan.model.networks import Generator, GeneratorConfig


def sample_latents(count: int, config: GeneratorConfig, seed: int) -> Tensor:
    """Return `(count, latent_dim)` float32 latents of the distribution that a generator takes, on the CPU."""
    return torch.cat(list(latent_batches(count, config, seed)))


def latent_batches(count: int, config: GeneratorConfig, seed: int, batch_size: int = 64) -> Iterator[Tensor]:
    """Yield the rows of `sample_latents` in batches `(<= batch_size, latent_dim)`, so that any count fits in memory."""
    source = torch.Generator().manual_seed(seed)
    for start in range(0, count, batch_size):
        rows = range(min(batch_size, count - start))
        # One by one, so that the first 16 of 100 equal a sample of 16: torch fills small and large tensors differently.
        yield torch.cat([draw_latents(1, config, source) for _ in rows])


def draw_latents(count: int, config: GeneratorConfig, source: torch.Generator) -> Tensor:
    """Return `(count, latent_dim)` float32 latents, on the CPU: standard normal, or uniform in [-1, 1]."""
    if config.latents == "normal":
        return torch.randn(count, config.latent_dim, generator=source)
    return torch.rand(count, config.latent_dim, generator=source) * 2 - 1


def generate(generator: Generator, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield uint8 images `(N, C, H, W)` on the CPU per batch of latents, in eval mode; raise DataError for NaN."""
    device, was_training = next(generator.parameters()).device, generator.training
    generator.eval()
    try:
        with torch.inference_mode():
            for batch in batches:
                yield to_uint8(generator(batch.to(device))).cpu()
    finally:
        generator.train(was_training)


def generate_all(generator: Generator, latents: Tensor) -> Tensor:
    """Return the images of all `latents`, uint8 `(N, C, H, W)`."""
    return torch.cat(list(generate(generator, latents.split(64))))


def to_model_range(images: np.ndarray | Tensor) -> Tensor:
    """Map uint8 0..255 to float32 [-1, 1] by `x / 127.5 - 1` (Radford et al. 2015, arXiv 1511.06434, section 4)."""
    return torch.as_tensor(images).to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Map [-1, 1] to uint8 0..255, rounded and clamped: the inverse of `to_model_range`; raise DataError for NaN."""
    if torch.isnan(images).any():
        raise DataError("`images` must hold numbers (got NaN). The generator that made them has diverged.")
    return images.to(torch.float32).mul(127.5).add_(128.0).clamp_(0, 255).to(torch.uint8)
