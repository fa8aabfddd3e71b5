"""Requests for images: checked before anything is generated, and answered with PNG files.

Each row is a request: either `seed` and optionally `count` (default 1), or `latents`, a list of `latent_dim` numbers
for one image. With a conditional generator, a row may have `label`, the name of a class; beside `latents`, it must.
Each answer row is an image: `row` is the index of its request, `index` its index within the request, and `png` the
file in base64. Each file has a mark (`synthetic_marks`), with the seed and the class, if there are any.

Equal requests give equal images bit for bit, whatever is computed beside them. torch chooses its algorithms by the size
of a batch (and its number of threads), and another order of a sum changes the last bit, which can change a pixel by one
level. So each image is computed in a chunk of the same size, padded if necessary. The caller sets torch to one thread
and computes several chunks at a time instead.
"""

import base64
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from kedro_dcgan.errors import ParameterError, RequestError
from kedro_dcgan.model.networks import Generator, GeneratorConfig
from kedro_dcgan.model.sampling import class_names, class_number, generate, sample_inputs, with_classes
from kedro_dcgan.model.synthetic_marks import SyntheticMark, mark_png

# The limit for all rows together: one client must not take all memory and time.
MAX_IMAGES = 1024
# The largest integer that JSON, and MLflow, pass on exactly.
MAX_SEED = 2**53 - 1
# Normal latents beyond 10 never occur; the activations of huge ones overflow.
MAX_LATENT = 100.0
# Bytes of the pixels of an answer: 85 images of 512x512 in colour.
MAX_PIXEL_BYTES = 64 * 2**20
# The size of a chunk: 4 images of up to 32x32, one of 64x64 and more. Larger chunks are faster per image, but a client
# that asks for one image waits for a whole chunk. At 32x32 (width 24), 1 takes 0.76 ms, 4 take 1.15 ms, 8 1.66 ms.
_CHUNK_PIXELS, _MAX_CHUNK = 4 * 32**2, 4


@dataclass(frozen=True)
class ImageRequest:
    """A valid request: `count` images of a seed, or one image of given latents; `label` is the number of a class."""

    count: int
    seed: int | None = None
    latents: tuple[float, ...] | None = None
    label: int | None = None

    def draw(self, config: GeneratorConfig) -> Tensor:
        """Return its inputs, float32 `(count, input_dim)`."""
        if self.seed is not None:
            return sample_inputs(self.count, config, self.seed, self.label)
        classes = None if self.label is None else torch.tensor([self.label])
        return with_classes(torch.tensor([self.latents], dtype=torch.float32), classes, config)


def read_requests(rows: Sequence[Any], config: GeneratorConfig) -> list[ImageRequest]:
    """Return the requests of rows that a client sent.

    Raises:
        RequestError: if a row is no valid request, or if all rows together ask for no image or for too many.
    """
    most = most_images(config)
    requests, total = [], 0
    for number, row in enumerate(rows):
        requests.append(_read_request(row, f"row {number}", config))
        total += requests[-1].count
        # Stop at the first row too many: a client can send a million.
        _require(total <= most, f"its rows must ask for at most {most} images in total")
    _require(total > 0, "it must have at least one row with `seed` or `latents`")
    return requests


