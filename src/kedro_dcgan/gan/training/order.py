"""The order in which training sees its images: a function of seed and position, so that it can begin anywhere."""

from collections.abc import Iterator

import numpy as np


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return a permutation of `range(count)` that depends on seed and epoch alone."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def batch_indices(count: int, batch_size: int, batches: range, seed: int) -> Iterator[np.ndarray]:
    """Yield the index batches of these numbers, of full size: pass after pass, each in its own order."""
    a_pass = count // batch_size
    for number in batches:
        epoch, position = divmod(number, a_pass)
        if position == 0 or number == batches.start:
            order = epoch_order(count, seed, epoch)
        yield order[position * batch_size : (position + 1) * batch_size]
