"""Random numbers as a function of the seed and of the moment: there is no random state that could be lost."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def source_at(seed: int, images_seen: int) -> torch.Generator:
    """Return the CPU generator that everything random of the step at this moment is drawn from."""
    state = np.random.SeedSequence((seed, images_seen)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


@contextmanager
def seeded(source: torch.Generator, device: torch.device) -> Iterator[None]:
    """Let what takes its random numbers from torch itself (dropout) take them from here; then all is as before."""
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(source.initial_seed())
        yield
