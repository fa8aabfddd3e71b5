"""One step: algorithm 1 of Goodfellow et al. 2014 (arXiv 1406.2661) with all its options."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import sigmoid
from torch.profiler import record_function

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.model.specs import DiscriminatorSpec
from kedro_dcgan.training.augmentation import augment, flip
from kedro_dcgan.training.data import Draws, seeded, source_at
from kedro_dcgan.training.devices import Compute
from kedro_dcgan.training.ema import decay_of, update_average
from kedro_dcgan.training.fast.cuda_graphs import RecordedSteps
from kedro_dcgan.training.losses import LOSSES, accuracies
from kedro_dcgan.training.regularisation import gradient_penalty, r1_penalty
from kedro_dcgan.training.state import TrainingState

# Largest batch for which D judges real and fake images in one pass: beyond it, activations would take twice the memory.
_MOST_IN_ONE_PASS = 32

# Which images D learns from in one update.
_UPDATES = {"together": (("real", "fake"),), "separately": (("real",), ("fake",))}


def cycle_of(training: TrainingParameters) -> int:
    """Return after how many steps it begins anew whose turn it is."""
    penalties = training.penalties
    return math.lcm(training.discriminator.steps, penalties.r1_every if penalties.r1 else 1)


def images_in_a_pass(discriminator: DiscriminatorSpec, images: int) -> int:
    """Return how many images D judges in one pass of its update, of so many real images and as many fakes.

    Not both with batch norm, which could tell them apart by the statistics of their mixture, dropout or spectral norm.
    """
    return 2 * images if images <= _MOST_IN_ONE_PASS and discriminator.judges_each_image_alone else images


# What a step's time goes to, as torch's profiler shows it.
PARTS = ("fakes", "discriminator", "generator", "ranks", "optimisers", "average")


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


class Step:
    """Called with this rank's real images in [-1, 1] on the device, it updates D, and G if it is its turn.

    Returns `(6,)` float32 on the device: the losses of D and G, then D's accuracy and mean probability on
    real and fake images (see `TickRecord`), all from before the update that they lead to, and of all ranks.
    """

    def __init__(self, state: TrainingState, training: TrainingParameters, compute: Compute) -> None:
        self._state, self._training, self._compute = state, training, compute
        self._loss = LOSSES[training.loss]
        self._recorded = RecordedSteps(compute) if "graphed" in state.execution else None

    def __call__(self, real_images: Tensor) -> Tensor:
        """Take one step."""
        source = source_at(self._training.seed, self._state.images_seen)
        variant = variant_at(self._state.images_seen, self._training)
        real_images = real_images.contiguous(memory_format=torch.channels_last)
        with seeded(source, self._compute.device):
            if self._recorded:
                values = self._recorded(partial(self._step, variant), variant, real_images, source)
            else:
                values = self._step(variant, real_images, Draws(source, self._compute))
        if variant.updates_generator:
            self._average()
        self._state.images_seen += self._training.batch_size
        return values

    def _step(self, variant: StepVariant, real_images: Tensor, draws: Draws) -> Tensor:
        parts = real_images.chunk(self._training.gradient_accumulation)

        # Draw latents and make fakes. G learns from the same ones, unless they are too many to keep.
        latents = [draws.latents(len(part), self._state.generator.spec) for part in parts]
        keep = variant.updates_generator and len(parts) == 1
        with record_function("fakes"):
            fakes = [self._generate(part, keep) for part in latents]

        # Update D: real up, fake down.
        reals = [flip(part, draws) for part in parts] if self._training.augmentation.flip else parts
        d_loss, real_logits, fake_logits = self._update_discriminator(variant, reals, fakes, draws)

        # Update G against the new D.
        if variant.updates_generator:
            again = fakes if keep else (self._generate(part, with_graph=True) for part in latents)
            g_loss = self._update_generator(again, draws)
        else:
            g_loss = self._loss.generator(fake_logits)
        return self._of_all_ranks(torch.stack([d_loss, g_loss]), real_logits, fake_logits)

    def _update_discriminator(
        self, variant: StepVariant, reals: Sequence[Tensor], fakes: Sequence[Tensor], draws: Draws
    ) -> tuple[Tensor, Tensor, Tensor]:
        losses: list[Tensor] = []
        logits: dict[str, list[Tensor]] = {"real": [], "fake": []}
        for sides in _UPDATES[self._training.discriminator.update]:
            self._state.discriminator_optimiser.zero_grad(set_to_none=True)
            with record_function("discriminator"), self._compute.weights_cast_once():
                for real, fake in zip(reals, fakes, strict=True):
                    images = {"real": self._augment(real, draws), "fake": self._augment(fake.detach(), draws)}
                    for group in self._passes(sides, len(real)):
                        judged = self._judge(torch.cat([images[side] for side in group])).split(len(real))
                        terms = []
                        for side, of_side in zip(group, judged, strict=True):
                            loss = self._side_loss(side, of_side) + self._penalty(variant, side, images, draws)
                            terms.append(loss / len(reals))
                            logits[side].append(of_side.detach())
                        torch.stack(terms).sum().backward()
                        losses += [term.detach() for term in terms]
            self._descend(self._state.discriminator, self._state.discriminator_optimiser)
        return torch.stack(losses).sum(), torch.cat(logits["real"]), torch.cat(logits["fake"])

    def _passes(self, sides: tuple[str, ...], images: int) -> Iterable[tuple[str, ...]]:
        # For few images, one pass on both sides is faster than two.
        is_one = images_in_a_pass(self._state.discriminator.spec, images) > images
        return [sides] if is_one else [(side,) for side in sides]

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

    def _generate(self, latents: Tensor, with_graph: bool) -> Tensor:
        with torch.set_grad_enabled(with_graph), self._compute.autocast():
            return self._state.generator(latents)

    def _augment(self, images: Tensor, draws: Draws) -> Tensor:
        return augment(images, self._training.augmentation.differentiable, draws)

    def _judge(self, images: Tensor) -> Tensor:
        # Logits, (N,) float32: losses are computed in full precision.
        with self._compute.autocast():
            return self._state.discriminator(images).float()

    def _of_all_ranks(self, losses: Tensor, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        of_all = self._compute.ranks.gather(torch.cat([losses, real_logits, fake_logits]))
        real_logits, fake_logits = (logits.flatten() for logits in of_all[:, 2:].chunk(2, dim=1))
        right = accuracies(self._loss, real_logits, fake_logits)
        probabilities = sigmoid(real_logits).mean(), sigmoid(fake_logits).mean()
        return torch.cat([of_all[:, :2].mean(dim=0), torch.stack([*right, *probabilities])])

    def _average(self) -> None:
        state, half_life = self._state, self._training.ema.half_life
        if state.ema_generator is not None and half_life:
            # All the images since the generator's last turn.
            images = self._training.batch_size * self._training.discriminator.steps
            with record_function("average"):
                update_average(state.ema_generator, state.generator, decay_of(images, state.images_seen, half_life))


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    # Its gradients with respect to the images are needed, those with respect to its weights are not.
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
