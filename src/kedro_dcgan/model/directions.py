"""Directions in the latent space that change images in one way, found without labels, and what they change."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from kedro_dcgan.model.latents import shifted
from kedro_dcgan.model.networks import Generator
from kedro_dcgan.model.sampling import classes_of, generate_all, sample_inputs

Method = Literal["first-layer", "features"]
# Returns attributes `(N,)` of uint8 images `(N, C, H, W)` by name.
Describe = Callable[[np.ndarray], Mapping[str, np.ndarray]]

# Samples of the components, samples on which the effects are measured, and how far they are moved for it.
_SAMPLES, _PROBES, _DISTANCE = 2000, 128, 2.0
# Steps along a direction that are drawn.
UNITS = range(-3, 4)
# A direction may have the name of an attribute that it changes by at least this many standard deviations of the
# samples, and by at least this share of its largest effect.
_LEAST_EFFECT, _LEAST_SHARE = 0.5, 0.75
# Attributes are shares of a range. One that hardly differs between samples, such as the probability of a class that the
# generator never shows, gives no name.
_LEAST_SPREAD = 0.02


@dataclass(frozen=True)
class Direction:
    """A unit vector of latents `(latent_dim,)`, its name, and the effects by attribute.

    An effect is the mean change of an attribute from two units against the direction to two units along it, divided by
    the attribute's standard deviation over random samples.
    """

    vector: Tensor
    name: str
    effects: Mapping[str, float] = field(default_factory=dict)


def find_directions(
    generator: Generator,
    count: int,
    method: Method = "first-layer",
    seed: int = 0,
    describe: Describe | None = None,
) -> list[Direction]:
    """Return up to `count` directions, those that change most first, named by the attributes that they change.

    first-layer: the eigenvectors of A^T A for the first layer's weights A, which change its outputs most (Shen and
    Zhou 2021, SeFa, arXiv 2007.06600, equation 3). features: the principal components of the features after the first
    activation, and the latents that a linear regression finds for them (Haerkoenen et al. 2020, GANSpace, arXiv
    2004.02546, equations 1 to 3).

    Each direction is named after what it changes, and points to where that grows. The attributes are those of
    `describe`, by default `attributes`.
    """
    vectors = first_layer_directions(generator) if method == "first-layer" else feature_directions(generator, seed)
    vectors = vectors[:count]
    effects = _effects(generator, vectors, seed, describe or attributes)
    names, found = _names(effects), []
    for number, (vector, effect) in enumerate(zip(vectors, effects, strict=True), start=1):
        name = names.get(number - 1)
        sign = -1 if name and effect[name] < 0 else 1
        signed = {attribute: sign * value for attribute, value in effect.items()}
        found.append(Direction(sign * vector, name or f"direction {number}", signed))
    return found


def strips_along(generator: Generator, found: Sequence[Direction], seed: int = 0) -> list[tuple[str, np.ndarray]]:
    """Return a strip of images along each direction: its caption, and two samples at each of `UNITS`, side by side.

    A strip is uint8 `(2 * len(UNITS), C, H, W)`: all steps of the first sample, then all of the second.
    """
    config, samples, strips = generator.config, sample_inputs(2, generator.config, seed), []
    for direction in found:
        moved = torch.stack([shifted(samples, direction.vector, unit, config) for unit in UNITS], dim=1)
        images = generate_all(generator, moved.flatten(0, 1)).numpy()
        strips.append((f"{direction.name}, {UNITS[0]} to {UNITS[-1]}", images))
    return strips


def first_layer_directions(generator: Generator) -> Tensor:
    """Return all directions of the first layer, `(latent_dim, latent_dim)`, the strongest first."""
    layer = next(layer for layer in generator.layers if isinstance(layer, nn.ConvTranspose2d | nn.Linear))
    weights = layer.weight.detach().cpu().double()
    # Transposed convolutions have the inputs first, dense layers have them last.
    by_input = weights.flatten(1) if isinstance(layer, nn.ConvTranspose2d) else weights.T
    by_latent = by_input[: generator.config.latent_dim]
    _, vectors = torch.linalg.eigh(by_latent @ by_latent.T)
    return vectors.flip(1).T.float()


def feature_directions(generator: Generator, seed: int) -> Tensor:
    """Return the latents of the principal components of the first features, as `(n, latent_dim)` unit vectors.

    With classes, the components are those within the classes, which latents can change.
    """
    config, was_training = generator.config, generator.training
    inputs = sample_inputs(_SAMPLES, config, seed)
    index = next(index for index, layer in enumerate(generator.layers) if isinstance(layer, nn.ReLU | nn.LeakyReLU))
    first_layers, device = generator.layers[: index + 1], next(generator.parameters()).device
    generator.eval()
    with torch.no_grad():
        features = torch.cat([first_layers(rows.to(device)).flatten(1).cpu() for rows in inputs.split(64)])
    generator.train(was_training)
    groups = classes_of(inputs, config) if config.classes else torch.zeros(len(inputs))
    for group in groups.unique():
        features[groups == group] -= features[groups == group].mean(dim=0)
    # The components of samples by features, from the smaller matrix of samples by samples.
    _, vectors = torch.linalg.eigh((features @ features.T).double())
    coordinates = vectors.flip(1)[:, : min(config.latent_dim, _SAMPLES)].float()
    # The coordinates are orthonormal, so that the regression of the latents is a product.
    latents = coordinates.T @ inputs[:, : config.latent_dim]
    return latents / latents.norm(dim=1, keepdim=True)


def _effects(generator: Generator, vectors: Tensor, seed: int, describe: Describe) -> list[dict[str, float]]:
    """Return the effects of each vector by attribute (`Direction`)."""

    def described(inputs: Tensor) -> Mapping[str, np.ndarray]:
        return describe(generate_all(generator, inputs).numpy())

    config, inputs = generator.config, sample_inputs(_PROBES, generator.config, seed)
    spread = {name: max(float(values.std()), _LEAST_SPREAD) for name, values in described(inputs).items()}
    found = []
    for vector in vectors:
        less, more = (described(shifted(inputs, vector, way, config)) for way in (-_DISTANCE, _DISTANCE))
        found.append({name: float((more[name] - less[name]).mean()) / spread[name] for name in more})
    return found


def _names(effects: Sequence[Mapping[str, float]]) -> dict[int, str]:
    """Return the names of directions by their index: each attribute at most once, the strongest effects first.

    A direction has the name of the attribute that it changes most, or almost: one that others do not change more.
    """
    strongest = [max(map(abs, one.values())) for one in effects]
    ranked = sorted(
        ((abs(value), index, name) for index, one in enumerate(effects) for name, value in one.items()), reverse=True
    )
    chosen = dict[int, str]()
    for effect, index, name in ranked:
        is_main = effect >= max(_LEAST_EFFECT, _LEAST_SHARE * strongest[index])
        if is_main and index not in chosen and name not in chosen.values():
            chosen[index] = name
    return chosen


def attributes(images: np.ndarray) -> dict[str, np.ndarray]:
    """Return simple attributes of images, uint8 `(N, C, H, W)`, by name, as `(N,)`.

    brightness: the mean grey level, 0 to 1. size: the share of the pixels that differ from the background, the median
    of the border, by more than a fifth of the range. slant: how far the shape leans to the right per row upwards, from
    the second moments of that difference. For colour images also warmth: red minus blue; and saturation: the largest
    minus the smallest channel; both in the mean, as a share of the range.
    """
    pixels = images.astype(np.float64) / 255
    grey = pixels.mean(axis=1)
    border = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], axis=1)
    shape = np.abs(grey - np.median(border, axis=1)[:, None, None])
    found = {"brightness": grey.mean(axis=(1, 2)), "size": (shape > 0.2).mean(axis=(1, 2)), "slant": _slant(shape)}
    if images.shape[1] == 3:
        found["warmth"] = (pixels[:, 0] - pixels[:, 2]).mean(axis=(1, 2))
        found["saturation"] = (pixels.max(axis=1) - pixels.min(axis=1)).mean(axis=(1, 2))
    return found


def _slant(weights: np.ndarray) -> np.ndarray:
    """Return the covariance of column and row, upwards, divided by the variance of the row, for weights `(N, H, W)`."""
    _, height, width = weights.shape
    up, right = -np.arange(height)[:, None], np.arange(width)[None, :]
    total = weights.sum(axis=(1, 2)) + 1e-9

    def mean(values: np.ndarray) -> np.ndarray:
        return (weights * values).sum(axis=(1, 2)) / total

    covariance = mean(up * right) - mean(up + 0 * right) * mean(right + 0 * up)
    variance = mean(up**2 + 0 * right) - mean(up + 0 * right) ** 2
    return covariance / np.maximum(variance, 1e-9)
