import pytest
import torch

from kedro_dcgan.errors import ParameterError
from kedro_dcgan.model import memory
from kedro_dcgan.model.describe import describe
from kedro_dcgan.model.networks import Discriminator, Generator
from kedro_dcgan.model.recipes import ARCHITECTURES, dcgan, with_spectral_norm

# The sources' own summaries.
PARAMETERS = {
    "dcgan": ((64, 3, 100, 64), 3_576_704, 2_765_568),
    "digits28": ((28, 1, 100, 64), 2_305_472, 212_865),
    "simpsons200": ((200, 3, 100, 32), 8_338_947, 655_635_009),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_trainable_parameters_are_those_of_the_source(name):
    (size, channels, latents, width), of_generator, of_discriminator = PARAMETERS[name]
    architecture = ARCHITECTURES[name]
    assert describe(architecture.generator(size, channels, latents, width)).trainable_parameters == of_generator
    assert describe(architecture.discriminator(size, channels, width)).trainable_parameters == of_discriminator


def test_the_generator_of_the_notebook_has_its_trainable_parameters():
    assert describe(ARCHITECTURES["notebook28"].generator(28, 1, 100, 64)).trainable_parameters == 413_889


@pytest.mark.parametrize("spec", [dcgan.generator(64, 3, 100, 64), dcgan.discriminator(64, 3, 64)])
def test_flops_are_those_that_torch_counts(spec):
    from torch.utils.flop_counter import FlopCounterMode

    network = Generator(spec) if hasattr(spec, "latent_dim") else Discriminator(spec)
    inputs = torch.zeros(1, spec.latent_dim) if hasattr(spec, "latent_dim") else torch.zeros(1, 3, 64, 64)
    with FlopCounterMode(display=False) as counter:
        network.eval()(inputs)
    assert describe(spec).flops == counter.get_total_flops()


def test_spectral_norm_adds_no_parameters():
    spec = dcgan.discriminator(32, 3, 8)
    assert describe(with_spectral_norm(spec)).trainable_parameters == describe(spec).trainable_parameters


def test_memory_is_that_of_weights_and_outputs():
    spec = dcgan.generator(16, 1, 10, 4)
    one, two = describe(spec, batch_size=1), describe(spec, batch_size=2)
    outputs = 10 + 3 * 8 * 4 * 4 + 3 * 4 * 8 * 8 + 2 * 16 * 16
    assert two.training_bytes - one.training_bytes == 4 * outputs
    assert one.training_bytes == 4 * (4 * one.trainable_parameters + outputs)


def test_networks_that_do_not_fit_into_memory_are_refused_with_what_would(monkeypatch):
    specs = (
        ARCHITECTURES["simpsons200"].generator(200, 3, 100, 32),
        ARCHITECTURES["simpsons200"].discriminator(200, 3, 32),
    )
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10**10)
    with pytest.raises(
        ParameterError, match=r"at least \d+\.\d GB, 1\d\.\d of it for .* \(got 10\.0 GB free\).*_light"
    ):
        memory.require_memory(*specs, 128, torch.device("cpu"))
    light = specs[0], ARCHITECTURES["simpsons200_light"].discriminator(200, 3, 32)
    memory.require_memory(*light, 128, torch.device("cpu"))


def test_free_memory_is_less_than_all_of_it():
    assert 10**8 < memory.free_bytes(torch.device("cpu")) < 10**14
