"""One training step: algorithm 1 of Goodfellow et al. 2014 (arXiv 1406.2661) with the options of the parameters.

`Step.train` is the algorithm. `training.batch_size` counts the images of all ranks; N is the number of this rank's
images in a batch, n in a micro-batch. Images are `(n, C, H, W)` in [-1, 1], logits `(n,)`, and the classes of
conditional training `(n,)`. D's update there has the logits of all classes, `(n, classes)`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import sigmoid
from torch.profiler import record_function

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.model.networks import logits_of
from kedro_dcgan.model.sampling import with_classes
from kedro_dcgan.training.augmentation import augment, flip
from kedro_dcgan.training.data import Draws, seeded, seen_shares, source_at
from kedro_dcgan.training.devices import Compute
from kedro_dcgan.training.ema import decay_of, update_average
from kedro_dcgan.training.losses import LOSSES, accuracies, wrong_class_loss
from kedro_dcgan.training.regularisation import gradient_penalty, r1_penalty
from kedro_dcgan.training.state import TrainingState

# The parts of a step, as torch's profiler shows them.
PARTS = ("fakes", "discriminator", "generator", "ranks", "optimisers", "average")

# The kinds of images in each update of D.
_UPDATES = {"together": (("real", "fake"),), "separately": (("real",), ("fake",))}


class StepVariant(NamedTuple):
    """The optional parts of a step, besides the update of D. All steps of a variant run the same operations."""

    updates_generator: bool
    applies_r1: bool


def variant_at(images_seen: int, training: TrainingParameters) -> StepVariant:
    """Return the variant of the next step: G is updated in the last of each `discriminator.steps`.

    R1 applies in the first of each `r1_every` steps.
    """
    number, penalties = images_seen // training.batch_size, training.penalties
    return StepVariant(
        updates_generator=(number + 1) % training.discriminator.steps == 0,
        applies_r1=penalties.has_r1 and number % penalties.r1_every == 0,
    )


def cycle_of(training: TrainingParameters) -> int:
    """Return the number of steps after which the sequence of variants repeats."""
    penalties = training.penalties
    return math.lcm(training.discriminator.steps, penalties.r1_every if penalties.has_r1 else 1)


# Runs `Step.train` of a variant on real images and their classes, with draws from a generator: eagerly, or captured as
# a CUDA graph.
Train = Callable[[Tensor, Tensor | None, Draws], Tensor]
Runner = Callable[[Train, StepVariant, Tensor, Tensor | None, torch.Generator], Tensor]


class Pairs(NamedTuple):
    """The real and the fake images of a micro-batch, `(n, C, H, W)`, and the classes `(n,)` that both have, if any."""

    real: Tensor
    fake: Tensor
    classes: Tensor | None


class Step:
    """Takes the steps of a training. `run`, if given, calls `train`: CUDA graphs use it."""

    def __init__(
        self, state: TrainingState, training: TrainingParameters, compute: Compute, run: Runner | None = None
    ) -> None:
        self._state, self._training, self._compute, self._run = state, training, compute, run
        self._loss, self._augmentations = LOSSES[training.loss], training.augmentation.names
        self._shares = seen_shares(state.generator.config.class_shares, training).to(compute.device)
        self._wrong_weight = 0.0 if self._loss.boundary is None else training.wrong_class_weight

    def __call__(self, real_images: Tensor, classes: Tensor | None = None) -> Tensor:
        """Update D and G on this rank's real images `(N, C, H, W)`, then the EMA and the clock; return the metrics.

        `classes` are those of the images, `(N,)`, for conditional training.
        """
        state, training = self._state, self._training
        variant = variant_at(state.images_seen, training)
        real_images = real_images.contiguous(memory_format=torch.channels_last)

        # Seed all random draws of the step from the training's seed and clock, and torch's own generator for dropout.
        source = source_at(training.seed, state.images_seen)
        with seeded(source, self._compute.device):
            if self._run:
                metrics = self._run(partial(self.train, variant), variant, real_images, classes, source)
            else:
                metrics = self.train(variant, real_images, classes, Draws(source, self._compute))

        # After an update of G, update its EMA, by the real images since the last update. (A captured graph cannot hold
        # this: the decay changes.)
        half_life = training.ema.half_life
        if variant.updates_generator and state.ema_generator is not None and half_life:
            decay = decay_of(training.batch_size * training.discriminator.steps, state.images_seen, half_life)
            with record_function("average"):
                update_average(state.ema_generator, state.generator, decay)

        # Adapt the weight of R1 to how sure D was.
        if state.adaptive_r1 is not None:
            state.adaptive_r1.adapt(metrics[4:], training.batch_size)

        state.images_seen += training.batch_size
        return metrics

    def train(self, variant: StepVariant, real_images: Tensor, classes: Tensor | None, draws: Draws) -> Tensor:
        """Update D, and G if the variant says so.

        Returns `(6,)` float32 on the device, over all ranks: loss of D with its penalties and wrong classes, loss of G,
        D's accuracy on real and on fake images, D's mean sigmoid on real and on fake images. Those of D are measured
        before its update, the loss of G on the updated D. Without an update of G, it follows from D's fake logits.
        """
        # Split the batch into equal micro-batches (`plan.require_shares`), whose gradients add up.
        config, parts = self._state.generator.config, self._training.gradient_accumulation
        reals: Sequence[Tensor] = real_images.chunk(parts)
        labels: Sequence[Tensor | None] = [None] * parts if classes is None else classes.chunk(parts)

        # Draw latents (n, latent_dim) and generate fakes, of the classes of the real images. A single micro-batch keeps
        # its graph for the update of G.
        latents = [draws.latents(len(real), config) for real in reals]
        inputs = [with_classes(*part, config) for part in zip(latents, labels, strict=True)]
        keeps_graph = variant.updates_generator and len(reals) == 1
        with record_function("fakes"):
            fakes = [self._generate(part, keeps_graph) for part in inputs]

        # Mirror each real image with probability 0.5.
        if self._training.augmentation.flip:
            reals = [flip(real, draws) for real in reals]

        # Update D: raise its logits on real images and lower them on detached fakes.
        batch = [Pairs(real, fake.detach(), of_both) for real, fake, of_both in zip(reals, fakes, labels, strict=True)]
        d_loss, real_logits, fake_logits = self._update_discriminator(variant, batch, draws)

        # Update G: raise the logits of the updated D on fakes of the same latents. Several micro-batches generate these
        # fakes again, one graph at a time.
        if variant.updates_generator:
            with_graph = fakes if keeps_graph else (self._generate(part, with_graph=True) for part in inputs)
            g_loss = self._update_generator(zip(with_graph, labels, strict=True), draws)
        else:
            g_loss = self._loss.generator(fake_logits).mean()

        return self._metrics_of_all_ranks(d_loss, g_loss, real_logits, fake_logits)

    def _metrics_of_all_ranks(self, d_loss: Tensor, g_loss: Tensor, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        of_all = self._compute.ranks.gather(torch.cat([torch.stack([d_loss, g_loss]), real_logits, fake_logits]))
        real_logits, fake_logits = (logits.flatten() for logits in of_all[:, 2:].chunk(2, dim=1))
        right = accuracies(self._loss, real_logits, fake_logits)
        probabilities = sigmoid(real_logits).mean(), sigmoid(fake_logits).mean()
        return torch.cat([of_all[:, :2].mean(dim=0), torch.stack([*right, *probabilities])])

    def _update_discriminator(
        self, variant: StepVariant, batch: Sequence[Pairs], draws: Draws
    ) -> tuple[Tensor, Tensor, Tensor]:
        # Returns the loss, and the logits (N,) on real and on fake images.
        network, optimiser = self._state.discriminator, self._state.discriminator_optimiser
        losses, logits = list[Tensor](), {"real": list[Tensor](), "fake": list[Tensor]()}
        for update in _UPDATES[self._training.discriminator.update]:
            optimiser.zero_grad(set_to_none=True)
            # For few images, one forward pass over real and fake images is faster than one for each kind.
            is_joint = network.has_joint_pass(len(batch[0].real))
            passes = [update] if is_joint else [(kind,) for kind in update]
            with record_function("discriminator"), self._compute.weights_cast_once():
                for pairs in batch:
                    # Each update draws its own augmentation, always for both kinds: a penalty may need both.
                    real, fake = (augment(images, self._augmentations, draws) for images in (pairs.real, pairs.fake))
                    augmented = Pairs(real, fake, pairs.classes)
                    for kinds in passes:
                        for kind, loss, of_kind in self._backward(variant, kinds, augmented, draws):
                            losses.append(loss)
                            logits[kind].append(of_kind)
            self._optimise(network, optimiser)
        return torch.stack(losses).sum(), torch.cat(logits["real"]), torch.cat(logits["fake"])

    def _backward(
        self, variant: StepVariant, kinds: tuple[str, ...], pairs: Pairs, draws: Draws
    ) -> list[tuple[str, Tensor, Tensor]]:
        # One pass of D over a micro-batch: accumulate its gradients; return each kind's share of the loss, and logits.
        label, parts = self._training.real_label, self._training.gradient_accumulation
        of_all = self._logits(torch.cat([getattr(pairs, kind) for kind in kinds])).split(len(pairs.real))
        losses, logits = list[Tensor](), list[Tensor]()
        for kind, of_kind in zip(kinds, of_all, strict=True):
            own = of_kind if pairs.classes is None else logits_of(of_kind, pairs.classes)
            loss = (self._loss.real(own, label) if kind == "real" else self._loss.fake(own)).mean()
            if kind == "real" and pairs.classes is not None and self._wrong_weight:
                loss = loss + self._wrong_weight * wrong_class_loss(self._loss, of_kind, pairs.classes, self._shares)
            losses.append((loss + self._penalty(variant, kind, pairs, draws)) / parts)
            logits.append(own)
        torch.stack(losses).sum().backward()
        return [(kind, loss.detach(), own.detach()) for kind, loss, own in zip(kinds, losses, logits, strict=True)]

    def _update_generator(self, fakes: Iterable[tuple[Tensor, Tensor | None]], draws: Draws) -> Tensor:
        # `fakes` come with their classes.
        losses, parts = [], self._training.gradient_accumulation
        self._state.generator_optimiser.zero_grad(set_to_none=True)
        # G needs the gradients of D with respect to its images, not to its weights.
        self._state.discriminator.requires_grad_(False)
        try:
            with record_function("generator"), self._compute.weights_cast_once():
                for fake, classes in fakes:
                    logits = self._logits(augment(fake, self._augmentations, draws), classes)
                    loss = self._loss.generator(logits).mean() / parts
                    loss.backward()
                    losses.append(loss.detach())
        finally:
            self._state.discriminator.requires_grad_(True)
        self._optimise(self._state.generator, self._state.generator_optimiser)
        return torch.stack(losses).sum()

    def _optimise(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
        with record_function("ranks"):
            self._compute.ranks.average(gradients)
        with record_function("optimisers"):
            optimiser.step()

    def _generate(self, inputs: Tensor, with_graph: bool) -> Tensor:
        with torch.set_grad_enabled(with_graph), self._compute.autocast():
            return self._state.generator(inputs)

    def _logits(self, images: Tensor, classes: Tensor | None = None) -> Tensor:
        # In float32, because losses are computed in full precision.
        with self._compute.autocast():
            return self._state.discriminator(images, classes).float()

    def _penalty(self, variant: StepVariant, kind: str, pairs: Pairs, draws: Draws) -> Tensor | float:
        penalties, network, adaptive = self._training.penalties, self._state.discriminator, self._state.adaptive_r1
        # The gradient penalty is added to the loss on fakes. It needs real images too.
        if kind == "fake" and self._training.loss == "wgan_gp":
            return gradient_penalty(network, pairs.real, pairs.fake, penalties.gradient, draws, pairs.classes)
        if kind == "real" and variant.applies_r1:
            # Lazy regularisation: scaled by `r1_every` (Karras et al. 2020, arXiv 1912.04958).
            gamma = float(penalties.r1) if adaptive is None else adaptive.gamma
            return penalties.r1_every * r1_penalty(network, pairs.real, gamma, pairs.classes)
        return 0.0
