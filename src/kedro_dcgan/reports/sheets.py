"""Pictures of an evaluation: groups of images, each under its caption."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kedro_dcgan.images.grid import make_grid

_GAP, _CAPTION, _LEAST_SIDE = 8, 26, 48
_PAPER, _INK = "white", "#333333"
_TOO_FEW = "There are too few images for this."


@dataclass(frozen=True)
class EvaluationPictures:
    """Images to be laid out, all uint8 `(N, C, H, W)`.

    neighbours: rows of a generated image and its nearest training images. best, worst: those in most balls of
    real images, and those in fewest; the nearest to a real image first, the furthest last.
    """

    samples: np.ndarray
    real: np.ndarray
    neighbours: np.ndarray
    best: np.ndarray
    worst: np.ndarray


def draw_samples(pictures: EvaluationPictures | None) -> Image.Image:
    """Draw generated images beside real ones."""
    if pictures is None:
        return _sheet([(_TOO_FEW, None)])
    left = _sheet([("generated, as they come", _grid(pictures.samples, 8))])
    return _beside(left, _sheet([("real, of the test split", _grid(pictures.real, 8))]))


def draw_neighbours(pictures: EvaluationPictures | None, columns: int = 6) -> Image.Image:
    """Draw rows of a generated image and its nearest training images, in two columns."""
    if pictures is None:
        return _sheet([(_TOO_FEW, None)])
    rows = pictures.neighbours.reshape(-1, columns, *pictures.neighbours.shape[1:])
    return _beside(*(sheet for half in np.array_split(rows, 2) if len(half) for sheet in _with_neighbours(half)))


def _with_neighbours(rows: np.ndarray) -> tuple[Image.Image, Image.Image]:
    # Apart, so that nobody takes a training image for a generated one.
    generated, training = rows[:, 0], rows[:, 1:]
    nearest = _grid(training.reshape(-1, *training.shape[2:]), training.shape[1])
    return _sheet([("generated", _grid(generated, 1))]), _sheet([("the nearest training images", nearest)])


def draw_extremes(pictures: EvaluationPictures | None) -> Image.Image:
    """Draw the best and the worst samples."""
    if pictures is None:
        return _sheet([(_TOO_FEW, None)])
    best = "the most like real images, best first", _grid(pictures.best, 16)
    worst = "the least like real images, worst last", _grid(pictures.worst, 16)
    return _sheet([best, worst])


def _grid(images: np.ndarray, columns: int) -> Image.Image:
    # Small images are enlarged to a size that people can see.
    scale = max(1, -(-_LEAST_SIDE // images.shape[-1]))
    return Image.fromarray(make_grid(images, columns, scale=scale)).convert("RGB")


def _sheet(groups: Sequence[tuple[str, Image.Image | None]]) -> Image.Image:
    font = ImageFont.load_default(12)
    width = max(max(picture.width if picture else 0, int(font.getlength(caption))) for caption, picture in groups)
    height = sum(_CAPTION + (picture.height if picture else 0) for _, picture in groups)
    sheet = Image.new("RGB", (width + 2 * _GAP, height + _GAP), _PAPER)
    draw, top = ImageDraw.Draw(sheet), 0
    for caption, picture in groups:
        draw.text((_GAP, top + _GAP), caption, _INK, font)
        if picture:
            sheet.paste(picture, (_GAP, top + _CAPTION))
        top += _CAPTION + (picture.height if picture else 0)
    return sheet


def _beside(*sheets: Image.Image) -> Image.Image:
    both = Image.new("RGB", (sum(one.width for one in sheets), max(one.height for one in sheets)), _PAPER)
    left = 0
    for one in sheets:
        both.paste(one, (left, 0))
        left += one.width
    return both
