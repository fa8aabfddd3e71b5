"""The features of a discriminator: what its convolutions respond to, and how strongly.

Radford et al. 2015 (arXiv 1511.06434, section 5.1) classify images by these features, and figure 5 shows by guided
backpropagation (Springenberg et al. 2014, arXiv 1412.6806) which parts of an image excite a feature map.

A block is a convolution with the norm, activation and dropout behind it. The layers from the one that gives the logit,
or from the first dense layer, belong to no block. Images are uint8 `(N, C, H, W)`. All networks are in eval mode.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d, leaky_relu
from torch.nn.utils.parametrize import ParametrizationList

from kedro_dcgan.config import InitialisationName
from kedro_dcgan.model.networks import Discriminator, DiscriminatorConfig, initialise
from kedro_dcgan.model.recipes import build_discriminator
from kedro_dcgan.model.sampling import to_model_range, to_uint8

# Activations are pooled to grids of this side (section 5.1 of the paper).
GRID = 4
# Power iterations until the spectral norm of random weights is known. Training takes one in each step.
_POWER_ITERATIONS = 50

Blocks = Sequence[nn.Sequential]


def convolution_blocks(discriminator: Discriminator) -> list[nn.Sequential]:
    """Return the blocks of a discriminator, in eval mode. They share its weights."""
    layers, blocks = list(discriminator.eval().layers), list[list[nn.Module]]()
    for layer in layers:
        if isinstance(layer, nn.Flatten | nn.Linear) or (isinstance(layer, nn.Conv2d) and layer is layers[-1]):
            break
        if isinstance(layer, nn.Conv2d):
            blocks.append([])
        blocks[-1].append(layer)
    return [nn.Sequential(*block) for block in blocks]


def random_blocks(config: DiscriminatorConfig, initialisation: InitialisationName, seed: int = 0) -> Blocks:
    """Return the blocks of a new discriminator, whose weights are drawn as training draws them.

    Spectral norm estimates the largest singular value step by step in training: here it takes all steps at once.
    """
    blocks = convolution_blocks(build_discriminator(config))
    initialise(nn.ModuleList(blocks), torch.Generator().manual_seed(seed), initialisation)
    for layer in nn.Sequential(*blocks).modules():
        if isinstance(layer, ParametrizationList):
            layer.train()
            for _ in range(_POWER_ITERATIONS):
                # In training mode, computing the weights is one power iteration.
                layer()
            layer.eval()
    return blocks


@torch.no_grad()
def set_norm_statistics(blocks: Blocks, batches: Iterable[Tensor]) -> None:
    """Set batch norm's running statistics to their means over batches of real images.

    Those of training mix real and generated images. The paper's authors also infer them over the training set.
    """
    norms = [layer for block in blocks for layer in block if isinstance(layer, nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        # A mean of all batches instead of a moving average.
        norm.momentum = None
        norm.train()
    for images in batches:
        nn.Sequential(*blocks)(to_model_range(images))
    for norm in norms:
        norm.eval()


@torch.no_grad()
def pooled_features(blocks: Blocks, images: Tensor) -> Tensor:
    """Return the features of images, float32 `(N, D)`: the activations of each block, max-pooled to 4x4 and flattened.

    Activations of fewer than 4x4 pixels are taken as they are. D is the sum of channels x pixels over all blocks.
    """
    outputs, features = to_model_range(images), []
    for block in blocks:
        outputs = block(outputs)
        height, width = (min(GRID, side) for side in outputs.shape[2:])
        features.append(adaptive_max_pool2d(outputs, (height, width)).flatten(1))
    return torch.cat(features, dim=1)


@torch.no_grad()
def peaks(blocks: Blocks, images: Tensor) -> Tensor:
    """Return the largest activation of each feature map of the last block on each image, `(N, channels)`."""
    outputs: Tensor = nn.Sequential(*blocks)(to_model_range(images))
    return outputs.amax(dim=(2, 3))


def guided_gradients(blocks: Blocks, images: Tensor, maps: Tensor) -> Tensor:
    """Return the guided gradient of `peaks` of map `maps[n]` by image n, float32 `(N, C, H, W)`.

    Guided backpropagation (Springenberg et al. 2014, section 3.4) passes a gradient back through an activation only
    where both the input of the activation and the gradient are positive. There the slope of LeakyReLU is 1. Where the
    input is negative, its smaller slope would let the gradient leak: the gradient is 0 there, as for ReLU.
    """
    pixels = to_model_range(images).requires_grad_()
    outputs = pixels
    for layer in (layer for block in blocks for layer in block):
        if isinstance(layer, nn.LeakyReLU):
            outputs = _GuidedLeakyReLU.apply(outputs, layer.negative_slope)
        else:
            outputs = layer(outputs)
    highest = outputs[torch.arange(len(maps)), maps].flatten(1).max(dim=1).values
    (gradients,) = torch.autograd.grad(highest.sum(), pixels)
    return gradients


class _GuidedLeakyReLU(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, inputs: Tensor, slope: float) -> Tensor:
        context.save_for_backward(inputs)
        return leaky_relu(inputs, slope)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,), (inputs,) = gradients, context.saved_tensors
        return gradient * ((inputs > 0) & (gradient > 0)), None


@torch.no_grad()
def first_kernels(blocks: Blocks) -> Tensor:
    """Return the kernels of the first convolution as pictures, uint8 `(channels, C, k, k)`; a weight of 0 is grey."""
    return signed_pictures(torch.as_tensor(blocks[0][0].weight))


@torch.no_grad()
def signed_pictures(values: Tensor) -> Tensor:
    """Scale each of `(N, C, H, W)` by its largest absolute value, and return them as uint8: 0 is grey (128)."""
    largest = values.abs().amax(dim=(1, 2, 3), keepdim=True)
    return to_uint8(values / largest.clamp(min=torch.finfo(values.dtype).tiny))
