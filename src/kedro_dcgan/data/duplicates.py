"""Pictures that look alike: groups of those whose perceptual hashes differ in few bits."""

from itertools import count, pairwise

import numpy as np


def group_alike(hashes: np.ndarray, most_bits: int) -> np.ndarray:
    """Return the number of the group of each uint64 hash, `(N,)` int.

    Two hashes that differ in at most `most_bits` bits are in one group, and so are those that are
    connected through others. Exact, without comparing all pairs: of `most_bits + 1` bands that the
    bits are cut into, two such hashes share at least one (Manku et al. 2007, Detecting near-duplicates
    for web crawling). Memory is linear in N, however many are alike.
    """
    distinct, place = np.unique(hashes, return_inverse=True)
    groups = np.arange(len(distinct))
    for low, high in pairwise(np.linspace(0, 64, most_bits + 2, dtype=int)):
        mask = np.uint64((1 << int(high)) - (1 << int(low)))
        groups = _join_within_equal_bands(distinct, distinct & mask, most_bits, groups)
    return groups[place]


def _join_within_equal_bands(hashes: np.ndarray, bands: np.ndarray, most_bits: int, groups: np.ndarray) -> np.ndarray:
    order = np.argsort(bands, kind="stable")
    _, starts, of_place, sizes = np.unique(bands[order], return_index=True, return_inverse=True, return_counts=True)
    ends = (starts + sizes)[of_place]
    places = np.arange(len(order))
    # Compare each hash with the next of its band, then with the one after that, until no band is so long.
    for step in count(1):
        if step & (step - 1) == 0:
            # Now and then, leave out the bands that are one group already: most of the work where many are alike.
            in_order = groups[order]
            is_one = np.minimum.reduceat(in_order, starts) == np.maximum.reduceat(in_order, starts)
            places = places[~is_one[of_place[places]]]
        places = places[places + step < ends[places]]
        if not len(places):
            break
        first, second = order[places], order[places + step]
        close = np.bitwise_count(hashes[first] ^ hashes[second]) <= most_bits
        groups = _join(groups, groups[first[close]], groups[second[close]])
    return groups


def _join(groups: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # At once, not later: the pairs of a dense cluster grow with the square of its size.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    apart = first != second
    if not apart.any():
        return groups
    joined, ends = np.unique(np.stack([first[apart], second[apart]]), return_inverse=True)
    graph = coo_array((np.ones(ends.shape[1], dtype=bool), (ends[0], ends[1])), shape=(len(joined),) * 2)
    _, component = connected_components(graph, directed=False)
    # All of a component take the number of its first.
    number = np.arange(len(groups))
    number[joined] = joined[np.unique(component, return_index=True)[1]][component]
    return number[groups]
