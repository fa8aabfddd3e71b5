"""The embedded images: 1,797 handwritten digits, scanned, that come with scikit-learn.

Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository.
"""

from collections.abc import Iterator

import numpy as np


def embedded_digits() -> Iterator[tuple[str, np.ndarray]]:
    """Yield `(relative path, grey uint8 image (8, 8))` for each digit, as `7/0042.png` (class, number)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    # The scans have 17 grey levels, 0 to 16: spread them over 0 to 255.
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    for number, (image, label) in enumerate(zip(images, digits.target, strict=True)):
        yield f"{label}/{number:04d}.png", image
