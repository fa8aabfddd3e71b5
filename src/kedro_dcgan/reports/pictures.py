"""Contact sheets: many pictures in one, of what was kept and of what was not."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kedro_dcgan.images.grid import make_grid

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
