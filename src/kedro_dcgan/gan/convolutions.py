"""Convolutions that take the gradient of small images as products of matrices, where a CPU does that faster.

A convolution has a large image X `(N, C, H, W)`, a small one Y `(N, O, h, w)` and a kernel K `(O, C, k, k)`. Behind
each pixel of Y lies a patch of X, a row of `k * k * C` numbers: Y is a product of matrices (Chellapilla et al. 2006).
So are its gradients: `sum(Y' * conv(X, K))` is linear in each of the three, and its derivative with respect to one is
an operation on the two others. There are three operations, each the others' derivative: `_Small` gives Y, `_Large`
gives X (and is the transposed convolution), `_Kernel` gives K. All keep the order of channels last, in which patches
are copied in long runs, and kernels not at all.
"""

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, pad
from torch.nn.grad import conv2d_weight

# Products are faster where Y has few pixels, since there are few patches to copy, and X many channels: 1.3 to 4 times
# there, and up to 20 times where Y is one pixel and nothing is copied (docs/performance.md).
_MOST_PIXELS, _LEAST_CHANNELS = 16, 128
# In bfloat16 gradients of kernels are faster up to here.
_MOST_PIXELS_BFLOAT16 = 64


@dataclass(frozen=True)
class _Geometry:
    kernel: int
    stride: int
    padding: int
    channels: int  # of X
    large: tuple[int, int]
    small: tuple[int, int]

    @property
    def pixels(self) -> int:
        return self.small[0] * self.small[1]

    @property
    def is_one_patch(self) -> bool:
        return self.pixels == 1 and self.large == (self.kernel, self.kernel)


