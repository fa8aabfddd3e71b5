"""Pictures that look alike: perceptual hashes, and groups of those that differ in few bits."""

from itertools import pairwise

import numpy as np
from PIL import Image


def perceptual_hash(pixels: np.ndarray) -> int:
    """Return the 64-bit pHash of a uint8 image `(C, H, W)`: signs of its lowest frequencies.

    Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash Functions; computed by the
    `imagehash` package.
    """
    import imagehash

    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    return int(str(imagehash.phash(picture)), 16)


def group_alike(hashes: np.ndarray, most_bits: int) -> np.ndarray:
    """Return the number of the group of each uint64 hash, `(N,)` int.

    Two hashes that differ in at most `most_bits` bits are in one group, and so are those that are
    connected through others. Exact, without comparing all pairs: of `most_bits + 1` bands that the
    bits are cut into, two such hashes share at least one (Manku et al. 2007, Detecting near-duplicates
    for web crawling).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    distinct, place = np.unique(hashes, return_inverse=True)
    edges = [np.empty((0, 2), dtype=np.int64)]
    for low, high in pairwise(np.linspace(0, 64, most_bits + 2, dtype=int)):
        mask = np.uint64((1 << int(high)) - (1 << int(low)))
        edges += _close_within_equal_bands(distinct, distinct & mask, most_bits)
    first, second = np.concatenate(edges).T
    graph = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(len(distinct),) * 2)
    return connected_components(graph, directed=False)[1][place]


def _close_within_equal_bands(hashes: np.ndarray, bands: np.ndarray, most_bits: int) -> list[np.ndarray]:
    order = np.argsort(bands, kind="stable")
    edges = []
    # Compare each hash with the next of its band, then with the one after that, until no band is so long.
    for step in range(1, len(order)):
        first, second = order[:-step], order[step:]
        same = bands[first] == bands[second]
        if not same.any():
            break
        first, second = first[same], second[same]
        close = np.bitwise_count(hashes[first] ^ hashes[second]) <= most_bits
        edges.append(np.stack([first[close], second[close]], axis=1))
    return edges
