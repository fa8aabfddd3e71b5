"""Batches of real images on the device: uint8 all the way, scaled to [-1, 1] there.

Which images a batch holds is decided by whoever gives the indices; how they get to the device is
decided here, once, and does not change what is trained.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.training.devices import staged, to_device

# The networks, their gradients and activations need the rest.
_SHARE_OF_MEMORY = 0.4
_CHUNK = 8192
_AHEAD = 2

Batches = Callable[[Iterable[np.ndarray]], Iterator[Tensor]]


def batches_on(device: torch.device, images: PreparedImages, split: str) -> Batches:
    """Return a function from batches of indices to batches of images, uint8 `(N, C, H, W)` on `device`.

    If all images of the split take less than 40 % of the free memory of a GPU, they are moved there
    once and a batch is an index. Else a thread gathers the next batches while the device works.
    """
    nbytes = images.count(split) * images.channels * images.image_size**2
    if device.type == "cuda" and nbytes < _SHARE_OF_MEMORY * torch.cuda.mem_get_info(device)[0]:
        return resident(device, images, split)
    return streamed(device, images, split)


def resident(device: torch.device, images: PreparedImages, split: str) -> Batches:
    """Move all images of a split to the device; a batch is gathered there."""
    count = images.count(split)
    everything = torch.empty(
        (count, images.channels, images.image_size, images.image_size), dtype=torch.uint8, device=device
    )
    for start in range(0, count, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, count))
        everything[start : start + len(rows)] = torch.from_numpy(images.take(split, rows)).to(device)

    def batches(indices: Iterable[np.ndarray]) -> Iterator[Tensor]:
        for batch in indices:
            yield everything.index_select(0, to_device(torch.from_numpy(batch), device))

    return batches


def streamed(device: torch.device, images: PreparedImages, split: str) -> Batches:
    """Gather batches from the shards in a thread, two ahead, and move them to the device."""

    def gather(batch: np.ndarray) -> Tensor:
        return staged(torch.from_numpy(images.take(split, batch)), device)

    def batches(indices: Iterable[np.ndarray]) -> Iterator[Tensor]:
        pending: deque[Future[Tensor]] = deque()
        with ThreadPoolExecutor(1) as thread:
            for batch in indices:
                pending.append(thread.submit(gather, batch))
                if len(pending) > _AHEAD:
                    yield to_device(pending.popleft().result(), device)
            while pending:
                yield to_device(pending.popleft().result(), device)

    return batches
