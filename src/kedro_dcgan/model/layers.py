"""Layers: convolutions with the fastest algorithm for their shape on a CPU, 'same' padding, and dropout over ranks.

`sum(Y' * conv(X, K))` is linear in each of Y', X and K, so its derivative with respect to one is an operation on the
two others: `small`, `large` and `kernel` of `convolution_algorithms.py` are each the derivative of the others.

'same' is the padding of Keras and TensorFlow. The total makes the output size / stride (or size * stride). Where it is
odd, the smaller half goes left and above. Source: https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2
"""

from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, pad

from kedro_dcgan.model.convolution_algorithms import OPERATIONS, Algorithms, Geometry, Operation, run

# Bits of each random value of a dropout mask.
_BITS = 16


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` with a square kernel, no groups and no dilation."""

    algorithms: Algorithms = MappingProxyType({})

    def geometry(self, height: int, width: int) -> Geometry:
        """Return the shape of the convolution of images of this size."""
        kernel, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        high, wide = ((size + 2 * padding - kernel) // stride + 1 for size in (height, width))
        channels = self.in_channels, self.out_channels
        return Geometry(kernel, stride, padding, *channels, (height, width), (high, wide), self.algorithms)

    def forward(self, images: Tensor) -> Tensor:
        """Return `(N, O, h, w)` for `(N, C, H, W)`."""
        # Not `self.geometry`: a subclass has padded the images already.
        geometry = Conv2d.geometry(self, images.shape[2], images.shape[3])
        outputs = _convolved("small", images, self, geometry)
        return super().forward(images) if outputs is None else outputs


class ConvTranspose2d(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` with a square kernel, no groups and no dilation."""

    algorithms: Algorithms = MappingProxyType({})

    def geometry(self, height: int, width: int) -> Geometry:
        """Return the shape of the convolution that this is the transpose of, for (small) images of this size."""
        kernel, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        rest = kernel - 2 * padding + self.output_padding[0]
        high, wide = ((size - 1) * stride + rest for size in (height, width))
        channels = self.out_channels, self.in_channels
        return Geometry(kernel, stride, padding, *channels, (high, wide), (height, width), self.algorithms)

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]  # without torch's `output_size`
        """Return `(N, C, H, W)` for `(N, O, h, w)`."""
        outputs = _convolved("large", images, self, self.geometry(images.shape[2], images.shape[3]))
        return super().forward(images) if outputs is None else outputs


def _convolved(
    operation: Operation, images: Tensor, layer: Conv2d | ConvTranspose2d, geometry: Geometry
) -> Tensor | None:
    """Return the outputs of a layer; None if PyTorch's own convolution is used for all operations."""
    precision = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else images.dtype
    if images.device.type != "cpu" or all(geometry.algorithm(one, precision) == "torch" for one in OPERATIONS):
        return None
    kernel, bias = layer.weight, layer.bias
    if torch.is_autocast_enabled("cpu"):
        # Autocast only handles torch's own operations.
        images, kernel = images.to(precision), kernel.to(precision)
    outputs = _Convolution.apply(operation, images, kernel, geometry)
    return outputs if bias is None else outputs + bias.to(outputs.dtype).view(-1, 1, 1)


class _Convolution(torch.autograd.Function):
    """One of the three operations. Its gradients are the two others, so gradients of any order exist."""

    @staticmethod
    def forward(context: Any, operation: Operation, one: Tensor, other: Tensor, geometry: Geometry) -> Tensor:
        context.save_for_backward(one, other)
        context.operation, context.geometry = operation, geometry
        return run(operation, one, other, geometry)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None, None]:
        (gradient,), (one, other) = gradients, context.saved_tensors
        by_one, by_other = {
            "small": (("large", gradient, other), ("kernel", one, gradient)),  # X and K gave Y
            "large": (("small", gradient, other), ("kernel", gradient, one)),  # Y and K gave X
            "kernel": (("large", other, gradient), ("small", one, gradient)),  # X and Y gave K
        }[context.operation]
        _, needs_one, needs_other, _ = context.needs_input_grad
        of_one = _Convolution.apply(*by_one, context.geometry) if needs_one else None
        of_other = _Convolution.apply(*by_other, context.geometry) if needs_other else None
        return None, of_one, of_other, None


class SameConv2d(Conv2d):
    """`(N, C, H, W)` to `(N, out_channels, ceil(H / stride), ceil(W / stride))`."""

    def geometry(self, height: int, width: int) -> Geometry:
        """Return the shape of the convolution of images of this size, which are padded first."""
        return super().geometry(height + sum(self._padding_of(height, 0)), width + sum(self._padding_of(width, 1)))

    def forward(self, images: Tensor) -> Tensor:
        """Pad, then convolve."""
        rows, columns = self._padding_of(images.shape[2], 0), self._padding_of(images.shape[3], 1)
        return super().forward(pad(images, (*columns, *rows)))

    def _padding_of(self, size: int, axis: int) -> tuple[int, int]:
        kernel, stride = self.kernel_size[axis], self.stride[axis]
        total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
        return total // 2, total - total // 2


class SameConvTranspose2d(ConvTranspose2d):
    """`(N, C, H, W)` to `(N, out_channels, H * stride, W * stride)`: the gradient of `SameConv2d`."""

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]  # without torch's `output_size`
        """Convolve, then crop."""
        whole = super().forward(images)
        height, width = images.shape[2] * self.stride[0], images.shape[3] * self.stride[1]
        top, left = (whole.shape[2] - height) // 2, (whole.shape[3] - width) // 2
        # Make it contiguous: batch norm is several times slower on a view.
        cropped = whole[:, :, top : top + height, left : left + width]
        return cropped.contiguous(memory_format=torch.channels_last)


class Dropout(nn.Module):
    """Set a share `rate` of the values to 0, and scale the others to keep the mean (Srivastava et al. 2014).

    On a CPU the rate is rounded to a multiple of 1 / 65,536, and masks are drawn several times as fast as torch does.
    """

    def __init__(self, rate: float, rank: int = 0, ranks: int = 1) -> None:
        super().__init__()
        # Process `rank` of `ranks` takes its own rows of the mask of the whole batch.
        self.rate, self.rank, self.ranks = rate, rank, ranks

    def forward(self, inputs: Tensor) -> Tensor:
        """Return `inputs`, with zeros in training."""
        if not self.training:
            return inputs
        if inputs.device.type != "cpu" and self.ranks == 1:
            return dropout(inputs, self.rate)

        # Draw the mask of the whole batch (1: keep) in the memory format of the inputs, with torch's own generator.
        kept = 1 - self.rate
        is_image = inputs.dim() == 4 and inputs.is_contiguous(memory_format=torch.channels_last)
        order = torch.channels_last if is_image else torch.contiguous_format
        shape = (self.ranks * len(inputs), *inputs.shape[1:])
        mask = torch.empty(shape, dtype=inputs.dtype, device=inputs.device, memory_format=order)
        if mask.device.type == "cpu":
            # Four values from each word of 64 bits.
            words = torch.empty(-(-mask.numel() * _BITS // 64), dtype=torch.int64).random_(-(2**63), None)
            values = words.view(torch.int16)[: mask.numel()]
            bound = min(round((kept - 0.5) * 2**_BITS), 2 ** (_BITS - 1) - 1)
            mask.copy_((values < bound).as_strided(mask.shape, mask.stride()))
        else:
            mask.bernoulli_(kept)

        own = mask[self.rank * len(inputs) : (self.rank + 1) * len(inputs)]
        return inputs * own.div_(kept)
