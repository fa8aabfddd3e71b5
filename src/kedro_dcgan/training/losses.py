"""The adversarial losses of each image, from its logit: of D on real images, of D on fakes, and of G.

The loss of D is the sum of a real and a fake term, so that D can be updated on both together or one after the other.
Conditional training adds a term on real images with wrong classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu, softplus

from kedro_dcgan.config import LossName
from kedro_dcgan.model.networks import one_hot


@dataclass(frozen=True)
class Loss:
    """D's losses for real logits (with their label) and for fake logits, and G's losses for fake logits.

    `boundary` is the logit between fake and real; None for a critic, which has no fixed one.
    """

    real: Callable[[Tensor, float], Tensor]
    fake: Callable[[Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    boundary: float | None


LOSSES: dict[LossName, Loss] = {
    # D minimises -log D(x) - log(1 - D(G(z))), and G minimises -log D(G(z)), where D is the sigmoid of the logit l
    # (Goodfellow et al. 2014, arXiv 1406.2661, equation 1 and the end of section 3). `softplus(-l)` is -log sigmoid(l),
    # and stays finite where the sigmoid saturates. If D outputs 0.5 everywhere, the losses are 2 ln 2 = 1.386 and ln 2.
    # With a label t, the first term is -t log D(x) - (1 - t) log(1 - D(x)), which is `softplus(l) - t l` (Salimans et
    # al. 2016, section 3.4).
    "non_saturating": Loss(
        real=lambda logits, label: softplus(logits) - label * logits,
        fake=lambda logits: softplus(logits),
        generator=lambda logits: softplus(-logits),
        boundary=0.0,
    ),
    # On logits D. D: max(0, 1 - D(x)) + max(0, 1 + D(G(z))), G: -D(G(z)) (Lim and Ye 2017, arXiv 1705.02894).
    "hinge": Loss(
        real=lambda logits, _: relu(1 - logits),
        fake=lambda logits: relu(1 + logits),
        generator=lambda logits: -logits,
        boundary=0.0,
    ),
    # On logits D. D: (D(x) - label)^2 / 2 + D(G(z))^2 / 2, G: (D(G(z)) - 1)^2 / 2 (Mao et al. 2017, equation 9).
    "least_squares": Loss(
        real=lambda logits, label: (logits - label).square() / 2,
        fake=lambda logits: logits.square() / 2,
        generator=lambda logits: (logits - 1).square() / 2,
        boundary=0.5,
    ),
    # On logits D. D: D(G(z)) - D(x), G: -D(G(z)) (Arjovsky et al. 2017). It needs the gradient penalty.
    "wgan_gp": Loss(
        real=lambda logits, _: -logits,
        fake=lambda logits: logits,
        generator=lambda logits: -logits,
        boundary=None,
    ),
}


def wrong_class_loss(loss: Loss, logits: Tensor, classes: Tensor, shares: Tensor) -> Tensor:
    """Return D's mean loss on real images paired with a wrong class, which it should reject as fake.

    It teaches D what distinguishes the classes (Reed et al. 2016, arXiv 1605.05396, section 4.1). They draw a wrong
    class for each image; we average over all of them by their shares, so that a rare class is rarely a wrong one.

    Args:
        loss: the adversarial loss, not that of a critic, which the wrong classes would push down without end
        logits: those of real images for each class, `(n, classes)`
        classes: those of the images, `(n,)`
        shares: those of the classes in the training images, `(classes,)`
    """
    weights = shares * (1 - one_hot(classes, len(shares)))
    return (weights * loss.fake(logits)).sum(dim=1).div(weights.sum(dim=1)).mean()


def accuracies(loss: Loss, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return D's accuracy on real and on fake images; a critic's boundary is halfway between its two mean logits."""
    boundary = (real_logits.mean() + fake_logits.mean()) / 2 if loss.boundary is None else loss.boundary
    return (real_logits > boundary).float().mean(), (fake_logits <= boundary).float().mean()
