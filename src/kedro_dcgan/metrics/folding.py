"""Faster networks that give the same features: what is fixed after training is put into the convolutions."""

from collections.abc import Iterable

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(network: nn.Module, names: Iterable[tuple[str, str]]) -> None:
    """Make one convolution of each convolution and the batch norm behind it, whose statistics are fixed.

    names: what both are called where they belong to one module of the network, which must be in eval mode.
    """
    for module in list(network.modules()):
        for conv_name, norm_name in names:
            conv, norm = getattr(module, conv_name, None), getattr(module, norm_name, None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
