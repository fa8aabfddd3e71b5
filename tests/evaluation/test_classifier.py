import pytest
import torch

from kedro_dcgan.evaluation.classifier import Classifier


def bars(count, size=16, channels=1, seed=0):
    """Noisy images with a bright bar at the top (0), at the left (1), or in the middle row (2)."""
    source = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count,), generator=source)
    images = torch.rand(count, channels, size, size, generator=source) * 100
    images[labels == 0, :, 2 : size // 4] += 120
    images[labels == 1, :, :, 2 : size // 4] += 120
    images[labels == 2, :, size // 2 : size // 2 + 3] += 120
    return images.to(torch.uint8), labels


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 3), (65, 3)])
def test_classes_are_learned_and_recognised_in_other_images(size, channels, monkeypatch):
    monkeypatch.setattr("kedro_dcgan.evaluation.classifier._LEAST_IMAGES", 6000)
    network = Classifier(*bars(200, size, channels), classes=3)
    accuracy = network.accuracy(*bars(300, size, channels, seed=1))
    assert accuracy.value > 0.95
    assert accuracy.low < accuracy.value <= accuracy.high


def test_equal_images_give_equal_predictions(monkeypatch):
    monkeypatch.setattr("kedro_dcgan.evaluation.classifier._LEAST_IMAGES", 500)
    images, labels = bars(100)
    torch.manual_seed(1)
    first = Classifier(images, labels, 3).predict(images)
    torch.manual_seed(2)
    second = Classifier(images, labels, 3).predict(images)
    assert torch.equal(first, second)


def test_fewer_images_than_a_batch_and_missing_classes(monkeypatch):
    monkeypatch.setattr("kedro_dcgan.evaluation.classifier._LEAST_IMAGES", 200)
    images, labels = bars(10)
    assert Classifier(images, labels, 7).predict(images).shape == (10,)
