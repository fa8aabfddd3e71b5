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
    """Return the discriminator of the newest checkpoint that fits a generator, in eval mode, with its header.

    A checkpoint fits if it is of the same images, by their digest, and of the same generator network. If it is damaged,
    an earlier one is used.

    Raises:
        TrainingError: if no checkpoint fits.
    """
    others = 0
    for newest in stored.newest_of_each():
        config = discriminator_beside(generator.config, newest.fingerprint)
        if config is None or newest.fingerprint.get("images") != generator.dataset_digest:
            others += 1
            continue
        header: CheckpointHeader | None = newest
        while header is not None:
            if (state := stored.read_state(header)) is not None:
                return _restored(build_discriminator(config), state["discriminator"]), header
            # It was damaged, and is set aside.
            header = stored.newest(header.training_id)
    found = f"{others:,} trainings of other images or networks" if others else "no checkpoint"
    raise TrainingError(
        f"`{stored.root}` must hold a checkpoint of the training of this generator, for its discriminator (it holds "
        f"{found}). Train here first: kedro run --pipelines=train."
    )


def _restored(network: Discriminator, weights: dict[str, Any]) -> Discriminator:
    network.load_state_dict(weights)
    return network.eval()
