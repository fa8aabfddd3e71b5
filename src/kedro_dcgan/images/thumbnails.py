"""Small pictures of what was skipped, for people who want to see it: the upper half of a cut-off photo says a lot."""

import io
from collections import Counter

from PIL import Image

from kedro_dcgan.errors import UnusableImageError
from kedro_dcgan.images.decode import open_with_pillow
from kedro_dcgan.images.verdicts import Reason

SIDE = 96
_FOR_EACH_REASON = 4
_SHOWABLE = (Reason.TOO_SMALL, Reason.BLANK, Reason.TRUNCATED, Reason.CORRUPT, Reason.NO_BOX)


class Thumbnails:
    """Makes thumbnails of the first few skipped inputs of each reason."""

    def __init__(self) -> None:
        self._made: Counter[str] = Counter()

    def of(self, data: bytes, reason: str | None, max_pixels: int) -> bytes | None:
        """Return a JPEG that fits 96x96, or nothing if there are enough or nothing can be shown."""
        if reason not in _SHOWABLE or self._made[reason] == _FOR_EACH_REASON:
            return None
        try:
            picture = _what_can_be_decoded(data, max_pixels)
            picture.thumbnail((SIDE, SIDE))
            stream = io.BytesIO()
            picture.convert("RGB").save(stream, "JPEG", quality=80)
        except Exception:  # It was skipped for a reason: that it cannot be shown adds nothing.
            return None
        self._made[reason] += 1
        return stream.getvalue()


def _what_can_be_decoded(data: bytes, max_pixels: int) -> Image.Image:
    image = open_with_pillow(data)
    if image.width * image.height > max_pixels:
        raise UnusableImageError(Reason.TOO_MANY_PIXELS)
    try:
        image.load()
    except OSError:
        # The rows before the damage are there: it must not try to read on.
        image.tile = []  # type: ignore[attr-defined]  # it was read from a file
    return image
