"""The test for copies against its definition, closed forms and simulations."""

import numpy as np
import pytest
import torch

from kedro_dcgan.evaluation.copies import PixelVectors, closeness, near_copies


def drawn(count, dimension=16, seed=0):
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("training", [80, 20])
def test_closeness_is_the_nearest_distance_relative_to_the_50_nearest(monkeypatch, training):
    # Several blocks.
    monkeypatch.setattr("kedro_dcgan.evaluation.copies._PAIRS", 1000)
    images, others = drawn(70), drawn(training, seed=1)
    ratios, nearest = closeness(images, others)
    distances = np.linalg.norm(images.numpy()[:, None] - others.numpy()[None], axis=2)
    by_definition = distances.min(axis=1) / np.sort(distances, axis=1)[:, :50].mean(axis=1)
    np.testing.assert_allclose(ratios, by_definition, rtol=1e-4)
    np.testing.assert_array_equal(nearest, distances.argmin(axis=1))


def test_copies_have_a_ratio_of_0_and_the_mean_of_all_images_does_not():
    training = drawn(200)
    ratios, nearest = closeness(training[:20] + 1e-4, training)
    assert ratios.max() < 0.01
    assert nearest.tolist() == list(range(20))
    # The mean is closer to a training image than all others are to their own, but no copy of it.
    of_mean, _ = closeness(training.mean(dim=0, keepdim=True), training)
    assert near_copies(of_mean).value == 0


def test_closeness_does_not_depend_on_the_scale():
    one, _ = closeness(drawn(10), drawn(100, seed=1))
    other, _ = closeness(50 * drawn(10), 50 * drawn(100, seed=1))
    torch.testing.assert_close(one, other)


def test_equal_training_images_have_finite_ratios():
    ratios, _ = closeness(torch.zeros(2, 4), torch.zeros(5, 4))
    assert torch.isfinite(ratios).all()


def test_share_of_near_copies_is_that_of_small_ratios():
    found = near_copies(torch.tensor([0.0, 0.1, 0.39, 0.41, 0.5, 0.7, 0.8, 0.9, 1.0, 1.0]))
    assert found.value == pytest.approx(0.3)
    assert 0 < found.low < 0.3 < found.high < 1


@pytest.mark.parametrize(("channels", "size"), [(1, 32), (3, 16), (3, 37)])
def test_pixels_are_averaged_to_16x16(channels, size):
    extract = PixelVectors(channels)
    assert extract(torch.full((2, channels, size, size), 255, dtype=torch.uint8)).unique().tolist() == [1.0]
    image = torch.zeros(1, channels, size, size, dtype=torch.uint8)
    image[:, :, : size // 2] = 255
    vector = extract(image)
    assert vector.shape == (1, extract.dimension)
    assert vector.mean().item() == pytest.approx(2 * (size // 2) / size - 1, abs=0.02)


def test_pixels_of_noise_and_of_the_image_are_close():
    source = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (50, 1, 64, 64), generator=source, dtype=torch.uint8)
    noisy = (images.float() + 20 * torch.randn(images.shape, generator=source)).clamp(0, 255).byte()
    extract = PixelVectors(1)
    ratios, nearest = closeness(extract(noisy), extract(images))
    assert near_copies(ratios).value == 1
    assert nearest.tolist() == list(range(50))
