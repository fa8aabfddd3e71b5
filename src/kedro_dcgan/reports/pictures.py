"""Contact sheets: many pictures in one, of what was kept and of what was not."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_TILE, _CAPTION, _COLUMNS, _GAP = 96, 30, 8, 8
_WIDTH, _HEIGHT = _TILE + _GAP, _TILE + _CAPTION + _GAP
_PAPER, _INK, _NOTHING = "white", "#333333", "#e4e4e4"


@dataclass(frozen=True)
class SkippedTile:
    """A skipped input: its path, the reason, and a picture of it if there is one."""

    path: str
    reason: str
    picture: Image.Image | None = None


def draw_accepted(images: np.ndarray) -> Image.Image:
    """Lay prepared images, uint8 `(N, C, side, side)`, out; small ones are enlarged, large ones shrunk to 96 pixels."""
    if not len(images):
        return _blank_sheet(1, "Nothing was accepted.")
    side = images.shape[-1]
    shown = np.stack([_shrink(image) for image in images]) if side > _TILE else images
    return Image.fromarray(make_grid(shown, columns=16, scale=max(1, 64 // side)))


def draw_skipped(tiles: list[SkippedTile]) -> Image.Image:
    """Lay skipped inputs out, each above its reason and its name; an empty frame stands for what cannot be shown."""
    rows = max(1, -(-len(tiles) // _COLUMNS))
    sheet = _blank_sheet(rows, "" if tiles else "Nothing was skipped.")
    draw, font = ImageDraw.Draw(sheet), _font()
    for number, tile in enumerate(tiles):
        left, top = _GAP + number % _COLUMNS * _WIDTH, _GAP + number // _COLUMNS * _HEIGHT
        if tile.picture is None:
            draw.rectangle((left, top, left + _TILE - 1, top + _TILE - 1), _NOTHING)
        else:
            picture = tile.picture.convert("RGB")
            picture.thumbnail((_TILE, _TILE))
            x, y = left + (_TILE - picture.width) // 2, top + (_TILE - picture.height) // 2
            # White pictures on white paper would not be seen.
            draw.rectangle((x - 1, y - 1, x + picture.width, y + picture.height), outline=_NOTHING)
            sheet.paste(picture, (x, y))
        name = tile.path.rpartition("/")[2]
        draw.text((left, top + _TILE + 2), tile.reason, _INK, font)
        draw.text((left, top + _TILE + 16), _fitting(name, font), "#777777", font)
    return sheet


def from_jpeg(data: bytes | None) -> Image.Image | None:
    """Open a thumbnail."""
    return Image.open(io.BytesIO(data), formats=("JPEG",)) if data else None


def from_pixels(image: np.ndarray) -> Image.Image:
    """Return a prepared image, uint8 `(C, H, W)`, as a picture."""
    return Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))


def _blank_sheet(rows: int, text: str) -> Image.Image:
    sheet = Image.new("RGB", (_COLUMNS * _WIDTH + _GAP, rows * _HEIGHT + _GAP), _PAPER)
    ImageDraw.Draw(sheet).text((_GAP, _GAP), text, _INK, _font())
    return sheet


def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(11)


def _shrink(image: np.ndarray) -> np.ndarray:
    pixels = np.asarray(from_pixels(image).resize((_TILE, _TILE), Image.Resampling.LANCZOS))
    return pixels.reshape(_TILE, _TILE, len(image)).transpose(2, 0, 1)


def _fitting(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    # A line feed in a name would begin another line; the font has no signs for most scripts.
    text = "".join(sign if sign.isprintable() else "?" for sign in text)
    if font.getlength(text) <= _TILE:
        return text
    while text and font.getlength(text + "…") > _TILE:
        text = text[:-1]
    return text + "…"


# TODO(merge) reports.sheets

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


# TODO(merge) images.grid


@dataclass(frozen=True)
class SampleGrid:
    """A picture of the fixed latents' samples at one moment: uint8 `(H, W)` or `(H, W, 3)`."""

    images_seen: int
    picture: np.ndarray


@dataclass(frozen=True)
class SampleFrames:
    """New grids of a training, which has come to `images_seen`."""

    training_id: str
    images_seen: int
    grids: Sequence[SampleGrid]


@dataclass(frozen=True)
class Animation:
    """Pictures of one size, uint8 `(H, W)` or `(H, W, 3)`, and how fast they follow each other."""

    pictures: Sequence[np.ndarray]
    frames_per_second: float


def make_grid(images: np.ndarray, columns: int | None = None, gap: int = 2, scale: int = 1) -> np.ndarray:
    """Lay uint8 images `(N, C, H, W)` out in rows; return uint8 `(H', W', C)`, or `(H', W')` for grey.

    Without `columns` the grid is as square as can be. `gap` is in pixels of the result, black;
    `scale` repeats pixels, for images too small to look at.
    """
    count, channels, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    height, width = height * scale, width * scale
    grid = np.zeros((channels, rows * (height + gap) - gap, columns * (width + gap) - gap), dtype=np.uint8)
    for number, image in enumerate(images):
        top, left = (number // columns) * (height + gap), (number % columns) * (width + gap)
        grid[:, top : top + height, left : left + width] = image.repeat(scale, axis=1).repeat(scale, axis=2)
    return grid[0] if channels == 1 else grid.transpose(1, 2, 0)
