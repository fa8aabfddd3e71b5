"""Writes uncompressed little-endian TIFF files of any numbers, which Pillow cannot."""

import struct

import numpy as np

_NUMBERS = {"u": 1, "i": 2, "f": 3}


def tiff(levels: np.ndarray, **tags: int) -> bytes:
    """Return a TIFF file of `(H, W)` or `(H, W, bands)`; `tags` replaces values, by tag number as `t262=0`."""
    pixels = levels if levels.ndim == 3 else levels[:, :, None]
    height, width, bands = pixels.shape
    body = np.ascontiguousarray(pixels).tobytes()
    bits, photometric = levels.dtype.itemsize * 8, 2 if bands == 3 else 1
    values = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: bands, 278: height}
    values |= {279: len(body), 339: _NUMBERS[levels.dtype.kind]} | {int(tag[1:]): value for tag, value in tags.items()}
    # Every value is one number of 32 bits, also those that have one number for each band.
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(values.items()))
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + struct.pack("<H", len(values)) + entries + bytes(4)
