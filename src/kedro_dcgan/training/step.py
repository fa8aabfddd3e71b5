"""One training step: algorithm 1 of Goodfellow et al. 2014 (arXiv 1406.2661) with the options of the parameters.

`Step.train` is the algorithm; `Step` calls it for one batch after the other, at the clock of the training. N is the
number of this rank's images in a batch, n in a micro-batch. Images are `(n, C, H, W)` in [-1, 1], logits `(n,)`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import sigmoid
from torch.profiler import record_function

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.model.networks import Discriminator
from kedro_dcgan.training.augmentation import augment, flip
from kedro_dcgan.training.data import Draws, seeded, source_at
from kedro_dcgan.training.devices import Compute
from kedro_dcgan.training.ema import decay_of, update_average
from kedro_dcgan.training.losses import LOSSES, accuracies
from kedro_dcgan.training.regularisation import gradient_penalty, r1_penalty
from kedro_dcgan.training.state import TrainingState

# The parts of a step, as torch's profiler shows them.
PARTS = ("fakes", "discriminator", "generator", "ranks", "optimisers", "average")

# The images that D learns from in each of its updates.
_UPDATES = {"together": (("real", "fake"),), "separately": (("real",), ("fake",))}
# The largest micro-batch for which D judges real and fake images in one pass: it doubles the memory for activations.
_MOST_IN_ONE_PASS = 32


class StepVariant(NamedTuple):
    """Which updates run in a step. Steps of one variant run the same operations."""

    updates_generator: bool
    applies_r1: bool


def variant_at(images_seen: int, training: TrainingParameters) -> StepVariant:
    """Return the variant of the step that begins at this number of images."""
    number, penalties = images_seen // training.batch_size, training.penalties
    return StepVariant(
        updates_generator=(number + 1) % training.discriminator.steps == 0,
        applies_r1=penalties.r1 > 0 and number % penalties.r1_every == 0,
    )


def cycle_of(training: TrainingParameters) -> int:
    """Return the number of steps after which the sequence of variants repeats."""
    penalties = training.penalties
    return math.lcm(training.discriminator.steps, penalties.r1_every if penalties.r1 else 1)


TrainOneStep = Callable[[Tensor, Draws], Tensor]
# Runs a step of a variant on real images, with draws from a source: eagerly, or captured as a CUDA graph.
Runner = Callable[[TrainOneStep, StepVariant, Tensor, torch.Generator], Tensor]


class Step:
    """The next step of a training. `run`, if given, runs the steps instead of calling them."""

    def __init__(
        self, state: TrainingState, training: TrainingParameters, compute: Compute, run: Runner | None = None
    ) -> None:
        self._state, self._training, self._compute, self._run = state, training, compute, run
        self._loss = LOSSES[training.loss]

    def __call__(self, real_images: Tensor) -> Tensor:
        """Train on this rank's real images `(N, C, H, W)`, update the average, move the clock; return the metrics."""
        state, training = self._state, self._training
        variant = variant_at(state.images_seen, training)
        real_images = real_images.contiguous(memory_format=torch.channels_last)

        # All randomness of the step is a function of the seed and the clock.
        source = source_at(training.seed, state.images_seen)
        with seeded(source, self._compute.device):
            if self._run:
                metrics = self._run(partial(self.train, variant), variant, real_images, source)
            else:
                metrics = self.train(variant, real_images, Draws(source, self._compute))

        # Move the average of G, by all real images since its last update.
        half_life = training.ema.half_life
        if variant.updates_generator and state.ema_generator is not None and half_life:
            decay = decay_of(training.batch_size * training.discriminator.steps, state.images_seen, half_life)
            with record_function("average"):
                update_average(state.ema_generator, state.generator, decay)

        state.images_seen += training.batch_size
        return metrics

    def train(self, variant: StepVariant, real_images: Tensor, draws: Draws) -> Tensor:
        """Update D, and G if the variant says so.

        Returns `(6,)` float32 on the device: the losses of D and G, then D's accuracy and mean probability on real and
        fake images (see `TickRecord`). All are taken before the update that they lead to, and over all ranks.
        """
        # Split the batch into micro-batches, whose gradients add up.
        reals: Sequence[Tensor] = real_images.chunk(self._training.gradient_accumulation)

        # Draw latents (n, latent_dim) and generate fakes. Keep their graph for G's update, if it fits into memory.
        latents = [draws.latents(len(real), self._state.generator.config) for real in reals]
        keeps_graph = variant.updates_generator and len(reals) == 1
        with record_function("fakes"):
            fakes = [self._generate(part, keeps_graph) for part in latents]

        # Mirror half of the real images.
        if self._training.augmentation.flip:
            reals = [flip(real, draws) for real in reals]

        # Update D: raise its logits on real images and lower them on fakes.
        d_loss, real_logits, fake_logits = self._update_discriminator(variant, reals, fakes, draws)

        # Update G: raise the logits of the updated D on fakes.
        if variant.updates_generator:
            again = fakes if keeps_graph else (self._generate(part, with_graph=True) for part in latents)
            g_loss = self._update_generator(again, draws)
        else:
            g_loss = self._loss.generator(fake_logits)
        return self._metrics_of_all_ranks(torch.stack([d_loss, g_loss]), real_logits, fake_logits)

    def _update_discriminator(
        self, variant: StepVariant, reals: Sequence[Tensor], fakes: Sequence[Tensor], draws: Draws
    ) -> tuple[Tensor, Tensor, Tensor]:
        # Returns the loss, and the logits (N,) on real and on fake images.
        losses, logits = list[Tensor](), {"real": list[Tensor](), "fake": list[Tensor]()}
        for update in _UPDATES[self._training.discriminator.update]:
            self._state.discriminator_optimiser.zero_grad(set_to_none=True)
            with record_function("discriminator"), self._compute.weights_cast_once():
                for real, fake in zip(reals, fakes, strict=True):
                    images = {"real": self._augment(real, draws), "fake": self._augment(fake.detach(), draws)}
                    for sides in self._passes(update, len(real)):
                        judged = self._judge(torch.cat([images[side] for side in sides])).split(len(real))
                        terms = []
                        for side, of_side in zip(sides, judged, strict=True):
                            loss = self._side_loss(side, of_side) + self._penalty(variant, side, images, draws)
                            terms.append(loss / len(reals))
                            logits[side].append(of_side.detach())
                        torch.stack(terms).sum().backward()
                        losses += [term.detach() for term in terms]
            self._descend(self._state.discriminator, self._state.discriminator_optimiser)
        return torch.stack(losses).sum(), torch.cat(logits["real"]), torch.cat(logits["fake"])

    def _update_generator(self, fakes: Iterable[Tensor], draws: Draws) -> Tensor:
        losses = []
        self._state.generator_optimiser.zero_grad(set_to_none=True)
        with _frozen(self._state.discriminator), record_function("generator"), self._compute.weights_cast_once():
            for fake in fakes:
                loss = self._loss.generator(self._judge(self._augment(fake, draws)))
                (loss / self._training.gradient_accumulation).backward()
                losses.append(loss.detach() / self._training.gradient_accumulation)
        self._descend(self._state.generator, self._state.generator_optimiser)
        return torch.stack(losses).sum()

    def _descend(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
        with record_function("ranks"):
            self._compute.ranks.average(gradients)
        with record_function("optimisers"):
            optimiser.step()

    def _generate(self, latents: Tensor, with_graph: bool) -> Tensor:
        with torch.set_grad_enabled(with_graph), self._compute.autocast():
            return self._state.generator(latents)

    def _augment(self, images: Tensor, draws: Draws) -> Tensor:
        return augment(images, self._training.augmentation.differentiable, draws)

    def _judge(self, images: Tensor) -> Tensor:
        # Logits are float32: losses are computed in full precision.
        with self._compute.autocast():
            return self._state.discriminator(images).float()

    def _side_loss(self, side: str, logits: Tensor) -> Tensor:
        return self._loss.fake(logits) if side == "fake" else self._loss.real(logits, self._training.real_label)

    def _penalty(self, variant: StepVariant, side: str, images: dict[str, Tensor], draws: Draws) -> Tensor | float:
        penalties, network = self._training.penalties, self._state.discriminator
        if side == "fake" and self._training.loss == "wgan_gp":
            return gradient_penalty(network, images["real"], images["fake"], penalties.gradient, draws)
        if side == "real" and variant.applies_r1:
            # Lazy regularisation: scaled by `r1_every` (Karras et al. 2020, arXiv 1912.04958).
            return penalties.r1_every * r1_penalty(network, images["real"], penalties.r1)
        return 0.0

    def _passes(self, update: tuple[str, ...], images: int) -> Iterable[tuple[str, ...]]:
        # For few images, one pass over both sides is faster than two.
        is_one = images_in_a_pass(self._state.discriminator, images) > images
        return [update] if is_one else [(side,) for side in update]

    def _metrics_of_all_ranks(self, losses: Tensor, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        of_all = self._compute.ranks.gather(torch.cat([losses, real_logits, fake_logits]))
        real_logits, fake_logits = (logits.flatten() for logits in of_all[:, 2:].chunk(2, dim=1))
        right = accuracies(self._loss, real_logits, fake_logits)
        probabilities = sigmoid(real_logits).mean(), sigmoid(fake_logits).mean()
        return torch.cat([of_all[:, :2].mean(dim=0), torch.stack([*right, *probabilities])])


def images_in_a_pass(discriminator: Discriminator, images: int) -> int:
    """Return how many images D judges in one pass of its update, for a micro-batch of this many real images.

    With batch norm, dropout or spectral norm, D judges real and fake images in separate passes: batch norm could tell
    them apart by the statistics of their mixture.
    """
    return 2 * images if images <= _MOST_IN_ONE_PASS and discriminator.judges_each_image_alone else images


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    # G's update needs the gradients of D with respect to its images, not to its weights.
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
