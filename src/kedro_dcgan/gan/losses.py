"""The adversarial loss, on logits."""

from torch import Tensor
from torch.nn.functional import softplus


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return -mean log D(x) - mean log(1 - D(G(z))), with D the sigmoid of the logits `(N,)`.

    Goodfellow et al. 2014 (arXiv 1406.2661), equation 1. `softplus(-t) = -log sigmoid(t)`
    stays finite where the sigmoid would saturate. Chance level is 2 ln 2 = 1.386.
    """
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Return the non-saturating -mean log D(G(z)) of logits `(N,)`; chance level is ln 2 = 0.693.

    Goodfellow et al. 2014, section 3, last paragraph.
    """
    return softplus(-fake_logits).mean()
