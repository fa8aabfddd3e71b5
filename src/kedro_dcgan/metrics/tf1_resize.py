"""Bilinear resizing as TensorFlow 1 did it, which FID is defined with: no half-pixel centres, no antialiasing.

Output pixel i is taken at i * in / out: along each axis a sum of two input pixels. So it is one matrix for the
rows and one for the columns.
"""

import torch
from torch import Tensor


def resize(pixels: Tensor, size: int) -> Tensor:
    """Return float images `(N, C, H, W)` at `(N, C, size, size)`."""
    height, width = pixels.shape[2:]
    return _weights(height, size, pixels) @ pixels @ _weights(width, size, pixels).T


def _weights(before: int, after: int, like: Tensor) -> Tensor:
    # (after, before). The positions are float32 in TensorFlow, too.
    positions = torch.arange(after, dtype=torch.float32) * torch.tensor(before / after, dtype=torch.float32)
    first = positions.long()
    rows, share = torch.arange(after), positions - first
    weights = torch.zeros(after, before)
    weights[rows, first] = 1 - share
    # Beyond the last pixel there is the last one once more.
    weights[rows, (first + 1).clamp(max=before - 1)] += share
    return weights.to(like)
