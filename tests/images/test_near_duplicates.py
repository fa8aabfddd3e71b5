import numpy as np
import pytest
from PIL import Image

from kedro_dcgan.images.near_duplicates import group_alike, perceptual_hash


def picture(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((64, 64), Image.Resampling.BICUBIC)


def hash_of(image):
    return perceptual_hash(np.asarray(image).transpose(2, 0, 1))


def bits_apart(one, other):
    return (one ^ other).bit_count()


def test_a_perceptual_hash_hardly_changes_when_a_picture_is_scaled_or_lightened():
    image = picture(0)
    lighter = image.point(lambda level: min(255, level + 10))
    again = image.resize((40, 40)).resize((64, 64))
    assert bits_apart(hash_of(image), hash_of(lighter)) <= 4
    assert bits_apart(hash_of(image), hash_of(again)) <= 4
    assert bits_apart(hash_of(image), hash_of(picture(1))) > 12


@pytest.mark.parametrize("most_bits", [0, 1, 4, 7, 16])
def test_group_alike_finds_what_comparing_all_pairs_finds(most_bits):
    random = np.random.default_rng(most_bits)
    seeds = random.integers(0, 2**64, 60, dtype=np.uint64)
    flips = [sum(1 << int(bit) for bit in random.choice(64, random.integers(0, 9), replace=False)) for _ in range(400)]
    hashes = seeds[random.integers(0, 60, 400)] ^ np.array(flips, dtype=np.uint64)
    close = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= most_bits
    reached = close.copy()
    for _ in range(9):
        reached = (reached.astype(np.float32) @ reached) > 0
    groups = group_alike(hashes, most_bits)
    assert ((groups[:, None] == groups[None]) == reached).all()


def test_group_alike_takes_many_equal_hashes_at_once():
    assert len(set(group_alike(np.zeros(200_000, dtype=np.uint64), 4))) == 1
