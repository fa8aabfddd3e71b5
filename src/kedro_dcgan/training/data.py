"""The data of a training: the order of the images, their batches with classes on the device, and all random draws.

Order and draws are functions of the seed and the clock (`images_seen`), so a training can resume anywhere without a
stored random state. Images stay uint8 until they are on the device.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.data.shards import PreparedImages
from kedro_dcgan.model.networks import GeneratorConfig
from kedro_dcgan.model.sampling import draw_latents
from kedro_dcgan.training.devices import Compute, staged, to_device

# Images may take this share of a GPU's free memory; networks and activations need the rest.
SHARE_OF_MEMORY = 0.4
# Images that are moved to a GPU at once, and batches that are gathered ahead.
_CHUNK, _AHEAD = 8192, 2


class Batch(NamedTuple):
    """Real images, uint8 `(N, C, H, W)`, and their classes, int64 `(N,)`, if the dataset has any."""

    images: Tensor
    classes: Tensor | None


def batch_indices(
    count: int, batch_size: int, batches: range, seed: int, balanced: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield the indices `(batch_size,)` of each batch number in `batches`; seed and epoch determine their order.

    An epoch has each of `count` images once. With `balanced`, the class of each image, it has `count` draws, equally
    many of each class, give or take one.
    """
    in_epoch = count // batch_size
    for number in batches:
        epoch, position = divmod(number, in_epoch)
        if position == 0 or number == batches.start:
            source = np.random.default_rng((seed, epoch))
            order = source.permutation(count) if balanced is None else _balanced_order(balanced, source)
        yield order[position * batch_size : (position + 1) * batch_size]


def seen_shares(class_shares: Sequence[float], training: TrainingParameters) -> Tensor:
    """Return the share of each class in the images that training sees, `(classes,)`, from those in the data."""
    shares = torch.tensor(class_shares)
    return torch.full_like(shares, 1 / len(shares)) if training.class_sampling == "balanced" else shares


def classes_to_balance(images: PreparedImages, training: TrainingParameters) -> np.ndarray | None:
    """Return the class of each training image, `(N,)`, if conditional training shows all classes equally often."""
    is_balanced = training.conditional is True and training.class_sampling == "balanced"
    return images.classes.labels["train"] if is_balanced and images.classes else None


def _balanced_order(classes: np.ndarray, source: np.random.Generator) -> np.ndarray:
    """Return `(N,)` indices of images: large classes lose images, those of small classes are repeated."""
    present, count = np.unique(classes), len(classes)
    # Which classes get one image more.
    shares = count // len(present) + (source.permutation(len(present)) < count % len(present))
    drawn = []
    for name, share in zip(present, shares, strict=True):
        members = np.flatnonzero(classes == name)
        rounds = [source.permutation(members) for _ in range(-(-share // len(members)))]
        drawn.append(np.concatenate(rounds)[:share])
    return source.permutation(np.concatenate(drawn))


def batches_on(device: torch.device, images: PreparedImages, indices: Iterable[np.ndarray]) -> Iterator[Batch]:
    """Return batches of the train images at these indices, on `device`.

    Images that take less than 40 % of a GPU's free memory are moved there once. Otherwise a thread gathers batches.
    """
    nbytes = images.count("train") * images.channels * images.image_size**2
    fits = device.type == "cuda" and nbytes < SHARE_OF_MEMORY * torch.cuda.mem_get_info(device)[0]
    return (resident if fits else streamed)(device, images, indices)


def resident(device: torch.device, images: PreparedImages, indices: Iterable[np.ndarray]) -> Iterator[Batch]:
    """Move all train images to the device; batches are gathered there."""
    count, size = images.count("train"), images.image_size
    everything = torch.empty((count, images.channels, size, size), dtype=torch.uint8, device=device)
    for start in range(0, count, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, count))
        everything[start : start + len(rows)] = torch.from_numpy(images.take("train", rows)).to(device)

    def take(batch: np.ndarray) -> Batch:
        rows = to_device(torch.from_numpy(batch), device)
        return Batch(everything.index_select(0, rows), _classes_at(batch, images, device))

    return map(take, indices)


def streamed(device: torch.device, images: PreparedImages, indices: Iterable[np.ndarray]) -> Iterator[Batch]:
    """Gather batches from the shards in a thread, two ahead, and move them to the device."""

    def gather(batch: np.ndarray) -> Tensor:
        return staged(torch.from_numpy(images.take("train", batch)), device)

    def take(indices: np.ndarray, gathered: Future[Tensor]) -> Batch:
        return Batch(to_device(gathered.result(), device), _classes_at(indices, images, device))

    pending: deque[tuple[np.ndarray, Future[Tensor]]] = deque()
    with ThreadPoolExecutor(1) as thread:
        for batch in indices:
            pending.append((batch, thread.submit(gather, batch)))
            if len(pending) > _AHEAD:
                yield take(*pending.popleft())
        while pending:
            yield take(*pending.popleft())


def _classes_at(indices: np.ndarray, images: PreparedImages, device: torch.device) -> Tensor | None:
    if images.classes is None:
        return None
    return to_device(torch.from_numpy(images.classes.labels["train"][indices]), device)


def source_at(seed: int, images_seen: int) -> torch.Generator:
    """Return the CPU generator for all random draws of the step that begins at this number of images."""
    state = np.random.SeedSequence((seed, images_seen)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


Draw = Callable[[torch.Generator], Tensor]


@dataclass(frozen=True)
class Draws:
    """The random draws of a step, from a CPU generator: independent of the device and of the number of ranks.

    Each method draws for all ranks and returns the `rows` of this rank, on the device.
    """

    source: torch.Generator
    compute: Compute

    def latents(self, rows: int, config: GeneratorConfig) -> Tensor:
        """Return latents `(rows, latent_dim)`."""
        return self._draw_rows(partial(draw_latents, rows * self.compute.ranks.count, config))

    def uniform(self, rows: int) -> Tensor:
        """Return numbers from 0 to 1, one for each image, `(rows, 1, 1, 1)`."""
        shape = (rows * self.compute.ranks.count, 1, 1, 1)
        return self._draw_rows(lambda source: torch.rand(shape, generator=source))

    def integers(self, rows: int, low: int, high: int) -> Tensor:
        """Return whole numbers from `low` to `high`, one for each image, `(rows, 1, 1, 1)`."""
        shape = (rows * self.compute.ranks.count, 1, 1, 1)
        return self._draw_rows(lambda source: torch.randint(low, high + 1, shape, generator=source))

    def _draw_rows(self, draw: Draw) -> Tensor:
        return to_device(self.compute.ranks.rows_of(draw(self.source)), self.compute.device)


@contextmanager
def seeded(source: torch.Generator, device: torch.device) -> Iterator[None]:
    """Seed a device's default generator, which dropout uses, like `source`; restore its state afterwards."""
    # torch.manual_seed would seed all kinds of devices, which takes 0.2 ms a step.
    default: Any = torch.default_generator
    if device.type == "cuda":
        default = torch.cuda.default_generators[torch.cuda.current_device()]
    elif device.type == "mps":
        mps = torch.mps
        default = SimpleNamespace(get_state=mps.get_rng_state, set_state=mps.set_rng_state, manual_seed=mps.manual_seed)
    before = default.get_state()
    default.manual_seed(source.initial_seed())
    try:
        yield
    finally:
        default.set_state(before)
