"""Layers that torch lacks: convolutions with 'same' padding, and dropout over the batch of several ranks.

'same' is the padding of Keras and TensorFlow. The total makes the output size / stride (or size * stride). Where it is
odd, the smaller half goes left and above. Source: https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, pad

from kedro_dcgan.model.convolution_algorithms import Geometry
from kedro_dcgan.model.convolutions import Conv2d, ConvTranspose2d

# Bits of each random value of a dropout mask.
_BITS = 16


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
        # Make it contiguous: batch norm is several times slower on a view.
        cropped = whole[:, :, top : top + height, left : left + width]
        return cropped.contiguous(memory_format=torch.channels_last)


class Dropout(nn.Module):
    """Set a share `rate` of the values to 0, and scale the others so that the mean stays (Srivastava et al. 2014).

    On a CPU the rate is rounded to a multiple of 1 / 65,536, and masks are drawn several times as fast as torch does.
    Process `rank` of `ranks` draws the mask of the whole batch and takes its own rows of it.
    """

    def __init__(self, rate: float, rank: int = 0, ranks: int = 1) -> None:
        super().__init__()
        self.rate, self.rank, self.ranks = rate, rank, ranks

    def forward(self, inputs: Tensor) -> Tensor:
        """Return `inputs`, with zeros in training."""
        if not self.training:
            return inputs
        if inputs.device.type != "cpu" and self.ranks == 1:
            return dropout(inputs, self.rate)
        # Draw the mask in the memory format of the inputs.
        is_image = inputs.dim() == 4 and inputs.is_contiguous(memory_format=torch.channels_last)
        order = torch.channels_last if is_image else torch.contiguous_format
        shape = (self.ranks * len(inputs), *inputs.shape[1:])
        mask = torch.empty(shape, dtype=inputs.dtype, device=inputs.device, memory_format=order)
        _draw(mask, 1 - self.rate)
        own = mask[self.rank * len(inputs) : (self.rank + 1) * len(inputs)]
        return inputs * own.div_(1 - self.rate)


def _draw(mask: Tensor, share: float) -> None:
    """Set this share of the mask to 1 and the rest to 0, with torch's own generator."""
    if mask.device.type != "cpu":
        mask.bernoulli_(share)
        return
    # Four values from each word of 64 bits.
    words = torch.empty(-(-mask.numel() * _BITS // 64), dtype=torch.int64).random_(-(2**63), None)
    values = words.view(torch.int16)[: mask.numel()]
    bound = min(round((share - 0.5) * 2**_BITS), 2 ** (_BITS - 1) - 1)
    mask.copy_((values < bound).as_strided(mask.shape, mask.stride()))
