"""pHash: 64 bits that hardly change when a picture is scaled, lightened or compressed again."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

_SIDE, _FREQUENCIES = 32, 8


def shrink(image: np.ndarray) -> np.ndarray:
    """Return what a uint8 image `(C, H, W)` is hashed by: itself in grey, uint8 `(32, 32)`."""
    picture = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
    return np.asarray(picture.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX))


def perceptual_hashes(shrunk: Sequence[np.ndarray]) -> np.ndarray:
    """Return the pHashes, `(N,)` uint64, of N images after `shrink`.

    Each bit tells whether one of the 8x8 lowest frequencies of the discrete cosine transform is above their median:
    Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash Functions. The order of the bits is that of
    the `imagehash` package, which takes several times as long.
    """
    if not shrunk:
        return np.empty(0, dtype=np.uint64)
    lowest = (_COSINES @ np.stack(shrunk).astype(np.float64) @ _COSINES.T).reshape(len(shrunk), -1)
    bits = lowest > np.median(lowest, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def _cosines() -> np.ndarray:
    frequencies, places = np.arange(_FREQUENCIES)[:, None], np.arange(_SIDE)
    cosines = np.cos(np.pi * frequencies * (2 * places + 1) / (2 * _SIDE))
    # Whole numbers, whose sums stay below 2^53: exact, so that equal images have equal hashes on every processor. In
    # a symmetric picture half of the frequencies are 0, and rounding would decide whether they are above it.
    return np.rint(cosines * 2**17)


_COSINES = _cosines()
