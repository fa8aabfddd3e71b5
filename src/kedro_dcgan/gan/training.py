"""The DCGAN algorithm as an iterator of ticks. It holds no path, no file, no logger and no tracker.

The clock is `images_seen`, the number of real images shown so far.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import sigmoid

from kedro_dcgan.errors import TrainingError
from kedro_dcgan.gan.devices import Compute
from kedro_dcgan.gan.losses import discriminator_loss, generator_loss
from kedro_dcgan.gan.networks import Discriminator, Generator, initialise
from kedro_dcgan.gan.sampling import draw_latents, generate_all
from kedro_dcgan.gan.specs import DiscriminatorSpec, GeneratorSpec
from kedro_dcgan.images.pixels import to_model_range
from kedro_dcgan.parameters import NetworkParameters, TrainingParameters


@dataclass
class TrainingState:
    """Everything that a step changes."""

    generator: Generator
    discriminator: Discriminator
    generator_optimiser: torch.optim.Optimizer
    discriminator_optimiser: torch.optim.Optimizer
    latents_source: torch.Generator
    images_seen: int = 0


@dataclass(frozen=True)
class TickRecord:
    """Means over the steps of one tick; D(real) and D(fake) are probabilities."""

    images_seen: int
    discriminator_loss: float
    generator_loss: float
    real_probability: float
    fake_probability: float
    images_per_second: float

    def as_dict(self) -> dict[str, float]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class Tick:
    """What training has to show: the record (none before the first step) and the samples of the fixed latents.

    `fixed_samples` are uint8 `(N, C, H, W)`.
    """

    images_seen: int
    record: TickRecord | None
    fixed_samples: np.ndarray


def start(
    generator_spec: GeneratorSpec,
    discriminator_spec: DiscriminatorSpec,
    training: TrainingParameters,
    compute: Compute,
) -> TrainingState:
    """Build both networks and their optimisers; every random draw follows from `training.seed`."""
    source = torch.Generator().manual_seed(training.seed)
    g, d = Generator(generator_spec), Discriminator(discriminator_spec)
    for network in (g, d):
        initialise(network, source)
        network.to(compute.device).to(memory_format=torch.channels_last)
    return TrainingState(g, d, _adam(g, training.generator), _adam(d, training.discriminator), source)


def train(
    state: TrainingState,
    batches: Iterable[Tensor],
    images_per_tick: int,
    fixed_latents: Tensor,
    compute: Compute,
) -> Iterator[Tick]:
    """Train on `batches` of uint8 images `(N, C, H, W)` on the device, yielding ticks.

    There is one before the first step, one every `images_per_tick` real images, and one after the last batch.

    Raises:
        TrainingError: at the end of a tick in which a loss was not finite.
    """
    yield Tick(0, None, _samples(state, fixed_latents))
    results: list[Tensor] = []
    last_tick, started = state.images_seen, time.perf_counter()
    for batch in batches:
        results.append(train_step(state, to_model_range(batch), compute))
        if state.images_seen - last_tick >= images_per_tick:
            yield _tick(state, results, last_tick, started, fixed_latents)
            results, last_tick, started = [], state.images_seen, time.perf_counter()
    if results:
        yield _tick(state, results, last_tick, started, fixed_latents)


def train_step(state: TrainingState, real_images: Tensor, compute: Compute) -> Tensor:
    """Update D once and G once on a batch of real images in [-1, 1].

    Algorithm 1 of Goodfellow et al. 2014 with one D step. Returns `(4,)`, on the device: the two
    losses, then mean D(real) and mean D(fake) before the update.
    """
    real_images = real_images.to(compute.device, memory_format=torch.channels_last)
    latents = draw_latents(len(real_images), state.generator.spec, state.latents_source)

    # Make a batch of fakes, to be used by both updates.
    with compute.autocast():
        fake_images = state.generator(latents.to(compute.device))

    # Update D: real up, fake down. Two passes, so that batch norm cannot tell them apart by their mixture.
    with compute.autocast():
        real_logits = state.discriminator(real_images)
        fake_logits = state.discriminator(fake_images.detach())
    d_loss = discriminator_loss(real_logits.float(), fake_logits.float())
    _step(state.discriminator_optimiser, d_loss)

    # Update G against the new D, whose weights need no gradients here.
    state.discriminator.requires_grad_(False)
    with compute.autocast():
        judged_logits = state.discriminator(fake_images)
    g_loss = generator_loss(judged_logits.float())
    _step(state.generator_optimiser, g_loss)
    state.discriminator.requires_grad_(True)

    state.images_seen += len(real_images)
    probabilities = sigmoid(real_logits.float()).mean(), sigmoid(fake_logits.float()).mean()
    return torch.stack([d_loss, g_loss, *probabilities]).detach()


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return a permutation of `range(count)` that depends on seed and epoch alone."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def batch_indices(count: int, batch_size: int, total_batches: int, seed: int) -> Iterator[np.ndarray]:
    """Yield `total_batches` index batches of full size: pass after pass, each in its own order, the rest dropped."""
    a_pass = count // batch_size
    for number in range(total_batches):
        epoch, position = divmod(number, a_pass)
        if position == 0:
            order = epoch_order(count, seed, epoch)
        yield order[position * batch_size : (position + 1) * batch_size]


def _adam(network: torch.nn.Module, parameters: NetworkParameters) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=parameters.learning_rate, betas=parameters.betas)


def _step(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def _samples(state: TrainingState, fixed_latents: Tensor) -> np.ndarray:
    return generate_all(state.generator, fixed_latents).numpy()


def _tick(state: TrainingState, results: list[Tensor], last_tick: int, started: float, fixed_latents: Tensor) -> Tick:
    # The only place where the host waits for the device.
    d_loss, g_loss, real, fake = torch.stack(results).mean(dim=0).tolist()
    speed = (state.images_seen - last_tick) / (time.perf_counter() - started)
    if not np.isfinite([d_loss, g_loss]).all():
        raise TrainingError(
            f"the losses must stay finite (D {d_loss:.3g}, G {g_loss:.3g} at {state.images_seen:,} images). "
            "Lower `training.generator.learning_rate` and `training.discriminator.learning_rate`."
        )
    record = TickRecord(state.images_seen, d_loss, g_loss, real, fake, speed)
    return Tick(state.images_seen, record, _samples(state, fixed_latents))
