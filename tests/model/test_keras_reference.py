"""The recipes from Keras reproduce outputs that Keras computed from seeded random weights.

`keras/*.npz` hold inputs, outputs and the names and shapes of the weights, in Keras' layout (NHWC).
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import discriminator_config, generator_config
from torch import nn

from kedro_dcgan.model.describe import describe
from kedro_dcgan.model.networks import Generator
from kedro_dcgan.model.recipes import build_discriminator, build_generator

CONFIGS = {
    "digits28_generator": generator_config("digits28", 28, 1, 100, 64),
    "digits28_discriminator": discriminator_config("digits28", 28, 1, 64),
    "notebook28_generator": generator_config("notebook28", 28, 1, 100, 64),
    "simpsons200_generator": generator_config("simpsons200", 200, 3, 100, 32),
    "simpsons200_discriminator_trunk": discriminator_config("simpsons200", 200, 3, 32),
}
# The number of layers of this discriminator for which Keras outputs are stored.
TRUNK = 6


def read(name):
    return np.load(Path(__file__).with_name("keras") / f"{name}.npz")


def keras_weights(reference):
    """Draw the weights from which the outputs were computed; yield (kind, tensor) pairs."""
    random = np.random.default_rng(int(reference["seed"]))
    for path, shape in zip(reference["weight_names"], reference["weight_shapes"], strict=True):
        standard = random.standard_normal(tuple(int(size) for size in shape.strip("(),").split(","))).astype("float32")
        kind = path.split("/")[-1]
        rules = {"kernel": 0.05 * standard, "gamma": 1 + 0.1 * standard, "moving_variance": 1 + 0.1 * abs(standard)}
        yield kind, torch.from_numpy(rules.get(kind, 0.1 * standard).astype("float32"))


def fill(network, reference):
    """Load Keras' weights: its kernels are HWIO, and the units of its dense layers are in HWC order."""
    weights, layers = keras_weights(reference), list(network.layers)
    with torch.no_grad():
        for place, layer in enumerate(layers):
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                _fill_kernel(layer, next(weights)[1], layers[place + 1 :], layers[:place])
                if layer.bias is not None:
                    layer.bias.copy_(_units_in_order(next(weights)[1], layers[place + 1 :]))
            elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                ours = [layer.weight, layer.bias] if layer.affine else []
                for tensor in [*ours, layer.running_mean, layer.running_var]:
                    tensor.copy_(_units_in_order(next(weights)[1], layers[place + 1 :]))
    assert next(weights, None) is None


def _fill_kernel(layer, kernel, after, before):
    if isinstance(layer, nn.Linear):
        # (inputs, units): the units may become an image, and the inputs may come from one.
        kernel = _units_in_order(kernel, after)
        if any(isinstance(module, nn.Flatten) for module in before) and kernel.shape[0] % 49 == 0:
            kernel = kernel.reshape(7, 7, -1, kernel.shape[1]).permute(2, 0, 1, 3).reshape(kernel.shape)
        layer.weight.copy_(kernel.T)
    else:
        # Conv2D: HWIO to OIHW; Conv2DTranspose: HWOI to IOHW.
        layer.weight.copy_(kernel.permute(3, 2, 0, 1))


def _units_in_order(tensor, after):
    shaped = next((module for module in after if isinstance(module, nn.Unflatten)), None)
    if shaped is None or any(isinstance(module, nn.Linear) for module in after):
        return tensor
    channels, height, width = shaped.unflattened_size
    return tensor.reshape(*tensor.shape[:-1], height, width, channels).movedim(-1, -3).reshape(tensor.shape)


def to_ours(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2) if images.ndim == 4 else torch.from_numpy(images)


def network_of(name):
    """Build a network on the CPU; without the dense layer of 655 million weights for the trunk."""
    if name.endswith("generator"):
        return build_generator(CONFIGS[name])
    if not name.endswith("trunk"):
        return build_discriminator(CONFIGS[name])
    with torch.device("meta"):
        network = build_discriminator(CONFIGS[name])
    network.layers = network.layers[:TRUNK].to_empty(device="cpu")
    return network


def outputs_of(name, training):
    reference, network = read(name), network_of(name).train(training)
    fill(network, reference)
    inputs = reference["inputs"]
    latents = inputs.reshape(len(inputs), -1) if isinstance(network, Generator) else inputs
    with torch.no_grad():
        return network.layers(to_ours(latents)), to_ours(reference["outputs_training" if training else "outputs"])


@pytest.mark.parametrize("name", CONFIGS)
def test_outputs_match_keras(name):
    ours, keras = outputs_of(name, training=False)
    assert ours.shape == keras.shape
    torch.testing.assert_close(ours, keras, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in CONFIGS if name.endswith("generator")])
def test_outputs_with_batch_statistics_match_keras(name):
    ours, keras = outputs_of(name, training=True)
    torch.testing.assert_close(ours, keras, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_parameter_counts_match_keras(name):
    layers = describe(CONFIGS[name]).layers[: TRUNK if name.endswith("trunk") else None]
    assert sum(layer.parameters for layer in layers) == int(read(name)["parameter_count"])
