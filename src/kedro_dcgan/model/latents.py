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
# An inversion starts from the best of these random samples.
STARTING_SAMPLES = 512


def inputs_of_samples(numbers: Sequence[int], config: GeneratorConfig, seed: int, label: int | None = None) -> Tensor:
    """Return the inputs of samples by their numbers, from 0, of `sample_inputs(..., seed, label)`: `(n, input_dim)`."""
    return sample_inputs(max(numbers) + 1, config, seed, label)[list(numbers)]


def interpolate(start: Tensor, end: Tensor, steps: int, config: GeneratorConfig, spherical: bool = True) -> Tensor:
    """Return `steps` inputs from `start` to `end`, both `(input_dim,)`, with equal steps and both ends.

    Spherical: latents turn along an arc while their length changes evenly, so that those between two typical ones are
    typical, too (Shoemake 1985; White 2016, arXiv 1609.04468, section 2.1). Uniform latents, whose lengths are not
    alike, and classes always go along a line.
    """
    share = torch.linspace(0, 1, steps, dtype=torch.float64)[:, None]
    a, b = start.double(), end.double()
    line = (1 - share) * a + share * b
    if not spherical or config.latents != "normal":
        return line.float()
    lengths = [one[: config.latent_dim].norm().clamp_min(1e-12) for one in (a, b)]
    u, v = a[: config.latent_dim] / lengths[0], b[: config.latent_dim] / lengths[1]
    angle = torch.arccos((u @ v).clamp(-1, 1))
    if angle.sin() > _LEAST_SINE:
        turned = (((1 - share) * angle).sin() * u + (share * angle).sin() * v) / angle.sin()
        line[:, : config.latent_dim] = turned * ((1 - share) * lengths[0] + share * lengths[1])
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


def combine(plus: Tensor, minus: Tensor, base: Tensor, config: GeneratorConfig) -> Tensor:
    """Return mean(plus) - mean(minus) + mean(base) of inputs `(n, input_dim)` each, as `(1, input_dim)`.

    Radford et al. 2015 (arXiv 1511.06434, section 6.3.2) average three latents for each concept. The classes are those
    of `base`. A normal latent then gets the length that most have, sqrt(latent_dim), and a uniform one stays within
    [-1, 1], because a generator has not seen others.
    """
    latents = [inputs[:, : config.latent_dim].mean(dim=0) for inputs in (plus, minus, base)]
    latent = latents[0] - latents[1] + latents[2]
    if config.latents == "normal":
        latent = latent * (config.latent_dim**0.5 / latent.norm().clamp_min(1e-12))
    else:
        latent = latent.clamp(-1, 1)
    return torch.cat([latent, base[0, config.latent_dim :]])[None]


def shifted(inputs: Tensor, vector: Tensor, distance: float, config: GeneratorConfig) -> Tensor:
    """Return inputs `(n, input_dim)` whose latents are moved along a vector; uniform ones stay within [-1, 1]."""
    latents = inputs[:, : config.latent_dim] + distance * vector
    latents = latents.clamp(-1, 1) if config.latents == "uniform" else latents
    return torch.cat([latents, inputs[:, config.latent_dim :]], dim=1)


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

    The errors are roots of mean squared differences in grey levels, 0 to 255: of this image, and of the closest of the
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
    """Find the input whose image is closest to a picture, uint8 `(C, H, W)`.

    Adam minimises the mean squared error from the best `starts` random samples (Lipton and Tripathi 2017, arXiv
    1702.04782). Latents that hardly any sample has are avoided: uniform ones stay within [-1, 1], and normal ones no
    longer than their start or sqrt(latent_dim) + 1. Without a `label`, the class is that of the best start. `follow`
    wraps the numbers of the steps, for a progress bar.

    Raises:
        ParameterError: if the picture has another shape than the images of the generator.
    """
    config, device = generator.config, next(generator.parameters()).device
    shape = (config.channels, config.image_size, config.image_size)
    if tuple(picture.shape) != shape:
        raise ParameterError(f"the picture must have the shape {shape} (got {tuple(picture.shape)}). Resize it.")
    was_training, target = generator.training, to_model_range(picture).to(device)
    generator.eval()
    samples, start_errors = _best_samples(generator, target, label, starts, seed)
    inputs, errors = _descend(generator, target, samples, follow(range(steps)) if follow else range(steps))
    best = int(errors.argmin())
    with torch.no_grad():
        image = to_uint8(generator(inputs[best : best + 1]))[0].cpu()
    generator.train(was_training)
    grey_levels = [127.5 * float(one.min()) ** 0.5 for one in (errors, start_errors)]
    return Inversion(inputs[best].cpu(), image, *grey_levels)


def _descend(generator: Generator, target: Tensor, starts: Tensor, steps: Iterable[int]) -> tuple[Tensor, Tensor]:
    """Descend from all inputs `(n, input_dim)` at once; return the best found from each, and their errors `(n,)`."""
    config = generator.config
    latents, classes = starts[:, : config.latent_dim].clone().requires_grad_(True), starts[:, config.latent_dim :]
    longest = latents.detach().norm(dim=1, keepdim=True).clamp_min(config.latent_dim**0.5 + 1)
    best_inputs, best_errors = starts.clone(), torch.full((len(starts),), torch.inf, device=target.device)

    def errors_now() -> Tensor:
        inputs = torch.cat([latents, classes], dim=1)
        errors = _errors(generator, inputs, target)
        is_better = errors.detach() < best_errors
        best_inputs[is_better], best_errors[is_better] = inputs.detach()[is_better], errors.detach()[is_better]
        return errors

    optimiser = torch.optim.Adam([latents], lr=0.05)
    for _ in steps:
        # Not into the weights of the generator.
        (latents.grad,) = torch.autograd.grad(errors_now().sum(), latents)
        optimiser.step()
        with torch.no_grad():
            if config.latents == "uniform":
                latents.clamp_(-1, 1)
            else:
                latents.mul_((longest / latents.norm(dim=1, keepdim=True)).clamp_max(1))
    errors_now()
    return best_inputs, best_errors


def _best_samples(
    generator: Generator, target: Tensor, label: int | None, count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the inputs of the `count` random samples closest to a picture, and their errors."""
    config, source = generator.config, torch.Generator().manual_seed(seed)
    # Without a label, all classes in turn.
    samples, classes = max(STARTING_SAMPLES, 4 * len(config.classes)), None
    if config.classes:
        classes = torch.arange(samples) % len(config.classes) if label is None else torch.full((samples,), label)
    latents = torch.cat([draw_latents(1, config, source) for _ in range(samples)])
    inputs = with_classes(latents, classes, config).to(target.device)
    with torch.no_grad():
        errors = torch.cat([_errors(generator, rows, target) for rows in inputs.split(64)])
    best = errors.topk(count, largest=False)
    return inputs[best.indices], best.values


def _errors(generator: Generator, inputs: Tensor, target: Tensor) -> Tensor:
    # The mean squared error of each image, (N,).
    return (generator(inputs) - target).square().flatten(1).mean(dim=1)
