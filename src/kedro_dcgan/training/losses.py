"""The adversarial losses on logits `(n,)`: of D on real images, of D on fakes, and of G.

The loss of D is the sum of a real and a fake term, so that D can be updated on both together or one after the other.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu, softplus

from kedro_dcgan.config import LossName


@dataclass(frozen=True)
class Loss:
    """D's loss on real logits (with their label) and on fake logits, and G's loss on fake logits: each a mean.

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
        real=lambda logits, label: (softplus(logits) - label * logits).mean(),
        fake=lambda logits: softplus(logits).mean(),
        generator=lambda logits: softplus(-logits).mean(),
        boundary=0.0,
    ),
    # On logits D. D: max(0, 1 - D(x)) + max(0, 1 + D(G(z))), G: -D(G(z)) (Lim and Ye 2017, arXiv 1705.02894).
    "hinge": Loss(
        real=lambda logits, _: relu(1 - logits).mean(),
        fake=lambda logits: relu(1 + logits).mean(),
        generator=lambda logits: -logits.mean(),
        boundary=0.0,
    ),
    # On logits D. D: (D(x) - label)^2 / 2 + D(G(z))^2 / 2, G: (D(G(z)) - 1)^2 / 2 (Mao et al. 2017, equation 9).
    "least_squares": Loss(
        real=lambda logits, label: (logits - label).square().mean() / 2,
        fake=lambda logits: logits.square().mean() / 2,
        generator=lambda logits: (logits - 1).square().mean() / 2,
        boundary=0.5,
    ),
    # On logits D. D: D(G(z)) - D(x), G: -D(G(z)) (Arjovsky et al. 2017). It needs the gradient penalty.
    "wgan_gp": Loss(
        real=lambda logits, _: -logits.mean(),
        fake=lambda logits: logits.mean(),
        generator=lambda logits: -logits.mean(),
        boundary=None,
    ),
}


def wrong_class_loss(loss: Loss, logits: Tensor, own: Tensor) -> Tensor:
    """Return D's loss on real images that are shown as each of the other classes, which it should take for fakes.

    It teaches D what distinguishes the classes (Reed et al. 2016, arXiv 1605.05396, section 4.1; we average over all
    wrong classes instead of drawing one).

    Args:
        loss: the adversarial loss
        logits: those of real images for each class, `(n, classes)`
        own: those of the images' own classes, `(n,)`
    """
    count = logits.shape[1]
    # The mean over all classes, less the own class of each image.
    return (count * loss.fake(logits) - loss.fake(own)) / (count - 1)


def accuracies(loss: Loss, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return D's accuracy on real and on fake images; a critic's boundary is halfway between its two mean logits."""
    boundary = (real_logits.mean() + fake_logits.mean()) / 2 if loss.boundary is None else loss.boundary
    return (real_logits > boundary).float().mean(), (fake_logits <= boundary).float().mean()
