import numpy as np
import pytest
import torch

from kedro_dcgan.errors import DataError
from kedro_dcgan.model.sampling import to_model_range, to_uint8

LEVELS = np.arange(256, dtype=np.uint8)


def test_to_model_range_is_exact_at_both_ends():
    scaled = to_model_range(LEVELS)
    assert scaled.dtype == torch.float32
    assert scaled[0].item() == -1.0
    assert scaled[255].item() == 1.0


def test_to_uint8_is_the_inverse_for_every_level():
    assert to_uint8(to_model_range(LEVELS)).tolist() == list(range(256))


def test_to_uint8_rounds_to_the_nearest_level():
    between = (torch.tensor([10.4, 10.6, 254.4, 254.6]) / 127.5) - 1
    assert to_uint8(between).tolist() == [10, 11, 254, 255]


def test_to_uint8_clamps_and_never_wraps():
    assert to_uint8(torch.tensor([-1.2, -1.0, 1.0, 1.2, torch.inf])).tolist() == [0, 0, 255, 255, 255]


def test_to_uint8_rejects_nan():
    with pytest.raises(DataError, match="NaN"):
        to_uint8(torch.tensor([0.0, torch.nan]))


def test_to_model_range_leaves_its_input_alone():
    images = np.full((2, 1, 4, 4), 128, dtype=np.uint8)
    to_model_range(images)
    assert (images == 128).all()