def most_images(config: GeneratorConfig) -> int:
    """Return how many images all rows together may ask for."""
    return min(MAX_IMAGES, MAX_PIXEL_BYTES // (config.image_size**2 * config.channels))


def answer_requests(
    generator: Generator, requests: Sequence[ImageRequest], mark: SyntheticMark, workers: int = 1
) -> Iterator[tuple[int, int, str]]:
    """Yield `row`, `index` and `png` of each image, in the order of the requests; raise DataError for NaN.

    `mark` is that of all images of the generator.
    """
    inputs = draw_inputs(requests, generator.config)
    with ThreadPoolExecutor(workers) as pool:
        chunks = pool.map(partial(make_pngs, generator), inputs.split(chunk_size(generator.config)))
        pngs = itertools.chain.from_iterable(chunks)
        yield from mark_images(requests, inputs, pngs, generator.config, mark)


def draw_inputs(requests: Sequence[ImageRequest], config: GeneratorConfig) -> Tensor:
    """Return the inputs of all images, float32 `(N, input_dim)`."""
    return torch.cat([request.draw(config) for request in requests])


def mark_images(
    requests: Sequence[ImageRequest],
    inputs: Tensor,
    pngs: Iterable[bytes],
    config: GeneratorConfig,
    mark: SyntheticMark,
) -> Iterator[tuple[int, int, str]]:
    """Yield `row`, `index` and the marked `png` in base64 of each image, given its input and its PNG file."""
    places = ((row, index) for row, request in enumerate(requests) for index in range(request.count))
    for (row, index), label, png in zip(places, class_names(inputs, config), pngs, strict=True):
        seed = requests[row].seed
        marked = mark_png(png, mark.of_image(seed, None if seed is None else index, label))
        yield row, index, base64.b64encode(marked).decode()


def chunk_size(config: GeneratorConfig) -> int:
    """Return the number of images that are always computed at once."""
    return max(1, min(_MAX_CHUNK, _CHUNK_PIXELS // config.image_size**2))


def make_pngs(generator: Generator, inputs: Tensor) -> list[bytes]:
    """Return the PNG file, without a mark, of each of the inputs `(N, input_dim)`; raise DataError for NaN.

    Each file depends only on its own input and on the number of torch's threads.
    """
    size = chunk_size(generator.config)
    chunks = (pad(chunk, (0, 0, 0, size - len(chunk))) for chunk in inputs.split(size))
    images = (image for chunk in generate(generator, chunks) for image in chunk)
    return [_encode(image) for image in itertools.islice(images, len(inputs))]


def _encode(image: Tensor) -> bytes:
    pixels = image.permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def _read_request(row: Any, name: str, config: GeneratorConfig) -> ImageRequest:
    _require(isinstance(row, Mapping), f"{name} must be an object with `seed` or `latents` (got {_shown(row)})")
    unknown = sorted(set(row) - {"seed", "count", "latents", "label"})
    _require(not unknown, f"{name} must have only `seed`, `count`, `latents` or `label` (got {_shown(unknown)})")
    _require(("seed" in row) != ("latents" in row), f"{name} must have either `seed` or `latents`")
    label = _read_label(row["label"], name, config) if row.get("label") is not None else None
    if "seed" in row:
        seed = _integer(row["seed"], f"`seed` of {name}", 0, MAX_SEED)
        return ImageRequest(_integer(row.get("count", 1), f"`count` of {name}", 1, MAX_IMAGES), seed, label=label)
    _require(label is not None or not config.classes, f"{name} must have a `label` beside `latents`")
    values, latent_dim = row["latents"], config.latent_dim
    is_valid = isinstance(values, Sequence) and len(values) == latent_dim and "count" not in row
    # The comparison is false for NaN.
    is_valid = is_valid and all(_is_number(value) and abs(value) <= MAX_LATENT for value in values)
    rule = f"{latent_dim} numbers from {-MAX_LATENT:g} to {MAX_LATENT:g}, without `count`"
    _require(is_valid, f"`latents` of {name} must be {rule}")
    return ImageRequest(1, latents=tuple(map(float, values)), label=label)


def _read_label(value: Any, name: str, config: GeneratorConfig) -> int:
    is_valid = isinstance(value, str) or _is_number(value)
    _require(is_valid, f"`label` of {name} must be the name of a class (got {_shown(value)})")
    # Names of classes may look like numbers, and then clients send numbers; pandas turns some into floats.
    is_other = str(value) not in config.classes and _is_number(value) and value == value // 1
    try:
        return class_number(str(int(value)) if is_other else str(value), config)
    except ParameterError as error:
        raise RequestError(f"The request is not valid: in {name}, {_shown(error, most=400)}") from None


def _integer(value: Any, name: str, minimum: int, maximum: int) -> int:
    # pandas stores a column with missing values as floats.
    is_integer = _is_number(value) and minimum <= value <= maximum and value == int(value)
    _require(is_integer, f"{name} must be an integer from {minimum} to {maximum} (got {_shown(value)})")
    return int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _shown(value: Any, most: int = 60) -> str:
    # A client can send megabytes, and surrogates that no console prints.
    text = str(value).encode("ascii", "backslashreplace").decode()
    return text if len(text) <= most else f"{text[:most]}…"


def _require(is_valid: bool, rule: str) -> None:
    if not is_valid:
        raise RequestError(f"The request is not valid: {rule}.")
