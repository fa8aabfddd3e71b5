"""The trained discriminator of a checkpoint.

Only the generator is exported, so checkpoints are the only files with the weights of a discriminator.
"""

from typing import Any

from kedro_dcgan.errors import TrainingError
from kedro_dcgan.model.networks import Discriminator
from kedro_dcgan.model.recipes import build_discriminator
from kedro_dcgan.model.saved import TrainedGenerator
from kedro_dcgan.training.checkpoints import CheckpointFolder, CheckpointHeader
from kedro_dcgan.training.plan import discriminator_beside


def read_discriminator(stored: CheckpointFolder, generator: TrainedGenerator) -> tuple[Discriminator, CheckpointHeader]:
    """Return the discriminator beside a generator, in eval mode, with the header of its checkpoint.

    Of the checkpoints of the generator's training, it is the one that has seen about as many images as the generator,
    which is not the newest one if an earlier generator was better. If it is damaged, the next closest one is used.

    Raises:
        TrainingError: if there is no checkpoint of this training.
    """
    training_id = str(generator.facts.get("training_id"))
    while headers := stored.headers(training_id):
        header = min(headers, key=lambda one: abs(one.images_seen - generator.images_seen))
        config = discriminator_beside(generator.config, header.fingerprint)
        # A damaged one is set aside.
        if config and (state := stored.read_state(header)) is not None:
            return _restored(build_discriminator(config), state["discriminator"]), header
        if config is None:
            break
    raise TrainingError(
        f"`{stored.root}` must hold a checkpoint of the training of this generator, for its discriminator (it holds "
        f"none of {training_id if 'training_id' in generator.facts else 'an earlier version'}). "
        "Train here first: kedro run."
    )


def _restored(network: Discriminator, weights: dict[str, Any]) -> Discriminator:
    network.load_state_dict(weights)
    return network.eval()
