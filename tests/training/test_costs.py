import pytest
import torch
from networks import discriminator_config, generator_config
from recipes import tiny_training

from kedro_dcgan.errors import ParameterError, TrainingError
from kedro_dcgan.model.describe import describe
from kedro_dcgan.model.recipes import network_configs
from kedro_dcgan.training.costs import checkpoint_bytes, free_bytes, name_lack_of_memory, require_memory, training_bytes

CPU = torch.device("cpu")
FULL = r"memory of cpu.*`training.batch_size` 8 in 1 micro-batch.*gradient_accumulation=2"


def test_networks_too_large_for_memory_are_rejected_before_they_are_built():
    training = tiny_training(architecture="simpsons200", generator__width=32, discriminator__width=32)
    with pytest.raises(ParameterError, match=r"memory of cpu.* GB"):
        require_memory(*network_configs(200, 3, training), 100_000, CPU)


def test_activations_in_bfloat16_take_half_the_memory():
    configs, gpu = network_configs(32, 1, tiny_training()), torch.device("cuda")
    described = [describe(config, 64) for config in configs]
    in_float32, in_bfloat16, least = (
        training_bytes(*configs, 64, gpu, precision) for precision in ("float32", "bfloat16", "auto")
    )
    assert in_float32 == sum(one.training_bytes for one in described)
    assert in_float32 - in_bfloat16 == sum(one.activation_bytes for one in described) // 2
    # It may choose bfloat16.
    assert least == in_bfloat16


def test_copy_for_a_checkpoint_counts_on_a_cpu_if_it_is_larger_than_the_activations(monkeypatch):
    configs = network_configs(32, 1, tiny_training(generator__width=64, discriminator__width=64))
    described = [describe(config, 2) for config in configs]
    copied = 12 * sum(one.parameters for one in described)
    assert copied > sum(one.activation_bytes for one in described)
    needed = sum(one.training_bytes for one in described)
    monkeypatch.setattr("kedro_dcgan.training.costs.free_bytes", lambda _: needed)
    require_memory(*configs, 2, torch.device("cuda"), "float32")
    with pytest.raises(ParameterError, match="memory of cpu"):
        require_memory(*configs, 2, CPU, "float32")
    needed += copied - sum(one.activation_bytes for one in described)
    require_memory(*configs, 2, CPU, "float32")


def test_memory_error_names_the_needed_memory_and_a_lighter_architecture(monkeypatch):
    networks = generator_config("simpsons200", 200, 3, 100, 32), discriminator_config("simpsons200", 200, 3, 32)
    monkeypatch.setattr("kedro_dcgan.training.costs.free_bytes", lambda device: 10**10)
    with pytest.raises(ParameterError, match=r"\d+\.\d GB, 1\d\.\d of it.*\(got 10\.0 GB free\).*_light"):
        require_memory(*networks, 128, CPU)
    require_memory(networks[0], discriminator_config("simpsons200_light", 200, 3, 32), 128, CPU)


def test_free_memory_is_plausible():
    assert 10**8 < free_bytes(CPU) < 10**14


def test_out_of_memory_is_reported_in_one_line():
    with pytest.raises(TrainingError, match=FULL), name_lack_of_memory(CPU, tiny_training()):
        torch.empty(10**16)
    with pytest.raises(TrainingError, match=FULL), name_lack_of_memory(CPU, tiny_training()):
        bytearray(10**16)
    with pytest.raises(TrainingError, match=FULL), name_lack_of_memory(CPU, tiny_training()):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def test_other_errors_are_not_changed():
    with pytest.raises(RuntimeError, match="shapes"), name_lack_of_memory(CPU, tiny_training()):
        torch.ones(2, 3) @ torch.ones(2, 3)


def test_checkpoint_size_is_estimated_within_10_percent(tmp_path):
    from kedro_dcgan.training.devices import Compute
    from kedro_dcgan.training.state import create_state

    training = tiny_training(ema__half_life=100, generator__width=32, discriminator__width=32)
    configs = network_configs(32, 1, training)
    state = create_state(*configs, training, Compute(CPU, "float32"))
    for network, optimiser in (
        (state.generator, state.generator_optimiser),
        (state.discriminator, state.discriminator_optimiser),
    ):
        for weight in network.parameters():
            weight.grad = torch.zeros_like(weight)
        optimiser.step()
    torch.save({**state.state_dict(), "best": state.generator.state_dict()}, tmp_path / "state.pt")
    assert (tmp_path / "state.pt").stat().st_size == pytest.approx(checkpoint_bytes(*configs), rel=0.1)
