"""Convolutions with the padding that Keras and TensorFlow call 'same': with an odd rest it is uneven.

The total is what makes the output size / stride (or size * stride); the smaller half goes left and above.
Source: https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from kedro_dcgan.model.convolution_algorithms import Geometry
from kedro_dcgan.model.convolutions import Conv2d, ConvTranspose2d


class SameConv2d(Conv2d):
    """`(N, C, H, W)` to `(N, out_channels, ceil(H / stride), ceil(W / stride))`."""

    def geometry(self, height: int, width: int) -> Geometry:
        """Return the shape of the convolution of images of this size, which are padded first."""
        return super().geometry(height + sum(self._padding_of(height, 0)), width + sum(self._padding_of(width, 1)))

    def forward(self, images: Tensor) -> Tensor:
        """Pad, then convolve."""
        top, bottom = self._padding_of(images.shape[2], 0)
        left, right = self._padding_of(images.shape[3], 1)
        return super().forward(pad(images, (left, right, top, bottom)))

    def _padding_of(self, size: int, axis: int) -> tuple[int, int]:
        kernel, stride = self.kernel_size[axis], self.stride[axis]
        total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
        return total // 2, total - total // 2


class SameConvTranspose2d(ConvTranspose2d):
    """`(N, C, H, W)` to `(N, out_channels, H * stride, W * stride)`: the gradient of `SameConv2d`."""

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        """Convolve, then crop."""
        whole = super().forward(images)
        height, width = images.shape[2] * self.stride[0], images.shape[3] * self.stride[1]
        top, left = (whole.shape[2] - height) // 2, (whole.shape[3] - width) // 2
        # In one piece of memory: batch norm is several times slower on a part of one.
        cropped = whole[:, :, top : top + height, left : left + width]
        return cropped.contiguous(memory_format=torch.channels_last)
