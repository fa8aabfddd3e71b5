"""Inputs of a generator from a seed, images from inputs, and the scale of pixel values.

An input is a latent and, for a conditional generator, the class of the image as a one-hot vector. Pixels are uint8
outside the networks and float32 in [-1, 1] inside. An image depends only on its own input.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from kedro_dcgan.errors import DataError, ParameterError
from kedro_dcgan.model.networks import Generator, GeneratorConfig, one_hot

# Class names in an error.
_MOST_SHOWN = 30


def sample_inputs(count: int, config: GeneratorConfig, seed: int, label: int | None = None) -> Tensor:
    """Return `(count, input_dim)` float32 inputs of the distribution that a generator takes, on the CPU.

    `label` is the number of a class. Without it, a conditional generator gets classes as in its training images. The
    latents are those of the seed, whatever the class.
    """
    return torch.cat(list(input_batches(count, config, seed, label)))


def input_batches(
    count: int, config: GeneratorConfig, seed: int, label: int | None = None, batch_size: int = 64
) -> Iterator[Tensor]:
    """Yield the rows of `sample_inputs` in batches `(<= batch_size, input_dim)`, so that any count fits in memory."""
    # Classes have a generator of their own, so that the latents of a seed do not depend on them.
    source, of_classes = torch.Generator().manual_seed(seed), np.random.default_rng((seed, 1))
    for start in range(0, count, batch_size):
        rows = min(batch_size, count - start)
        # One by one, so that the first 16 of 100 equal a sample of 16: torch fills small and large tensors differently.
        latents = torch.cat([draw_latents(1, config, source) for _ in range(rows)])
        yield with_classes(latents, _draw_classes(rows, config, of_classes, label), config)


def grid_inputs(count: int, config: GeneratorConfig, seed: int) -> Tensor:
    """Return inputs for a grid of at most `count` samples; with classes, a row for each of the first `count` classes.

    All rows have the same latents.
    """
    if not config.classes:
        return sample_inputs(count, config, seed)
    rows = min(count, len(config.classes))
    return torch.cat([sample_inputs(count // rows, config, seed, label) for label in range(rows)])


def grid_columns(count: int, config: GeneratorConfig) -> int | None:
    """Return the number of samples in a row of such a grid; None leaves it to the grid, which is then about square."""
    columns = count // len(config.classes) if config.classes else 0
    return columns if columns > 1 else None


def with_classes(latents: Tensor, classes: Tensor | None, config: GeneratorConfig) -> Tensor:
    """Append classes, int64 `(N,)`, as one-hot vectors to latents `(N, latent_dim)`; without classes, nothing."""
    if (classes is None) == bool(config.classes):
        raise ValueError(f"classes must be given for a conditional generator only (it has {len(config.classes)})")
    if classes is None:
        return latents
    return torch.cat([latents, one_hot(classes, len(config.classes))], dim=1)


def class_number(name: str, config: GeneratorConfig) -> int:
    """Return the number of the class with this name; raise ParameterError if the generator does not have it."""
    if name in config.classes:
        return config.classes.index(name)
    if not config.classes:
        raise ParameterError(
            f"`label` needs a generator with classes (got {name}; it was trained without). Leave it out, or train on "
            "labelled images with training.conditional=true."
        )
    known, more = ", ".join(config.classes[:_MOST_SHOWN]), len(config.classes) - _MOST_SHOWN
    raise ParameterError(
        f"`label` must be a class of the generator (got {name}). Its classes: {known}"
        f"{f' and {more:,} others' if more > 0 else ''}."
    )


def classes_of(inputs: Tensor, config: GeneratorConfig) -> Tensor:
    """Return the classes of conditional inputs `(N, input_dim)`, int64 `(N,)`."""
    return inputs[:, config.latent_dim :].argmax(dim=1)


def class_names(inputs: Tensor, config: GeneratorConfig) -> list[str]:
    """Return the name of the class of each input `(N, input_dim)`; empty ones for generators without classes."""
    if not config.classes:
        return [""] * len(inputs)
    return [config.classes[number] for number in classes_of(inputs, config).tolist()]


def draw_latents(count: int, config: GeneratorConfig, source: torch.Generator) -> Tensor:
    """Return `(count, latent_dim)` float32 latents, on the CPU: standard normal, or uniform in [-1, 1]."""
    if config.latents == "normal":
        return torch.randn(count, config.latent_dim, generator=source)
    return torch.rand(count, config.latent_dim, generator=source) * 2 - 1


def _draw_classes(count: int, config: GeneratorConfig, source: np.random.Generator, label: int | None) -> Tensor | None:
    if not config.classes:
        return None
    if label is not None:
        return torch.full((count,), label)
    drawn = np.searchsorted(np.cumsum(config.class_shares), source.random(count), side="right")
    # Shares may add up to a little less than 1.
    return torch.from_numpy(drawn.clip(max=len(config.classes) - 1))


def generate(generator: Generator, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield uint8 images `(N, C, H, W)` on the CPU per batch of inputs, in eval mode; raise DataError for NaN."""
    device, was_training = next(generator.parameters()).device, generator.training
    generator.eval()
    try:
        with torch.inference_mode():
            for batch in batches:
                yield to_uint8(generator(batch.to(device))).cpu()
    finally:
        generator.train(was_training)


def generate_all(generator: Generator, inputs: Tensor) -> Tensor:
    """Return the images of all `inputs`, uint8 `(N, C, H, W)`."""
    return torch.cat(list(generate(generator, inputs.split(64))))


def to_model_range(images: np.ndarray | Tensor) -> Tensor:
    """Map uint8 0..255 to float32 [-1, 1] by `x / 127.5 - 1` (Radford et al. 2015, arXiv 1511.06434, section 4)."""
    return torch.as_tensor(images).to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Map [-1, 1] to uint8 0..255, rounded and clamped: the inverse of `to_model_range`; raise DataError for NaN."""
    if torch.isnan(images).any():
        raise DataError("`images` must hold numbers (got NaN). The generator that made them has diverged.")
    return images.to(torch.float32).mul(127.5).add_(128.0).clamp_(0, 255).to(torch.uint8)
