"""The embedded digits as a folder of PNG files, so that they take the road that a user's own images take."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from kedro_dcgan.storage import atomic_folder

DIGITS = "data/01_raw/digits"


def write_digits(folder: Path) -> int:
    """Write the embedded digits as PNG files into `folder` and return how many there are."""
    with atomic_folder(folder) as temporary:
        count = 0
        for path, image in embedded_digits():
            target = temporary / path
            target.parent.mkdir(exist_ok=True)
            # Uncompressed, so that the bytes, and with them hashes and splits, are the same on every machine.
            Image.fromarray(image).save(target, compress_level=0)
            count += 1
    return count


# TODO(merge) images.digits


def embedded_digits() -> Iterator[tuple[str, np.ndarray]]:
    """Yield `(relative path, grey uint8 image (8, 8))` for each digit, as `7/0042.png` (class, number)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    # The scans have 17 grey levels, 0 to 16: spread them over 0 to 255.
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    for number, (image, label) in enumerate(zip(images, digits.target, strict=True)):
        yield f"{label}/{number:04d}.png", image
