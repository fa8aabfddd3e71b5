"""The discriminator of a checkpoint: whose it is, and which checkpoint is used."""

from dataclasses import replace

import pytest
import torch
from engine import IMAGES, new_state
from recipes import tiny_training

from kedro_dcgan.errors import TrainingError
from kedro_dcgan.model.saved import TrainedGenerator
from kedro_dcgan.training.checkpoints import Checkpoint, CheckpointFolder, CheckpointHeader
from kedro_dcgan.training.discriminators import read_discriminator
from kedro_dcgan.training.plan import discriminator_beside, plan_training

OPTIONS = {
    "defaults": {},
    "width": {"discriminator__width": 6},
    "batch norm, none": {"discriminator__batch_norm": False},
    "spectral norm": {"discriminator__spectral_norm": True},
    "dropout": {"discriminator__dropout": 0.25},
}


def generator_of(plan, images_seen=16):
    return TrainedGenerator(plan.generator, {}, "digest", images_seen, {"training_id": plan.training_id})


def save(folder, training, images_seen, images=IMAGES, fill=None):
    """Save the checkpoint of a training, with weights of one value if any is given; return its plan."""
    plan, state = plan_training(images, training), new_state(training)
    state.images_seen = images_seen
    if fill is not None:
        for parameter in state.discriminator.parameters():
            parameter.data.fill_(fill)
    header = CheckpointHeader(plan.training_id, images_seen, plan.total_images, False, plan.fingerprint)
    folder.save(Checkpoint(header, state.state_dict(), keep=2))
    return plan


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path / "checkpoints")


@pytest.mark.parametrize("case", OPTIONS)
def test_config_follows_from_the_fingerprint(case):
    plan = plan_training(IMAGES, tiny_training(**OPTIONS[case]))
    assert discriminator_beside(plan.generator, plan.fingerprint) == plan.discriminator


def test_fingerprint_of_another_generator_or_an_unknown_network_has_no_config():
    plan = plan_training(IMAGES, tiny_training())
    assert discriminator_beside(replace(plan.generator, width=5), plan.fingerprint) is None
    assert discriminator_beside(plan.generator, {**plan.fingerprint, "discriminator": "0" * 12}) is None
    assert discriminator_beside(plan.generator, {"images": "digest"}) is None


@pytest.mark.parametrize("case", OPTIONS)
def test_discriminator_is_the_one_beside_the_generator(folder, case):
    training = tiny_training(**OPTIONS[case])
    save(folder, training, 8, fill=1.0)
    plan = save(folder, training, 16, fill=2.0)
    # The best generator may be an earlier one.
    for images_seen, value in ((16, 2), (14, 2), (10, 1), (8, 1), (2, 1)):
        network, header = read_discriminator(folder, generator_of(plan, images_seen))
        assert header.images_seen == 8 * value
        assert all((parameter == value).all() for parameter in network.parameters())
    assert network.config == plan.discriminator
    assert not network.training
    assert torch.isfinite(network(torch.zeros(2, 1, 16, 16))).all()


def test_the_next_checkpoint_replaces_a_damaged_one(folder):
    save(folder, tiny_training(), 8, fill=1.0)
    plan = save(folder, tiny_training(), 16, fill=2.0)
    (folder.root / plan.training_id / "000000000016/state.pt").write_bytes(b"damaged")
    network, header = read_discriminator(folder, generator_of(plan))
    assert header.images_seen == 8
    assert all((parameter == 1).all() for parameter in network.parameters())


def test_checkpoints_of_other_trainings_do_not_count(folder):
    plan = save(folder, tiny_training(), 8, fill=1.0)
    # The same images and networks, but later, and as many images seen as the generator.
    save(folder, tiny_training(seed=1), 16, fill=2.0)
    network, header = read_discriminator(folder, generator_of(plan))
    assert (header.training_id, header.images_seen) == (plan.training_id, 8)
    assert all((parameter == 1).all() for parameter in network.parameters())


def test_without_a_checkpoint_one_line_says_what_to_do(folder):
    save(folder, tiny_training(seed=1), 8)
    generator = generator_of(plan_training(IMAGES, tiny_training()))
    for one, part in ((generator, generator.facts["training_id"]), (replace(generator, facts={}), "earlier version")):
        with pytest.raises(TrainingError) as error:
            read_discriminator(folder, one)
        assert all(fact in str(error.value) for fact in (str(folder.root), part, "kedro run"))
        assert "\n" not in str(error.value)
