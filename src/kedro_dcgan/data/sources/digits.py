"""The embedded digits as a folder of PNG files, so that they take the road that a user's own images take."""

from pathlib import Path

from PIL import Image

from kedro_dcgan.images.digits import embedded_digits
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