def _geometry_of(layer: nn.Conv2d, large: tuple[int, int]) -> _Geometry:
    kernel, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
    height, width = ((size + 2 * padding - kernel) // stride + 1 for size in large)
    return _Geometry(kernel, stride, padding, layer.in_channels, large, (height, width))


def _geometry_under(layer: nn.ConvTranspose2d, small: tuple[int, int]) -> _Geometry:
    kernel, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
    rest = kernel - 2 * padding + layer.output_padding[0]
    height, width = ((size - 1) * stride + rest for size in small)
    return _Geometry(kernel, stride, padding, layer.out_channels, (height, width), small)


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` with a square kernel, no groups and no dilation."""

    def forward(self, images: Tensor) -> Tensor:
        """Return `(N, O, h, w)` for `(N, C, H, W)`."""
        geometry = _geometry_of(self, large=(images.shape[2], images.shape[3]))
        if not _has_products(images, geometry):
            return super().forward(images)
        return _biased(_Small.apply(*_in_precision(images, self.weight), geometry), self.bias)


class ConvTranspose2d(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` with a square kernel, no groups and no dilation."""

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        """Return `(N, C, H, W)` for `(N, O, h, w)`."""
        geometry = _geometry_under(self, small=(images.shape[2], images.shape[3]))
        if not _has_products(images, geometry):
            return super().forward(images)
        return _biased(_Large.apply(*_in_precision(images, self.weight), geometry), self.bias)


class _Small(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, large: Tensor, kernel: Tensor, geometry: _Geometry) -> Tensor:
        context.save_for_backward(large, kernel)
        context.geometry = geometry
        if not _is_product(large.dtype, geometry):
            return conv2d(large, kernel, None, geometry.stride, geometry.padding)
        rows = _patches(large, geometry) @ _matrix(kernel).t()
        return rows.view(len(large), *geometry.small, -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (small,), (large, kernel), geometry = gradients, context.saved_tensors, context.geometry
        of_large = _Large.apply(small, kernel, geometry) if context.needs_input_grad[0] else None
        of_kernel = _Kernel.apply(large, small, geometry) if context.needs_input_grad[1] else None
        return of_large, of_kernel, None


class _Large(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, small: Tensor, kernel: Tensor, geometry: _Geometry) -> Tensor:
        context.save_for_backward(small, kernel)
        context.geometry = geometry
        if not _is_product(small.dtype, geometry):
            return _transposed(small, kernel, geometry)
        return _sum_of_patches(_rows(small) @ _matrix(kernel), geometry)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (large,), (small, kernel), geometry = gradients, context.saved_tensors, context.geometry
        of_small = _Small.apply(large, kernel, geometry) if context.needs_input_grad[0] else None
        of_kernel = _Kernel.apply(large, small, geometry) if context.needs_input_grad[1] else None
        return of_small, of_kernel, None


class _Kernel(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, large: Tensor, small: Tensor, geometry: _Geometry) -> Tensor:
        context.save_for_backward(large, small)
        context.geometry = geometry
        side = geometry.kernel
        if not _is_kernel_product(large.dtype, geometry):
            shape = (small.shape[1], large.shape[1], side, side)
            return conv2d_weight(large, shape, small, geometry.stride, geometry.padding)
        # Copying the smaller matrix in its transposed order is what makes the product fast.
        matrix = _rows(small).t().contiguous() @ _patches(large, geometry)
        return matrix.view(-1, side, side, large.shape[1]).permute(0, 3, 1, 2)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (kernel,), (large, small), geometry = gradients, context.saved_tensors, context.geometry
        of_large = _Large.apply(small, kernel, geometry) if context.needs_input_grad[0] else None
        of_small = _Small.apply(large, kernel, geometry) if context.needs_input_grad[1] else None
        return of_large, of_small, None


def _rows(image: Tensor) -> Tensor:
    # (N * h * w, channels)
    return image.permute(0, 2, 3, 1).reshape(-1, image.shape[1])


def _matrix(kernel: Tensor) -> Tensor:
    # (O, k * k * C)
    return kernel.permute(0, 2, 3, 1).reshape(len(kernel), -1)


def _patches(image: Tensor, geometry: _Geometry) -> Tensor:
    """Return the patches of X, `(N * h * w, k * k * C)`."""
    rows = image.permute(0, 2, 3, 1)
    if geometry.is_one_patch:
        return rows.reshape(len(image), -1)
    edge, side, stride = geometry.padding, geometry.kernel, geometry.stride
    rows = pad(rows, (0, 0, edge, edge, edge, edge)) if edge else rows.contiguous()
    # A row of a patch lies in memory in one piece.
    steps, run = rows.stride(), side * image.shape[1]
    patches = rows.as_strided(
        (len(image), *geometry.small, side, run), (steps[0], stride * steps[1], stride * steps[2], steps[1], 1)
    )
    return patches.reshape(-1, side * run)


def _sum_of_patches(patches: Tensor, geometry: _Geometry) -> Tensor:
    """Return X `(N, C, H, W)`, each pixel the sum of what lies over it: the transpose of `_patches`."""
    side, stride, edge = geometry.kernel, geometry.stride, geometry.padding
    (height, width), (high, wide) = geometry.large, geometry.small
    patches = patches.view(-1, high, wide, side, side, patches.shape[1] // side**2)
    if geometry.is_one_patch:
        return patches[:, 0, 0].permute(0, 3, 1, 2)
    # First down the rows, in long runs of memory, then along them.
    count, channels = patches.shape[0], patches.shape[5]
    rows = patches.new_zeros(count, height + 2 * edge, wide, side, channels)
    for place in range(side):
        rows[:, place : place + stride * high : stride] += patches[:, :, :, place]
    image = patches.new_zeros(count, height, width + 2 * edge, channels)
    for place in range(side):
        image[:, :, place : place + stride * wide : stride] += rows[:, edge : edge + height, :, place]
    return image[:, :, edge : edge + width].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def _transposed(small: Tensor, kernel: Tensor, geometry: _Geometry) -> Tensor:
    least = (geometry.small[0] - 1) * geometry.stride - 2 * geometry.padding + geometry.kernel
    return conv_transpose2d(small, kernel, None, geometry.stride, geometry.padding, geometry.large[0] - least)


def _biased(image: Tensor, bias: Tensor | None) -> Tensor:
    return image if bias is None else image + bias.to(image.dtype).view(-1, 1, 1)


def _in_precision(*tensors: Tensor) -> tuple[Tensor, ...]:
    # Autocast knows torch's own operations alone.
    return tuple(tensor.to(_precision_of(tensor)) for tensor in tensors)


def _precision_of(tensor: Tensor) -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else tensor.dtype


def _has_products(image: Tensor, geometry: _Geometry) -> bool:
    precision = _precision_of(image)
    return image.device.type == "cpu" and (_is_product(precision, geometry) or _is_kernel_product(precision, geometry))


def _is_product(precision: torch.dtype, geometry: _Geometry) -> bool:
    # CPUs that have bfloat16 without AMX are slower at products than at convolutions.
    is_slow = precision == torch.bfloat16 and not _has_amx()
    is_wide = geometry.channels >= _LEAST_CHANNELS and geometry.pixels <= _MOST_PIXELS
    return geometry.is_one_patch or (is_wide and not is_slow)


def _is_kernel_product(precision: torch.dtype, geometry: _Geometry) -> bool:
    # Of larger images without AMX only where there are many channels.
    most = _MOST_PIXELS_BFLOAT16 if _has_amx() or geometry.channels >= _LEAST_CHANNELS else _MOST_PIXELS
    is_fast = precision == torch.bfloat16 and geometry.pixels <= most
    return is_fast or _is_product(precision, geometry)


@functools.cache
def _has_amx() -> bool:
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))
