import tracemalloc

import numpy as np
import pytest

from kedro_dcgan.data.duplicates import group_near_duplicates


@pytest.mark.parametrize("max_bits", [0, 1, 4, 7, 8])
def test_groups_equal_those_of_comparing_all_pairs(max_bits):
    random = np.random.default_rng(max_bits)
    seeds = random.integers(0, 2**64, 60, dtype=np.uint64)
    flips = [sum(1 << int(bit) for bit in random.choice(64, random.integers(0, 9), replace=False)) for _ in range(400)]
    hashes = seeds[random.integers(0, 60, 400)] ^ np.array(flips, dtype=np.uint64)
    close = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= max_bits
    reached = close.copy()
    for _ in range(9):
        reached = (reached.astype(np.float32) @ reached) > 0
    groups = group_near_duplicates(hashes, max_bits)
    assert ((groups[:, None] == groups[None]) == reached).all()


def hashes_around(centre, count):
    """Hashes at a distance of at most 8 bits: flips of 4 of the 64."""
    random = np.random.default_rng(0)
    flips = [sum(1 << int(bit) for bit in random.choice(64, 4, replace=False)) for _ in range(count)]
    return np.unique(np.uint64(centre) ^ np.array(flips, dtype=np.uint64))


@pytest.mark.parametrize("others", [0, 2000])
def test_grouping_needs_little_memory_if_all_are_near_duplicates(others):
    alike = hashes_around(0x0123456789ABCDEF, 2000)
    hashes = np.concatenate([alike, np.random.default_rng(1).integers(0, 2**64, others, dtype=np.uint64)])
    group_near_duplicates(hashes[:2], 8)  # imports do not count
    tracemalloc.start()
    groups = group_near_duplicates(hashes, 8)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # There are two million pairs, each of which would take 16 bytes for every band that it shares.
    assert peak < 5_000_000
    assert len(set(groups[: len(alike)])) == 1
    assert len(set(groups)) == 1 + others


def test_grouping_no_hashes():
    assert group_near_duplicates(np.array([], dtype=np.uint64), 4).shape == (0,)


def test_many_equal_hashes_are_one_group():
    assert len(set(group_near_duplicates(np.zeros(200_000, dtype=np.uint64), 4))) == 1
