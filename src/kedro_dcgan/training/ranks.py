"""Ranks: the processes that train one model together, each on its rows of every batch.

All communication between ranks is here and in `distributed/layers.py`. Alone, a rank communicates with nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, distributed

Rows = TypeVar("Rows", Tensor, np.ndarray)


@dataclass(frozen=True)
class Ranks:
    """One process among `count`: rank `number`.

    With several, `torch.distributed` must have been started. All of them must call the same methods in the same
    order: each waits for the others.
    """

    number: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this rank samples, validates and saves."""
        return self.number == 0

    def rows_of(self, whole: Rows) -> Rows:
        """Return this rank's rows, one of `count` equal shares."""
        size = len(whole) // self.count
        return whole[self.number * size : (self.number + 1) * size]

    def rows_of_batch(self, batch: Rows, parts: int) -> Rows:
        """Return this rank's rows of each of the `parts` micro-batches of a batch."""
        shares = batch.reshape(parts, self.count, -1, *batch.shape[1:])[:, self.number]
        return shares.reshape(-1, *batch.shape[1:])

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Set each tensor to its mean over all ranks, in one message."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= self.count
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view(tensor.shape))

    def gather(self, values: Tensor) -> Tensor:
        """Return the values `(n,)` of all ranks, `(count, n)`."""
        if self.count == 1:
            return values[None]
        of_all = values.new_empty(self.count * len(values))
        distributed.all_gather_into_tensor(of_all, values)
        return of_all.view(self.count, -1)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Return whether the flag is set in any rank. Waits for the device."""
        return bool(self.gather(torch.tensor([float(flag)], device=device)).any()) if self.count > 1 else flag


ALONE = Ranks()
