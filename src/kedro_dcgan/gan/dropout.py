"""Dropout whose mask belongs to the whole batch: each rank draws it for all rows, and takes its own."""

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from kedro_dcgan.training.distributed.ranks import ALONE, Ranks

_BITS = 16


class Dropout(nn.Module):
    """Set a share `rate` of the values to 0, and scale the others so that the mean stays (Srivastava et al. 2014).

    On a CPU the rate is rounded to a multiple of 1 / 65,536, and masks are drawn several times as fast as torch does.
    """

    def __init__(self, rate: float, ranks: Ranks = ALONE) -> None:
        super().__init__()
        self.rate, self._ranks = rate, ranks

    def forward(self, inputs: Tensor) -> Tensor:
        """Return `inputs`, with zeros in training."""
        if not self.training:
            return inputs
        if inputs.device.type != "cpu" and self._ranks.count == 1:
            return dropout(inputs, self.rate)
        # A mask is drawn in the order of the memory.
        is_image = inputs.dim() == 4 and inputs.is_contiguous(memory_format=torch.channels_last)
        order = torch.channels_last if is_image else torch.contiguous_format
        shape = (self._ranks.count * len(inputs), *inputs.shape[1:])
        mask = torch.empty(shape, dtype=inputs.dtype, device=inputs.device, memory_format=order)
        _draw(mask, 1 - self.rate)
        return inputs * self._ranks.rows_of(mask.div_(1 - self.rate))


def _draw(mask: Tensor, share: float) -> None:
    """Set so large a share of the mask to 1, the rest to 0, from torch's own source."""
    if mask.device.type != "cpu":
        mask.bernoulli_(share)
        return
    # Four values from each word of 64 bits.
    words = torch.empty(-(-mask.numel() * _BITS // 64), dtype=torch.int64).random_(-(2**63), None)
    values = words.view(torch.int16)[: mask.numel()]
    bound = min(round((share - 0.5) * 2**_BITS), 2 ** (_BITS - 1) - 1)
    mask.copy_((values < bound).as_strided(mask.shape, mask.stride()))
