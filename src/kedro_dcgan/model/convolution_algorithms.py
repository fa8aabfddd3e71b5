"""The algorithms of a convolution and its two gradients, and which one is used for a shape on a CPU.

A convolution has a large image X `(N, C, H, W)`, a small image Y `(N, O, h, w)` and a kernel K `(O, C, k, k)`. Each of
the three follows from the two others by an operation: `small` gives Y (forward), `large` gives X (data gradient, and
transposed convolution), `kernel` gives K (weight gradient). Each operation has several algorithms:

torch       PyTorch's own convolution (oneDNN).
product     im2col and one matrix product. Behind each pixel of Y lies a patch of X, a row of `k * k * C` numbers
            (Chellapilla et al. 2006). Pays off where Y has few pixels and X many channels: little to copy.
subpixel    X as a 3x3 convolution of Y with `4 * C` channels, one set for each of the 2x2 pixels of X behind a pixel of
            Y (Shi et al. 2016, arXiv 1609.07009). For kernels of 4 with stride 2; pays off where X has few channels.

`autotune.py` times them on the machine; `Geometry.algorithm` has a default where nothing was timed. Images are
channels-last.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, pad, pixel_shuffle
from torch.nn.grad import conv2d_weight

from kedro_dcgan.processor import instruction_sets

Operation = Literal["small", "large", "kernel"]
Algorithm = Literal["torch", "product", "subpixel"]
OPERATIONS: tuple[Operation, ...] = ("small", "large", "kernel")
# By operation and precision, as in `key_of`.
Algorithms = Mapping[str, Algorithm]

# By default, use a product up to these pixels of Y, from these channels of X; kernel gradients in bfloat16 differ.
_MOST_PIXELS, _LEAST_CHANNELS, _MOST_PIXELS_BFLOAT16 = 16, 128, 64


def key_of(operation: Operation, precision: torch.dtype) -> str:
    """Return the name under which the algorithm of an operation is kept: `large float32`."""
    return f"{operation} {str(precision).removeprefix('torch.')}"


@dataclass(frozen=True)
class Geometry:
    """The shape of a convolution without its batch, and the algorithms chosen for it."""

    kernel: int
    stride: int
    padding: int
    channels: int  # of X
    features: int  # of Y
    large: tuple[int, int]
    small: tuple[int, int]
    algorithms: Algorithms = field(default_factory=dict)

    @property
    def is_one_patch(self) -> bool:
        """Whether Y is one pixel and X its patch."""
        return self.small == (1, 1) and self.large == (self.kernel, self.kernel)

    def possible(self, operation: Operation) -> tuple[Algorithm, ...]:
        """Return the algorithms that are available for an operation."""
        doubles = self.large == (2 * self.small[0], 2 * self.small[1])
        has_subpixels = (self.kernel, self.stride, self.padding) == (4, 2, 1) and doubles
        return ("torch", "product", "subpixel") if operation == "large" and has_subpixels else ("torch", "product")

    def algorithm(self, operation: Operation, precision: torch.dtype) -> Algorithm:
        """Return the algorithm of an operation: the chosen one if it is available, else the default."""
        chosen = self.algorithms.get(key_of(operation, precision))
        if chosen in self.possible(operation):
            return chosen
        if self.is_one_patch:
            return "product"
        is_bfloat16, is_wide, pixels = precision == torch.bfloat16, self.channels >= _LEAST_CHANNELS, prod(self.small)
        # In bfloat16 without AMX, torch's convolutions are faster than its products, except for kernel gradients.
        pays = is_wide and pixels <= _MOST_PIXELS and (_has_amx() or not is_bfloat16)
        if operation == "kernel" and is_bfloat16:
            pays = pixels <= (_MOST_PIXELS_BFLOAT16 if _has_amx() or is_wide else _MOST_PIXELS)
        return "product" if pays else "torch"


def _has_amx() -> bool:
    return "amx_bf16" in instruction_sets()


def run(operation: Operation, one: Tensor, other: Tensor, geometry: Geometry) -> Tensor:
    """Return Y of X and K (`small`), X of Y and K (`large`), or K of X and Y (`kernel`), by the chosen algorithm."""
    algorithm = geometry.algorithm(operation, one.dtype)
    result = {"small": _small, "large": _large, "kernel": _kernel}[operation](one, other, geometry, algorithm)
    # Detach: autograd forbids in-place activations on views made by a custom function.
    return result.detach()


def _small(large: Tensor, kernel: Tensor, geometry: Geometry, algorithm: Algorithm) -> Tensor:
    """Return Y, the convolution of X."""
    if algorithm == "torch":
        return conv2d(large, kernel, None, geometry.stride, geometry.padding)
    matrix = kernel.permute(0, 2, 3, 1).flatten(1)  # (O, k * k * C)
    rows = _patches(large, geometry) @ matrix.t()
    return rows.view(len(large), *geometry.small, -1).permute(0, 3, 1, 2)


def _large(small: Tensor, kernel: Tensor, geometry: Geometry, algorithm: Algorithm) -> Tensor:
    """Return X, the transposed convolution of Y."""
    if algorithm == "subpixel":
        return _large_by_subpixels(small, kernel)
    if algorithm == "torch":
        side, stride, padding = geometry.kernel, geometry.stride, geometry.padding
        least = (geometry.small[0] - 1) * stride - 2 * padding + side
        return conv_transpose2d(small, kernel, None, stride, padding, geometry.large[0] - least)
    rows, matrix = small.permute(0, 2, 3, 1).flatten(0, 2), kernel.permute(0, 2, 3, 1).flatten(1)
    return _sum_of_patches(rows @ matrix, geometry)


def _kernel(large: Tensor, small: Tensor, geometry: Geometry, algorithm: Algorithm) -> Tensor:
    """Return K, the gradient of a convolution of X with respect to its kernel, for the gradient Y of its outputs."""
    side, channels = geometry.kernel, large.shape[1]
    if algorithm == "torch":
        shape = (small.shape[1], channels, side, side)
        return conv2d_weight(large, shape, small, geometry.stride, geometry.padding)
    # The product is fast if the smaller matrix is copied in transposed order.
    rows = small.permute(0, 2, 3, 1).flatten(0, 2)  # (N * h * w, O)
    matrix = rows.t().contiguous() @ _patches(large, geometry)
    return matrix.view(-1, side, side, channels).permute(0, 3, 1, 2)


def _large_by_subpixels(small: Tensor, kernel: Tensor) -> Tensor:
    """Return X as one convolution of Y with a 3x3 kernel for each of the four positions of a 2x2 block of X."""
    # Rows of K that link an even, then an odd row of X to the previous, same and next row of Y (4: zero).
    rows = torch.tensor([3, 1, 4, 4, 2, 0])
    padded = pad(kernel, (0, 1, 0, 1)).index_select(2, rows).index_select(3, rows)
    parts = padded.view(*kernel.shape[:2], 2, 3, 2, 3).permute(1, 2, 4, 0, 3, 5)  # (C, 2, 2, O, 3, 3)
    wide = parts.reshape(-1, len(kernel), 3, 3).contiguous(memory_format=torch.channels_last)
    return pixel_shuffle(conv2d(small, wide, None, 1, 1), 2)


def _patches(image: Tensor, geometry: Geometry) -> Tensor:
    """Return the patches of X, `(N * h * w, k * k * C)` (im2col)."""
    rows = image.permute(0, 2, 3, 1)
    if geometry.is_one_patch:
        return rows.reshape(len(image), -1)
    edge, side, stride = geometry.padding, geometry.kernel, geometry.stride
    rows = pad(rows, (0, 0, edge, edge, edge, edge)) if edge else rows.contiguous()
    # A row of a patch lies in memory in one piece.
    (per_image, per_row, per_pixel, _), run = rows.stride(), side * image.shape[1]
    steps = (per_image, stride * per_row, stride * per_pixel, per_row, 1)
    return rows.as_strided((len(image), *geometry.small, side, run), steps).reshape(-1, side * run)


def _sum_of_patches(patches: Tensor, geometry: Geometry) -> Tensor:
    """Return X `(N, C, H, W)`, each pixel the sum of the patches over it (col2im): the transpose of `_patches`."""
    side, stride, edge = geometry.kernel, geometry.stride, geometry.padding
    (height, width), (high, wide) = geometry.large, geometry.small
    patches = patches.view(-1, high, wide, side, side, patches.shape[1] // side**2)
    if geometry.is_one_patch:
        return patches[:, 0, 0].permute(0, 3, 1, 2)
    # Add vertical overlaps first, in long runs of memory, then horizontal ones.
    count, channels = patches.shape[0], patches.shape[5]
    rows = patches.new_zeros(count, height + 2 * edge, wide, side, channels)
    for place in range(side):
        rows[:, place : place + stride * high : stride] += patches[:, :, :, place]
    image = patches.new_zeros(count, height, width + 2 * edge, channels)
    for place in range(side):
        image[:, :, place : place + stride * wide : stride] += rows[:, edge : edge + height, :, place]
    return image[:, :, edge : edge + width].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
