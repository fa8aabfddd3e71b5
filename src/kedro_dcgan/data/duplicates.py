"""Near-duplicates: a perceptual hash for each image, and groups of images whose hashes differ in few bits."""

from itertools import count, pairwise

import numpy as np
from PIL import Image

_SIDE, _FREQUENCIES = 32, 8
# The cosines of the lowest frequencies `(8, 32)`, as integers: their sums, which stay below 2^53, are exact, so equal
# images have equal hashes on every processor. In a symmetric image half of the frequencies are 0, and rounding errors
# would decide whether they are above the median.
_PHASES = np.arange(_FREQUENCIES)[:, None] * (2 * np.arange(_SIDE) + 1) / (2 * _SIDE)
_COSINES = np.rint(np.cos(np.pi * _PHASES) * 2**17)


def perceptual_hashes(images: np.ndarray) -> np.ndarray:
    """Return the pHashes, `(N,)` uint64, of uint8 images `(N, C, side, side)`, grey or RGB.

    Each bit tells whether one of the 8x8 lowest frequencies (of the discrete cosine transform of the image in grey at
    32x32) is above their median: Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash Functions. The
    bit order is that of the `imagehash` package, which is many times slower.
    """
    lowest = (_COSINES @ shrink(images).astype(np.float64) @ _COSINES.T).reshape(len(images), _FREQUENCIES**2)
    bits = lowest > np.median(lowest, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def shrink(images: np.ndarray) -> np.ndarray:
    """Return the images in grey at 32x32, uint8 `(N, 32, 32)`, by averaging over equal parts."""
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


def group_near_duplicates(hashes: np.ndarray, max_bits: int) -> np.ndarray:
    """Return the group number of each uint64 hash, `(N,)` int.

    Two hashes that differ in at most `max_bits` bits are in one group, and so are hashes that are connected through
    others. Exact, without comparing all pairs: cut the bits into `max_bits + 1` bands, and two such hashes share at
    least one band (Manku et al. 2007, Detecting near-duplicates for web crawling). Memory is linear in N.
    """
    distinct, place = np.unique(hashes, return_inverse=True)
    groups = np.arange(len(distinct))
    for low, high in pairwise(np.linspace(0, 64, max_bits + 2, dtype=int)):
        mask = np.uint64((1 << int(high)) - (1 << int(low)))
        groups = _join_within_equal_bands(distinct, distinct & mask, max_bits, groups)
    return groups[place]


def _join_within_equal_bands(hashes: np.ndarray, bands: np.ndarray, max_bits: int, groups: np.ndarray) -> np.ndarray:
    order = np.argsort(bands, kind="stable")
    _, starts, of_place, sizes = np.unique(bands[order], return_index=True, return_inverse=True, return_counts=True)
    ends = (starts + sizes)[of_place]
    places = np.arange(len(order))
    # Compare each hash with the next of its band, then with the one after that, up to the length of the longest band.
    for step in count(1):
        if step & (step - 1) == 0:
            # At powers of two, drop bands that are one group already, which saves most work if many are alike.
            in_order = groups[order]
            is_one = np.minimum.reduceat(in_order, starts) == np.maximum.reduceat(in_order, starts)
            places = places[~is_one[of_place[places]]]
        places = places[places + step < ends[places]]
        if not len(places):
            break
        first, second = order[places], order[places + step]
        close = np.bitwise_count(hashes[first] ^ hashes[second]) <= max_bits
        groups = _join(groups, groups[first[close]], groups[second[close]])
    return groups


def _join(groups: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # Join at once instead of collecting pairs: the pairs of a dense cluster grow with the square of its size.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    apart = first != second
    if not apart.any():
        return groups
    joined, ends = np.unique(np.stack([first[apart], second[apart]]), return_inverse=True)
    graph = coo_array((np.ones(ends.shape[1], dtype=bool), (ends[0], ends[1])), shape=(len(joined),) * 2)
    _, component = connected_components(graph, directed=False)
    # All groups of a component take the number of its first group.
    number = np.arange(len(groups))
    number[joined] = joined[np.unique(component, return_index=True)[1]][component]
    return number[groups]
