"""Requests for images: checked before anything is generated, and answered with PNG files.

Each row is a request: either `seed` and optionally `count` (default 1), or `latents`, a list of `latent_dim` numbers
for one image. Each answer row is an image: `row` is the index of its request, `index` its index within the request,
and `png` the file in base64. Equal requests give equal images, whatever the other rows contain.
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from kedro_dcgan.errors import RequestError
from kedro_dcgan.model.networks import Generator, GeneratorConfig
from kedro_dcgan.model.sampling import generate, sample_latents

# The limit for all rows together: one client must not take all memory and time.
MAX_IMAGES = 1024
# The largest integer that JSON, and MLflow, pass on exactly.
MAX_SEED = 2**53 - 1
# Normal latents beyond 10 never occur; the activations of huge ones overflow.
MAX_LATENT = 100.0
# Bytes of the pixels of an answer: 85 images of 512x512 in colour.
_MAX_PIXEL_BYTES = 64 * 2**20
_BATCH = 64


@dataclass(frozen=True)
class ImageRequest:
    """A valid request: `count` images of a seed, or one image of given latents."""

    count: int
    seed: int = 0
    latents: tuple[float, ...] | None = None

    def draw(self, config: GeneratorConfig) -> Tensor:
        """Return its latents, float32 `(count, latent_dim)`."""
        if self.latents is not None:
            return torch.tensor([self.latents], dtype=torch.float32)
        return sample_latents(self.count, config, self.seed)


def read_requests(rows: Sequence[Any], config: GeneratorConfig) -> list[ImageRequest]:
    """Return the requests of rows that a client sent.

    Raises:
        RequestError: if a row is no valid request, or if all rows together ask for no image or for too many.
    """
    most = min(MAX_IMAGES, _MAX_PIXEL_BYTES // (config.image_size**2 * config.channels))
    requests, total = [], 0
    for number, row in enumerate(rows):
        requests.append(_read_request(row, f"row {number}", config.latent_dim))
        total += requests[-1].count
        # Stop at the first row too many: a client can send a million.
        _require(total <= most, f"its rows must ask for at most {most} images in total")
    _require(total > 0, "it must have at least one row with `seed` or `latents`")
    return requests


def answer_requests(generator: Generator, requests: Sequence[ImageRequest]) -> Iterator[tuple[int, int, str]]:
    """Yield `row`, `index` and `png` of each image, in the order of the requests."""
    latents = torch.cat([request.draw(generator.config) for request in requests])
    images = (image for batch in generate(generator, latents.split(_BATCH)) for image in batch)
    for row, request in enumerate(requests):
        for index in range(request.count):
            pixels = next(images).permute(1, 2, 0).numpy()
            file = io.BytesIO()
            Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
            yield row, index, base64.b64encode(file.getvalue()).decode()


def _read_request(row: Any, name: str, latent_dim: int) -> ImageRequest:
    _require(isinstance(row, Mapping), f"{name} must be an object with `seed` or `latents` (got {_shown(row)})")
    unknown = sorted(set(row) - {"seed", "count", "latents"})
    _require(not unknown, f"{name} must have only `seed`, `count` or `latents` (got {_shown(unknown)})")
    _require(("seed" in row) != ("latents" in row), f"{name} must have either `seed` or `latents`")
    if "seed" in row:
        seed = _integer(row["seed"], f"`seed` of {name}", 0, MAX_SEED)
        return ImageRequest(_integer(row.get("count", 1), f"`count` of {name}", 1, MAX_IMAGES), seed)
    values = row["latents"]
    is_valid = isinstance(values, Sequence) and len(values) == latent_dim and "count" not in row
    # The comparison is false for NaN.
    is_valid = is_valid and all(_is_number(value) and abs(value) <= MAX_LATENT for value in values)
    rule = f"{latent_dim} numbers from {-MAX_LATENT:g} to {MAX_LATENT:g}, without `count`"
    _require(is_valid, f"`latents` of {name} must be {rule}")
    return ImageRequest(1, latents=tuple(map(float, values)))


def _integer(value: Any, name: str, minimum: int, maximum: int) -> int:
    # pandas stores a column with missing values as floats.
    is_integer = _is_number(value) and minimum <= value <= maximum and value == int(value)
    _require(is_integer, f"{name} must be an integer from {minimum} to {maximum} (got {_shown(value)})")
    return int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    # A client can send megabytes, and surrogates that no console prints.
    text = str(value).encode("ascii", "backslashreplace").decode()
    return text if len(text) <= 60 else f"{text[:60]}…"


def _require(is_valid: bool, rule: str) -> None:
    if not is_valid:
        raise RequestError(f"The request is not valid: {rule}.")
