"""Layers over a batch that is spread over ranks: dropout and synchronised batch norm.

Names and shapes of weights do not change, so checkpoints do not depend on the number of ranks.
"""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import batch_norm

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.model.layers import Dropout
from kedro_dcgan.training.devices import Ranks
from kedro_dcgan.training.state import TrainingState


def spread_over_ranks(state: TrainingState, training: TrainingParameters, ranks: Ranks) -> None:
    """Let dropout, and batch norm if configured, work in training as if one rank had the whole batch."""
    if ranks.count == 1:
        return
    for network in (state.generator, state.discriminator):
        for name, layer in list(network.named_modules()):
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and training.sync_batch_norm:
                network.set_submodule(name, _SyncBatchNorm(layer, ranks))
            elif isinstance(layer, Dropout):
                layer.rank, layer.ranks = ranks.number, ranks.count


class _SyncBatchNorm(nn.Module):
    """Synchronised batch norm, in float32. torch's `SyncBatchNorm` runs on GPUs only."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d, ranks: Ranks) -> None:
        super().__init__()
        self._ranks, self._epsilon, self._momentum = ranks, norm.eps, norm.momentum or 0.0
        self.weight, self.bias = norm.weight, norm.bias
        for name, statistic in norm.named_buffers():
            self.register_buffer(name, statistic)

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return batch_norm(inputs, self.running_mean, self.running_var, self.weight, self.bias, eps=self._epsilon)
        exact = inputs.float()
        over = [axis for axis in range(inputs.dim()) if axis != 1]
        own_variance, own_mean = torch.var_mean(exact, over, correction=0)

        # Ranks have equally many rows, so the total variance is the mean of their variances about the total mean.
        mean = _SumOverRanks.apply(own_mean) / self._ranks.count
        variance = _SumOverRanks.apply(own_variance + (own_mean - mean).square()) / self._ranks.count

        # Update the running statistics like torch, with the unbiased variance.
        with torch.no_grad():
            count = self._ranks.count * inputs.numel() // len(mean)
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self._momentum)
            self.running_var.lerp_(variance * count / (count - 1), self._momentum)

        shape = (1, -1, *(1 for _ in over[1:]))
        scale = torch.rsqrt(variance + self._epsilon)
        outputs = (exact - mean.view(shape)) * scale.view(shape)
        if self.weight is not None:
            outputs = outputs * self.weight.view(shape) + self.bias.view(shape)
        return outputs.to(inputs.dtype)


class _SumOverRanks(torch.autograd.Function):
    # Each rank's summand enters the sums of all ranks, so its gradient is the sum of their gradients.
    @staticmethod
    def forward(context: Any, summand: Tensor) -> Tensor:
        total = summand.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return _SumOverRanks.apply(gradients[0])
