"""EXIF orientation: how a picture lies in its file, and how to set it upright.

An upright picture is that of the file, first transposed and then mirrored: for each of the eight values
of the tag (Exif 2.32, 4.6.4), whether transposed, mirrored left to right, mirrored top to bottom.
"""

import numpy as np

Region = tuple[int, int, int, int]

_STEPS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return width and height of the upright picture, or of the file's from the upright one's."""
    return size[::-1] if _steps(orientation)[0] else size


def region_in_file(region: Region, width: int, height: int, orientation: int) -> Region:
    """Return where a region of the upright picture, of that width and height, lies in the file's."""
    left, top, right, bottom = region
    is_transposed, left_to_right, top_to_bottom = _steps(orientation)
    if left_to_right:
        left, right = width - right, width - left
    if top_to_bottom:
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if is_transposed else (left, top, right, bottom)


def set_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return a file's pixels `(height, width, bands)` upright."""
    is_transposed, left_to_right, top_to_bottom = _steps(orientation)
    turned = pixels.swapaxes(0, 1) if is_transposed else pixels
    return turned[:: -1 if top_to_bottom else 1, :: -1 if left_to_right else 1]


def _steps(orientation: int) -> tuple[bool, bool, bool]:
    # Values beyond 8 mean nothing.
    return _STEPS.get(orientation, _STEPS[1])
