"""The exponential moving average (EMA) of the generator. The EMA is sampled, validated and exported.

Yazıcı et al. 2018 (arXiv 1806.04498); the half-life in images and its ramp-up as in Karras et al. 2020 (arXiv
2006.06676). Batch-norm statistics cannot be averaged like weights. They are copied from the generator, and recalibrated
over latents before a snapshot (Brock et al. 2018, arXiv 1809.11096, "standing statistics").
"""

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn, update_bn

from kedro_dcgan.model.networks import Generator
from kedro_dcgan.training.devices import to_device

# The half-life is at most this share of the images seen so far.
_RAMP_UP = 0.05


def decay_of(images: int, images_seen: int, half_life: int) -> float:
    """Return the decay of the EMA over `images` more real images: 0.5 over `half_life` images."""
    half_life_now = min(half_life, _RAMP_UP * images_seen)
    return float(0.5 ** (images / half_life_now)) if half_life_now else 0.0


@torch.no_grad()
def update_average(average: Generator, generator: Generator, decay: float) -> None:
    """Move the EMA towards the generator: decay * average + (1 - decay) * weights."""
    # One kernel for all weights. (The last argument, a count of updates, is unused.)
    get_ema_multi_avg_fn(decay)(list(average.parameters()), list(generator.parameters()), 0)
    for of_average, of_generator in zip(average.buffers(), generator.buffers(), strict=True):
        of_average.copy_(of_generator)


def recalibrate(generator: Generator, latents: Tensor, batch_size: int) -> None:
    """Set batch norm's running statistics to their means over the full batches of `latents`, at least one batch."""
    device = next(generator.parameters()).device
    full = latents[: max(1, len(latents) // batch_size) * batch_size]
    update_bn((to_device(batch, device) for batch in full.split(batch_size)), generator)
