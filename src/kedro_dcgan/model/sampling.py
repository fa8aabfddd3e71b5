"""Latents from a seed, images from latents. The same latents give the same images, whatever the rest of the batch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from kedro_dcgan.images.pixels import to_uint8
from kedro_dcgan.model.networks import Generator
from kedro_dcgan.model.specs import GeneratorSpec


def sample_latents(count: int, spec: GeneratorSpec, seed: int) -> Tensor:
    """Return `(count, latent_dim)` float32 latents of the distribution that a generator takes, on the CPU.

    They are drawn one by one from `seed`: the first 16 of 100 are the 16 of 16. (One draw of all
    would not do: torch fills small and large tensors in different orders.)
    """
    source = torch.Generator().manual_seed(seed)
    return torch.cat([draw_latents(1, spec, source) for _ in range(count)])


def draw_latents(count: int, spec: GeneratorSpec, source: torch.Generator) -> Tensor:
    """Return `(count, latent_dim)` float32 latents, on the CPU: standard normal, or uniform in [-1, 1]."""
    if spec.latents == "normal":
        return torch.randn(count, spec.latent_dim, generator=source)
    return torch.rand(count, spec.latent_dim, generator=source) * 2 - 1


def generate(generator: Generator, latents: Tensor, batch_size: int = 64) -> Iterator[Tensor]:
    """Yield uint8 images `(<= batch_size, C, H, W)` on the CPU, in the order of `latents`.

    Batch norm uses its running statistics, so an image depends on its own latent alone; the
    generator is left in the mode that it was found in.

    Raises:
        DataError: if the generator gives NaN.
    """
    device = next(generator.parameters()).device
    with _eval_mode(generator), torch.inference_mode():
        for batch in latents.split(batch_size):
            yield to_uint8(generator(batch.to(device))).cpu()


def generate_all(generator: Generator, latents: Tensor) -> Tensor:
    """Return the images of all `latents` at once, uint8 `(N, C, H, W)`."""
    return torch.cat(list(generate(generator, latents)))


@contextmanager
def _eval_mode(generator: Generator) -> Iterator[None]:
    was_training = generator.training
    generator.eval()
    try:
        yield
    finally:
        generator.train(was_training)
