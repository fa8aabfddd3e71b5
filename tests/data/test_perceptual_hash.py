import imagehash
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from kedro_dcgan.data.duplicates import perceptual_hashes, shrink


def picture(seed, side=64):
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)


def hash_of(image):
    return int(perceptual_hashes(np.asarray(image).transpose(2, 0, 1)[None])[0])


def bits_apart(one, other):
    return (one ^ other).bit_count()


def by_imagehash(shrunk):
    # imagehash shrinks to the same size with another filter, so give it that size.
    return int(str(imagehash.phash(Image.fromarray(shrunk))), 16)


def assert_equal_to_imagehash(images):
    ours, theirs = perceptual_hashes(images).tolist(), map(by_imagehash, shrink(images))
    apart = [bits_apart(*pair) for pair in zip(ours, theirs, strict=True)]
    # Rounding may decide for a frequency equal to the median.
    assert max(apart) <= 1
    assert np.mean(apart) < 0.02


def test_hash_hardly_changes_with_scale_or_brightness():
    image = picture(0)
    lighter = image.point(lambda level: min(255, level + 10))
    again = image.resize((40, 40)).resize((64, 64))
    assert bits_apart(hash_of(image), hash_of(lighter)) <= 4
    assert bits_apart(hash_of(image), hash_of(again)) <= 4
    assert bits_apart(hash_of(image), hash_of(picture(1))) > 12


@pytest.mark.parametrize("side", [16, 32, 64, 200])
@pytest.mark.parametrize("channels", [1, 3])
def test_hash_agrees_with_imagehash(side, channels):
    images = np.stack([np.asarray(picture(seed, side)).transpose(2, 0, 1)[:channels] for seed in range(100)])
    assert_equal_to_imagehash(images)


def test_hash_of_digits_agrees_with_imagehash():
    assert_equal_to_imagehash((load_digits().images[:, None] * 15).astype(np.uint8).repeat(4, 2).repeat(4, 3))


def test_rounding_does_not_affect_zero_frequencies():
    half = np.random.default_rng(0).integers(0, 256, (32, 16), dtype=np.uint8)
    symmetric = np.concatenate([half, half[:, ::-1]], axis=1)[None, None]
    bits = np.unpackbits(perceptual_hashes(symmetric).astype(">u8").view(np.uint8)).reshape(8, 8)
    # Frequencies that are odd across are all 0: all are above the median, or none.
    assert len(np.unique(bits[:, 1::2])) == 1


def test_hash_does_not_depend_on_the_other_images():
    images = np.stack([np.asarray(picture(seed)).transpose(2, 0, 1) for seed in range(20)])
    one_by_one = [int(perceptual_hashes(images[number : number + 1])[0]) for number in range(20)]
    assert perceptual_hashes(images).tolist() == one_by_one


@pytest.mark.parametrize("side", [32, 40])
def test_hashes_of_no_images(side):
    assert perceptual_hashes(np.empty((0, 3, side, side), dtype=np.uint8)).shape == (0,)


@pytest.mark.parametrize("side", [16, 32, 64, 96, 100])
def test_shrink_averages_over_equal_parts(side):
    image = picture(0, side)
    expected = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=int)
    assert np.abs(shrink(np.asarray(image).transpose(2, 0, 1)[None])[0] - expected).max() <= 2
