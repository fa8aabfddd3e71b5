"""Small pictures of what was skipped, for people who want to see it: the upper half of a cut-off photo says a lot."""

import io
from collections import Counter
from collections.abc import Sequence

import numpy as np
from PIL import Image

from kedro_dcgan.data.decode import Colour, Header, open_image, open_with_pillow, read_pixels
from kedro_dcgan.data.orientation import set_upright
from kedro_dcgan.data.verdicts import Reason
from kedro_dcgan.errors import UnusableImageError

SIDE = 96
# In a whole set, of however many images: as many as a contact sheet of one reason alone has room for.
MOST_OF_A_REASON = 48
_MOST_OF_A_REASON_IN_A_BLOCK = 4
_SHOWABLE = (Reason.TOO_SMALL, Reason.BLANK, Reason.TRUNCATED, Reason.CORRUPT, Reason.NO_BOX)
# A JPEG is decoded at a fraction of its size if that leaves this many times the pixels of a thumbnail.
_SPARE = 2


class Thumbnails:
    """Makes thumbnails of the first few skipped inputs of each reason in one block of inputs."""

    def __init__(self, background: Colour = (255, 255, 255)) -> None:
        self._background = background
        self._made: Counter[str] = Counter()

    def of(self, data: bytes, reason: str | None, max_pixels: int) -> bytes | None:
        """Return a JPEG that fits 96x96, or nothing if there are enough or nothing can be shown."""
        if reason not in _SHOWABLE or self._made[reason] == _MOST_OF_A_REASON_IN_A_BLOCK:
            return None
        try:
            picture = _draw(open_image(data, max_pixels), self._background)
            stream = io.BytesIO()
            picture.save(stream, "JPEG", quality=80)
        except Exception:  # It was skipped for a reason: that it cannot be shown adds nothing.
            return None
        self._made[reason] += 1
        return stream.getvalue()


def drop_surplus(
    thumbnails: Sequence[bytes | None], reasons: Sequence[str | None], kept: Counter[str]
) -> list[bytes | None]:
    """Leave out what a set has enough of: a block may hold two images, and a set a million blocks.

    `kept` is how many thumbnails of each reason the inputs before these have; it is brought up to date.
    """
    wanted: list[bytes | None] = []
    for thumbnail, reason in zip(thumbnails, reasons, strict=True):
        if thumbnail is None or reason is None or kept[reason] == MOST_OF_A_REASON:
            wanted.append(None)
        else:
            kept[reason] += 1
            wanted.append(thumbnail)
    return wanted


def _draw(header: Header, background: Colour) -> Image.Image:
    reduction = max(1.0, max(header.width, header.height) / (_SPARE * SIDE))
    try:
        pixels, _ = read_pixels(header, background, reduction=reduction)
    except UnusableImageError:
        pixels = _above_the_damage(header.data)
    upright = set_upright(pixels, header.orientation)
    picture = Image.fromarray(np.ascontiguousarray(upright if upright.shape[2] == 3 else upright[:, :, 0]))
    picture.thumbnail((SIDE, SIDE))
    return picture


def _above_the_damage(data: bytes) -> np.ndarray:
    image = open_with_pillow(data)
    try:
        image.load()
    except OSError:
        # The rows before the damage are there: it must not try to read on.
        image.tile = []  # type: ignore[attr-defined]  # it was read from a file
    image.thumbnail((SIDE, SIDE))
    return np.asarray(image.convert("RGB"))
