"""pHash: 64 bits that hardly change when a picture is scaled, lightened or compressed again."""

import numpy as np
from PIL import Image

_SIDE, _FREQUENCIES = 32, 8


def perceptual_hashes(images: np.ndarray) -> np.ndarray:
    """Return the pHashes, `(N,)` uint64, of uint8 images `(N, C, side, side)`, grey or RGB.

    Each bit tells whether one of the 8x8 lowest frequencies (of the discrete cosine transform of the picture in grey at
    32x32) is above their median: Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash Functions. The
    order of the bits is that of the `imagehash` package, which takes many times as long.
    """
    lowest = (_COSINES @ shrink(images).astype(np.float64) @ _COSINES.T).reshape(len(images), _FREQUENCIES**2)
    bits = lowest > np.median(lowest, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def shrink(images: np.ndarray) -> np.ndarray:
    """Return the images in grey at 32x32, uint8 `(N, 32, 32)`: the means of equal parts."""
    if images.shape[1] == 1:
        grey = images[:, 0]
    else:
        red, green, blue = (images[:, channel].astype(np.uint16) for channel in range(3))
        grey = ((77 * red + 150 * green + 29 * blue) >> 8).astype(np.uint8)
    parts, rest = divmod(grey.shape[-1], _SIDE)
    if rest:
        pictures = [Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.BOX) for image in grey]
        return np.stack([np.asarray(picture) for picture in pictures]) if pictures else grey[:, :_SIDE, :_SIDE]
    total = np.zeros((len(grey), _SIDE, _SIDE), dtype=np.uint32)
    for row in range(parts):
        for column in range(parts):
            total += grey[:, row::parts, column::parts]
    return (total // parts**2).astype(np.uint8)


def _cosines() -> np.ndarray:
    frequencies, places = np.arange(_FREQUENCIES)[:, None], np.arange(_SIDE)
    cosines = np.cos(np.pi * frequencies * (2 * places + 1) / (2 * _SIDE))
    # Whole numbers, whose sums stay below 2^53: exact, so that equal images have equal hashes on every processor. In
    # a symmetric picture half of the frequencies are 0, and rounding would decide whether they are above it.
    return np.rint(cosines * 2**17)


_COSINES = _cosines()
