"""Walks through the latent space, arithmetic with latents, and the latent of a given picture.

All functions work on inputs `(N, input_dim)`: latents, and the one-hot classes of a conditional generator behind them
(`sampling.py`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kedro_dcgan.errors import ParameterError
from kedro_dcgan.model.networks import Generator, GeneratorConfig
from kedro_dcgan.model.sampling import draw_latents, sample_inputs, to_model_range, to_uint8, with_classes

# Below this sine of the angle between two latents, a line and an arc are the same.
_LEAST_SINE = 1e-4
# The random samples that an inversion starts from the best of.
_STARTING_SAMPLES = 512


def inputs_of_samples(numbers: Sequence[int], config: GeneratorConfig, seed: int, label: int | None = None) -> Tensor:
    """Return the inputs of samples by their numbers, from 0, of `sample_inputs(..., seed, label)`: `(n, input_dim)`."""
    return sample_inputs(max(numbers) + 1, config, seed, label)[list(numbers)]


def interpolate(start: Tensor, end: Tensor, steps: int, config: GeneratorConfig, spherical: bool = True) -> Tensor:
    """Return `steps` inputs from `start` to `end`, both `(input_dim,)`, with equal steps and both ends.

    Spherical: latents turn along an arc, so that those between two typical ones are as long as typical ones (Shoemake
    1985; White 2016, arXiv 1609.04468, section 2.1). Uniform latents, whose lengths are not alike, and classes always
    go along a line.
    """
    share = torch.linspace(0, 1, steps, dtype=torch.float64)[:, None]
    a, b = start.double(), end.double()
    line = (1 - share) * a + share * b
    if not spherical or config.latents != "normal":
        return line.float()
    u, v = a[: config.latent_dim], b[: config.latent_dim]
    angle = torch.arccos(torch.clamp(u @ v / (u.norm() * v.norm()), -1, 1))
    if angle.sin() > _LEAST_SINE:
        line[:, : config.latent_dim] = (((1 - share) * angle).sin() * u + (share * angle).sin() * v) / angle.sin()
    return line.float()


def walk(points: Tensor, steps: int, config: GeneratorConfig, spherical: bool = True, closed: bool = False) -> Tensor:
    """Return `steps` inputs from each of the points `(n, input_dim)` to the next, and the last point.

    A closed walk returns to the first point, which it does not repeat.
    """
    ends = torch.cat([points[1:], points[:1]]) if closed else points[1:]
    legs = [
        interpolate(start, end, steps + 1, config, spherical)[:-1]
        for start, end in zip(points[: len(ends)], ends, strict=True)
    ]
    return torch.cat([*legs, *([] if closed else [points[-1:]])])


def combine(plus: Tensor, minus: Tensor, also: Tensor, config: GeneratorConfig) -> Tensor:
    """Return mean(plus) - mean(minus) + mean(also) of inputs `(n, input_dim)` each, as `(1, input_dim)`.

    Radford et al. 2015 (arXiv 1511.06434, section 6.3.2) average three latents for each concept. The classes are those
    of `also`. A normal latent then gets the length that most have, sqrt(latent_dim), and a uniform one stays within
    [-1, 1], because a generator has not seen others.
    """
    latents = [inputs[:, : config.latent_dim].mean(dim=0) for inputs in (plus, minus, also)]
    latent = latents[0] - latents[1] + latents[2]
    if config.latents == "normal":
        latent = latent * (config.latent_dim**0.5 / latent.norm().clamp_min(1e-12))
    return torch.cat([latent.clamp(-1, 1) if config.latents == "uniform" else latent, also[0, config.latent_dim :]])[
        None
    ]


def shifted(inputs: Tensor, vector: Tensor, units: Tensor, config: GeneratorConfig) -> Tensor:
    """Return an input `(input_dim,)` whose latent is moved along a vector by each of the units: `(n, input_dim)`."""
    moved = inputs.repeat(len(units), 1)
    moved[:, : config.latent_dim] += units[:, None] * vector
    return moved


def truncate(inputs: Tensor, strength: float, config: GeneratorConfig) -> Tensor:
    """Return inputs whose latents are shortened to `strength` of their length: 1 changes nothing, 0 gives the mean.

    Samples become more typical and less diverse (Karras et al. 2019, arXiv 1812.04948, appendix B).
    """
    scale = torch.ones(inputs.shape[1])
    scale[: config.latent_dim] = strength
    return inputs * scale


@dataclass(frozen=True)
class Inversion:
    """The input `(input_dim,)` that was found for a picture, and its image uint8 `(C, H, W)`.

    The errors are roots of mean squared differences in grey levels, 0 to 255: of this image, and of the best of the
    random samples that the search started from.
    """

    inputs: Tensor
    image: Tensor
    error: float
    error_of_samples: float


def invert(
    generator: Generator,
    picture: Tensor,
    label: int | None = None,
    steps: int = 300,
    starts: int = 8,
    seed: int = 0,
    follow: Callable[[range], Iterable[int]] | None = None,
) -> Inversion:
    """Search the input whose image is most like a picture, uint8 `(C, H, W)`.

    Adam descends the mean squared error from the best `starts` of 512 random samples (Lipton and Tripathi 2017, arXiv
    1702.04782). Latents that no sample has are avoided: uniform ones stay within [-1, 1], and normal ones no longer
    than most. `follow` wraps the numbers of the steps, for a progress bar.

    Raises:
        ParameterError: if the picture has another shape than the images of the generator.
    """
    config, device = generator.config, next(generator.parameters()).device
    shape = (config.channels, config.image_size, config.image_size)
    if tuple(picture.shape) != shape:
        raise ParameterError(f"the picture must have the shape {shape} (got {tuple(picture.shape)}). Resize it.")
    generator.eval().requires_grad_(False)
    target = to_model_range(picture).to(device)
    inputs, errors = _best_samples(generator, target, label, starts, seed)
    error_of_samples = float(errors.min())

    # Descend from all of them at once. The classes stay.
    latents, classes = inputs[:, : config.latent_dim].clone().requires_grad_(True), inputs[:, config.latent_dim :]
    optimiser = torch.optim.Adam([latents], lr=0.05)
    for _ in follow(range(steps)) if follow else range(steps):
        optimiser.zero_grad()
        _errors(generator, torch.cat([latents, classes], dim=1), target).sum().backward()
        optimiser.step()
        with torch.no_grad():
            _keep_typical(latents, config)

    with torch.no_grad():
        inputs = torch.cat([latents, classes], dim=1)
        errors = _errors(generator, inputs, target)
        best = int(errors.argmin())
        image = to_uint8(generator(inputs[best : best + 1]))[0].cpu()
    grey_levels = [127.5 * error**0.5 for error in (float(errors[best]), error_of_samples)]
    return Inversion(inputs[best].cpu(), image, *grey_levels)


def _best_samples(
    generator: Generator, target: Tensor, label: int | None, count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the inputs of the `count` random samples most like a picture, and their errors."""
    config, source = generator.config, torch.Generator().manual_seed(seed)
    latents = torch.cat([draw_latents(1, config, source) for _ in range(_STARTING_SAMPLES)])
    inputs = with_classes(latents, _classes(len(latents), config, label), config).to(target.device)
    with torch.no_grad():
        errors = torch.cat([_errors(generator, rows, target) for rows in inputs.split(64)])
    best = errors.topk(count, largest=False)
    return inputs[best.indices], best.values


def _errors(generator: Generator, inputs: Tensor, target: Tensor) -> Tensor:
    # The mean squared error of each image, (N,).
    return (generator(inputs) - target).square().flatten(1).mean(dim=1)


def _classes(count: int, config: GeneratorConfig, label: int | None) -> Tensor | None:
    if not config.classes:
        return None
    # Without a label, all classes in turn.
    return torch.full((count,), label) if label is not None else torch.arange(count) % len(config.classes)


def _keep_typical(latents: Tensor, config: GeneratorConfig) -> None:
    if config.latents == "uniform":
        latents.clamp_(-1, 1)
        return
    longest = config.latent_dim**0.5 + 1
    latents.mul_((longest / latents.norm(dim=1, keepdim=True)).clamp_max(1))
