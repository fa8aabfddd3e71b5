"""Grids, contact sheets and the pictures of an evaluation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP, _PAPER, _INK, _QUIET, _FRAME = 8, "white", "#333333", "#777777", "#e4e4e4"
# The contact sheet of skipped inputs: sides of a tile and heights of its caption, in pixels; tiles in a row.
_TILE, _TILE_CAPTION, _COLUMNS = 96, 30, 8
_STEP_X, _STEP_Y = _TILE + _GAP, _TILE + _TILE_CAPTION + _GAP
# The pictures of an evaluation: height of a caption, least side of an image.
_CAPTION, _LEAST_SIDE = 26, 48


@dataclass(frozen=True)
class SampleGrid:
    """A grid of samples of the fixed latents, uint8 `(H, W)` or `(H, W, 3)`."""

    images_seen: int
    picture: np.ndarray


@dataclass(frozen=True)
class SampleFrames:
    """New grids of a training that has reached `images_seen`; all of them, if it cannot resume."""

    training_id: str
    images_seen: int
    grids: Sequence[SampleGrid]
    may_resume: bool = True


@dataclass(frozen=True)
class ClosestPairs:
    """The samples that are closest to a training image, in pixels or in features, and these training images.

    Both are uint8 `(n, C, H, W)`.
    """

    space: str
    samples: np.ndarray
    training: np.ndarray


@dataclass(frozen=True)
class Animation:
    """Pictures of one size, uint8 `(H, W)` or `(H, W, 3)`, their rate, and for how much longer the last one stays."""

    pictures: Sequence[np.ndarray]
    frames_per_second: float
    rest_seconds: float = 1.5


@dataclass(frozen=True)
class SkippedTile:
    """A skipped input: its path, the reason, and a picture if it can be decoded."""

    path: str
    reason: str
    picture: Image.Image | None = None


def make_grid(images: np.ndarray, columns: int | None = None, gap: int = 2, scale: int = 1) -> np.ndarray:
    """Lay out uint8 images `(N, C, H, W)` in rows; return uint8 `(H', W', C)`, or `(H', W')` for grey.

    Without `columns` the grid is about square. `gap` is black, in pixels of the result; `scale` repeats pixels.
    """
    count, channels, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    height, width = height * scale, width * scale
    grid = np.zeros((channels, rows * (height + gap) - gap, columns * (width + gap) - gap), dtype=np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        grid[:, top : top + height, left : left + width] = image.repeat(scale, axis=1).repeat(scale, axis=2)
    return grid[0] if channels == 1 else grid.transpose(1, 2, 0)


def from_pixels(image: np.ndarray) -> Image.Image:
    """Convert a prepared image, uint8 `(C, H, W)`."""
    return Image.fromarray(make_grid(image[None]))


def draw_accepted(images: np.ndarray) -> Image.Image:
    """Draw prepared images, uint8 `(N, C, side, side)`, enlarged if small and shrunk to 96 pixels if large."""
    if not len(images):
        return _empty_contact_sheet(1, "No images were accepted.")
    channels, side = images.shape[1:3]
    if side > _TILE:
        tiles = [from_pixels(image).resize((_TILE, _TILE), Image.Resampling.LANCZOS) for image in images]
        images = np.stack([np.asarray(tile).reshape(_TILE, _TILE, channels).transpose(2, 0, 1) for tile in tiles])
    return Image.fromarray(make_grid(images, columns=16, scale=max(1, 64 // side)))


def draw_skipped(tiles: Sequence[SkippedTile]) -> Image.Image:
    """Draw skipped inputs above their reasons and names; an input that cannot be decoded is an empty tile."""
    sheet = _empty_contact_sheet(max(1, -(-len(tiles) // _COLUMNS)), "" if tiles else "No files were skipped.")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for index, tile in enumerate(tiles):
        left, top = _GAP + index % _COLUMNS * _STEP_X, _GAP + index // _COLUMNS * _STEP_Y
        if tile.picture is None:
            draw.rectangle((left, top, left + _TILE - 1, top + _TILE - 1), _FRAME)
        else:
            picture = tile.picture.convert("RGB")
            picture.thumbnail((_TILE, _TILE))
            x, y = left + (_TILE - picture.width) // 2, top + (_TILE - picture.height) // 2
            # The outline makes white pictures visible.
            draw.rectangle((x - 1, y - 1, x + picture.width, y + picture.height), outline=_FRAME)
            sheet.paste(picture, (x, y))
        draw.text((left, top + _TILE + 2), tile.reason, _INK, font)
        # A line feed would start a second line; the font lacks most scripts.
        name = "".join(sign if sign.isprintable() else "?" for sign in tile.path.rpartition("/")[2])
        if font.getlength(name) > _TILE:
            while name and font.getlength(f"{name}…") > _TILE:
                name = name[:-1]
            name = f"{name}…"
        draw.text((left, top + _TILE + 16), name, _QUIET, font)
    return sheet


def _empty_contact_sheet(rows: int, text: str) -> Image.Image:
    sheet = Image.new("RGB", (_COLUMNS * _STEP_X + _GAP, rows * _STEP_Y + _GAP), _PAPER)
    ImageDraw.Draw(sheet).text((_GAP, _GAP), text, _INK, ImageFont.load_default(11))
    return sheet


def draw_strips(strips: Sequence[tuple[str, np.ndarray]], columns: int) -> Image.Image:
    """Draw strips of images, uint8 `(N, C, H, W)`, each below its caption."""
    return _sheet(*((caption, images, columns) for caption, images in strips))


def draw_side_by_side(columns: Sequence[tuple[str, np.ndarray, int]]) -> Image.Image:
    """Draw grids beside each other: a caption, images as uint8 `(N, C, H, W)`, and the number of columns of each."""
    return _side_by_side([_sheet(column) for column in columns])


def draw_too_few_images() -> Image.Image:
    """Draw the note that stands for each picture of an evaluation with too few images."""
    return _sheet(("There are too few images for this picture.", None, 0))


def draw_evaluation(
    samples: np.ndarray,
    real: np.ndarray,
    nearest: np.ndarray,
    closest: Sequence[ClosestPairs],
    best: np.ndarray,
    worst: np.ndarray,
) -> tuple[Image.Image, Image.Image, Image.Image]:
    """Draw samples beside real images, samples beside their nearest training images, and best and worst samples.

    All images are uint8 `(N, C, H, W)`. nearest: for each of the first samples its k nearest, `(n, k, C, H, W)`.
    """
    compared = [_sheet(("generated", samples, 8)), _sheet(("real, test split", real, 8))]
    # Separate sheets, so that nobody takes a training image for a generated one.
    neighbours = []
    for half in np.array_split(np.arange(len(nearest)), 2):
        if len(half):
            training = nearest[half].reshape(-1, *nearest.shape[2:])
            neighbours.append(_sheet(("generated", samples[half], 1)))
            neighbours.append(_sheet(("nearest training images", training, nearest.shape[1])))
    for pairs in closest:
        neighbours.append(_sheet((f"closest in {pairs.space}", pairs.samples, 1)))
        neighbours.append(_sheet(("training images", pairs.training, 1)))
    extremes = ("most like real images, best first", best, 16), ("least like real images, worst last", worst, 16)
    return _side_by_side(compared), _side_by_side(neighbours), _sheet(*extremes)


def _sheet(*groups: tuple[str, np.ndarray | None, int]) -> Image.Image:
    """Draw captions, each above a grid of its images, of the given number of columns."""
    font, grids = ImageFont.load_default(12), []
    for caption, images, columns in groups:
        grid = Image.new("RGB", (0, 0))
        if images is not None:
            scale = max(1, -(-_LEAST_SIDE // images.shape[-1]))
            grid = Image.fromarray(make_grid(images, columns, scale=scale)).convert("RGB")
        grids.append((caption, grid))

    width = max(max(grid.width, int(font.getlength(caption))) for caption, grid in grids)
    height = sum(_CAPTION + grid.height for _, grid in grids)
    sheet, top = Image.new("RGB", (width + 2 * _GAP, height + _GAP), _PAPER), 0
    for caption, grid in grids:
        ImageDraw.Draw(sheet).text((_GAP, top + _GAP), caption, _INK, font)
        sheet.paste(grid, (_GAP, top + _CAPTION))
        top += _CAPTION + grid.height
    return sheet


def _side_by_side(sheets: Sequence[Image.Image]) -> Image.Image:
    together = Image.new("RGB", (sum(one.width for one in sheets), max(one.height for one in sheets)), _PAPER)
    left = 0
    for one in sheets:
        together.paste(one, (left, 0))
        left += one.width
    return together
