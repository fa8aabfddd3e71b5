"""Convolutions that run, forward and backward, by the fastest algorithm for their shape on a CPU.

`sum(Y' * conv(X, K))` is linear in each of Y', X and K, so its derivative with respect to one is an operation on the
two others: `small`, `large` and `kernel` of `convolution_algorithms.py` are each the derivative of the others.
"""

from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from kedro_dcgan.model.convolution_algorithms import OPERATIONS, Algorithms, Geometry, run


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
        geometry = Conv2d.geometry(self, images.shape[2], images.shape[3])
        if _runs_by_torch(images, geometry):
            return super().forward(images)
        return _biased(_Small.apply(*_in_precision(images, self.weight), geometry), self.bias)


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

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        """Return `(N, C, H, W)` for `(N, O, h, w)`."""
        geometry = self.geometry(images.shape[2], images.shape[3])
        if _runs_by_torch(images, geometry):
            return super().forward(images)
        return _biased(_Large.apply(*_in_precision(images, self.weight), geometry), self.bias)


class _Small(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, large: Tensor, kernel: Tensor, geometry: Geometry) -> Tensor:
        context.save_for_backward(large, kernel)
        context.geometry = geometry
        return run("small", large, kernel, geometry)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (small,), (large, kernel), geometry = gradients, context.saved_tensors, context.geometry
        of_large = _Large.apply(small, kernel, geometry) if context.needs_input_grad[0] else None
        of_kernel = _Kernel.apply(large, small, geometry) if context.needs_input_grad[1] else None
        return of_large, of_kernel, None


class _Large(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, small: Tensor, kernel: Tensor, geometry: Geometry) -> Tensor:
        context.save_for_backward(small, kernel)
        context.geometry = geometry
        return run("large", small, kernel, geometry)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (large,), (small, kernel), geometry = gradients, context.saved_tensors, context.geometry
        of_small = _Small.apply(large, kernel, geometry) if context.needs_input_grad[0] else None
        of_kernel = _Kernel.apply(large, small, geometry) if context.needs_input_grad[1] else None
        return of_small, of_kernel, None


class _Kernel(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, large: Tensor, small: Tensor, geometry: Geometry) -> Tensor:
        context.save_for_backward(large, small)
        context.geometry = geometry
        return run("kernel", large, small, geometry)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (kernel,), (large, small), geometry = gradients, context.saved_tensors, context.geometry
        of_large = _Large.apply(small, kernel, geometry) if context.needs_input_grad[0] else None
        of_small = _Small.apply(large, kernel, geometry) if context.needs_input_grad[1] else None
        return of_large, of_small, None


def _biased(image: Tensor, bias: Tensor | None) -> Tensor:
    return image if bias is None else image + bias.to(image.dtype).view(-1, 1, 1)


def _in_precision(*tensors: Tensor) -> tuple[Tensor, ...]:
    # Autocast only handles torch's own operations.
    return tuple(tensor.to(_precision_of(tensor)) for tensor in tensors)


def _precision_of(tensor: Tensor) -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else tensor.dtype


def _runs_by_torch(image: Tensor, geometry: Geometry) -> bool:
    precision = _precision_of(image)
    return image.device.type != "cpu" or all(geometry.algorithm(one, precision) == "torch" for one in OPERATIONS)
