"""Random numbers as a function of the seed and of the moment: there is no random state that could be lost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from kedro_dcgan.model.sampling import draw_latents
from kedro_dcgan.model.specs import GeneratorSpec
from kedro_dcgan.training.devices import Compute, to_device


def source_at(seed: int, images_seen: int) -> torch.Generator:
    """Return the CPU generator that everything random of the step at this moment is drawn from."""
    state = np.random.SeedSequence((seed, images_seen)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


Draw = Callable[[torch.Generator], Tensor]


@dataclass(frozen=True)
class Draws:
    """What a step draws from a CPU generator, so that it depends neither on the device nor on the number of ranks.

    Each method draws for the rows of all ranks and returns `rows` of them, this rank's, on the device.
    """

    source: torch.Generator
    compute: Compute

    def latents(self, rows: int, spec: GeneratorSpec) -> Tensor:
        """Return latents `(rows, latent_dim)`."""
        return self._own(partial(draw_latents, rows * self.compute.ranks.count, spec))

    def uniform(self, rows: int) -> Tensor:
        """Return numbers from 0 to 1, one for each image, `(rows, 1, 1, 1)`."""
        shape = (rows * self.compute.ranks.count, 1, 1, 1)
        return self._own(lambda source: torch.rand(shape, generator=source))

    def integers(self, rows: int, low: int, high: int) -> Tensor:
        """Return whole numbers from `low` to `high`, one for each image, `(rows, 1, 1, 1)`."""
        shape = (rows * self.compute.ranks.count, 1, 1, 1)
        return self._own(lambda source: torch.randint(low, high + 1, shape, generator=source))

    def _own(self, draw: Draw) -> Tensor:
        return to_device(self.compute.ranks.rows_of(draw(self.source)), self.compute.device)


@contextmanager
def seeded(source: torch.Generator, device: torch.device) -> Iterator[None]:
    """Seed torch's own generator of a device (dropout draws from it) like `source`; restore its state afterwards."""
    # Only this device's: torch.manual_seed goes through all kinds of devices, at 0.2 ms a step.
    if device.type == "mps":
        before = torch.mps.get_rng_state()
        torch.mps.manual_seed(source.initial_seed())
        try:
            yield
        finally:
            torch.mps.set_rng_state(before)
        return
    is_cuda = device.type == "cuda"
    own = torch.cuda.default_generators[torch.cuda.current_device()] if is_cuda else torch.default_generator
    before = own.get_state()
    own.manual_seed(source.initial_seed())
    try:
        yield
    finally:
        own.set_state(before)
