"""Pixel values: uint8 outside the networks, float32 NCHW in [-1, 1] inside, and nothing else anywhere."""

import numpy as np
import torch
from torch import Tensor

from kedro_dcgan.errors import DataError


def to_model_range(images: np.ndarray | Tensor) -> Tensor:
    """Map uint8 0..255 to float32 [-1, 1]: 0 becomes -1.0 and 255 becomes 1.0, exactly.

    The shape is kept. `x / 127.5 - 1`, as in Radford et al. 2015 (arXiv 1511.06434), section 4.
    """
    return torch.as_tensor(images).to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Map [-1, 1] to uint8 0..255, rounding to the nearest level; the exact inverse of `to_model_range`.

    The shape is kept. Values outside [-1, 1] are clamped, never wrapped.

    Raises:
        DataError: if a value is NaN, which no grey level stands for.
    """
    if torch.isnan(images).any():
        raise DataError("`images` must hold numbers (got NaN). The generator that made them has diverged.")
    return images.to(torch.float32).mul(127.5).add_(128.0).clamp_(0, 255).to(torch.uint8)
