"""The features of discriminators: blocks, pooling, batch norm's statistics, guided backpropagation, pictures."""

import numpy as np
import pytest
import torch
from networks import discriminator_config
from torch import nn

from kedro_dcgan.model.discriminator_features import (
    convolution_blocks,
    first_kernels,
    guided_gradients,
    peaks,
    pooled_features,
    random_blocks,
    set_norm_statistics,
    signed_pictures,
)
from kedro_dcgan.model.networks import initialise
from kedro_dcgan.model.recipes import build_discriminator
from kedro_dcgan.model.sampling import to_model_range

# Of each architecture: size, channels, width, options, and channels x pixels of each block after pooling.
CASES = {
    "the smallest": ("dcgan", 16, 1, 2, {}, [2 * 16, 4 * 16]),
    "odd": ("dcgan", 33, 3, 2, {}, [2 * 16, 4 * 16, 8 * 16]),
    "spectral norm and dropout": ("dcgan", 32, 3, 2, {"spectral_norm": True, "dropout": 0.3}, [32, 64, 128]),
    "without batch norm": ("dcgan", 32, 1, 3, {"batch_norm": False}, [48, 96, 192]),
    "conditional": ("dcgan", 16, 1, 2, {"classes": 3}, [32, 64]),
    "digits28": ("digits28", 28, 1, 3, {}, [3 * 16, 6 * 16]),
    "digits28, conditional": ("digits28", 28, 1, 3, {"classes": 10}, [3 * 16, 6 * 16]),
    "notebook28": ("notebook28", 28, 1, 3, {}, [3 * 16, 6 * 16]),
    "notebook28, spectral norm": ("notebook28", 28, 1, 3, {"spectral_norm": True}, [3 * 16, 6 * 16]),
    "simpsons200, smaller than the grid": ("simpsons200", 16, 3, 2, {}, [2 * 16, 4 * 16, 8 * 4]),
    "simpsons200_light, down to a pixel": ("simpsons200_light", 16, 3, 2, {}, [2 * 16, 4 * 16, 8 * 4, 16 * 1]),
}


def images_like(network, count, seed=0):
    shape = count, network.config.channels, network.config.image_size, network.config.image_size
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def build(case):
    architecture, size, channels, width, options, _ = CASES[case]
    network = build_discriminator(discriminator_config(architecture, size, channels, width, **options))
    # So large that nothing vanishes behind several layers.
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0, 0.3, generator=torch.Generator().manual_seed(1))
    return network


@pytest.mark.parametrize("case", CASES)
def test_features_are_the_maxima_of_each_block_in_a_grid(case):
    network = build(case)
    images = images_like(network, 3)
    blocks = convolution_blocks(network)
    features = pooled_features(blocks, images)
    widths = CASES[case][-1]
    assert features.shape == (3, sum(widths))
    # An oracle in numpy; only its activations are torch's.
    outputs, expected = to_model_range(images), []
    with torch.no_grad():
        for block in blocks:
            outputs = block(outputs)
            expected.append(pooled(outputs.numpy()))
    np.testing.assert_array_equal(features.numpy(), np.concatenate(expected, axis=1))
    assert [part.shape[1] for part in expected] == widths
    assert len(set(features[:, -1].tolist())) == 3


def pooled(values):
    """Adaptive max-pooling: cell i covers the rows from floor(i H / 4) to ceil((i + 1) H / 4)."""
    cells = []
    for rows in cells_of(values.shape[2]):
        cells += [values[:, :, rows, columns].max(axis=(2, 3)) for columns in cells_of(values.shape[3])]
    return np.stack(cells, axis=2).reshape(len(values), -1)


def cells_of(size):
    count = min(4, size)
    return [slice(cell * size // count, -(-(cell + 1) * size // count)) for cell in range(count)]


@pytest.mark.parametrize("case", CASES)
def test_last_block_leads_to_the_logit(case):
    network = build(case).eval()
    images = images_like(network, 2)
    outputs = nn.Sequential(*convolution_blocks(network))(to_model_range(images))
    used = sum(len(block) for block in convolution_blocks(network))
    rest = network.layers[used:]
    # Behind the blocks there are only the logit, and dense layers.
    assert len([layer for layer in rest if isinstance(layer, nn.Conv2d)]) == (CASES[case][0] == "dcgan")
    assert torch.equal(rest(outputs), network.layers(to_model_range(images)))


def test_features_have_no_dropout_and_change_no_state():
    network = build("spectral norm and dropout").train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    images = images_like(network, 4)
    first, second = (pooled_features(convolution_blocks(network), images) for _ in range(2))
    assert torch.equal(first, second)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_batch_norm_gets_the_statistics_of_real_images():
    network = build("notebook28")
    blocks = convolution_blocks(network)
    batches = [images_like(network, 8, seed) for seed in range(3)]
    norm = blocks[-1][1]
    # As after three steps of training.
    norm.running_mean.fill_(7)
    norm.num_batches_tracked.fill_(3)
    set_norm_statistics(blocks, batches)
    with torch.no_grad():
        convolved = [blocks[1][0](blocks[0](to_model_range(batch))) for batch in batches]
    means = torch.stack([one.mean(dim=(0, 2, 3)) for one in convolved]).mean(dim=0)
    variances = torch.stack([one.var(dim=(0, 2, 3)) for one in convolved]).mean(dim=0)
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, variances)
    assert not norm.training


def test_statistics_are_not_those_of_dropout():
    network = build("spectral norm and dropout")
    blocks = convolution_blocks(network)
    batches = [images_like(network, 8)]
    found = []
    for _ in range(2):
        set_norm_statistics(blocks, batches)
        found.append(blocks[1][1].running_mean.clone())
    assert torch.equal(*found)


def test_networks_without_batch_norm_need_no_images():
    def no_images():
        raise AssertionError
        yield

    set_norm_statistics(convolution_blocks(build("without batch norm")), no_images())


@pytest.mark.parametrize("initialisation", ["normal", "he"])
def test_random_blocks_have_the_weights_that_training_draws(initialisation):
    config = discriminator_config("dcgan", 32, 1, 3)
    blocks = random_blocks(config, initialisation, seed=5)
    network = build_discriminator(config)
    initialise(network, torch.Generator().manual_seed(5), initialisation)
    expected = [tensor for block in convolution_blocks(network) for tensor in block.state_dict().values()]
    found = [tensor for block in blocks for tensor in block.state_dict().values()]
    assert len(found) == len(expected)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert not torch.equal(first_kernels(blocks), first_kernels(random_blocks(config, initialisation, seed=6)))


def test_random_kernels_under_spectral_norm_have_a_largest_singular_value_of_1():
    # The vectors of a new layer belong to its default weights, not to the drawn ones.
    for block in random_blocks(discriminator_config("dcgan", 32, 3, 4, spectral_norm=True), "normal"):
        values = torch.linalg.svdvals(block[0].weight.detach().flatten(1))
        assert values[0].item() == pytest.approx(1, abs=0.01)
        assert not block[0].parametrizations.weight[0].training


def tiny_blocks(first, second):
    """Return two blocks of 1x1 convolutions and LeakyReLU(0.2), for images of one channel."""
    blocks = []
    for kernel in (torch.tensor(first), torch.tensor(second)):
        layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], 1, bias=False)
        layer.weight.data = kernel[:, :, None, None]
        blocks.append(nn.Sequential(layer, nn.LeakyReLU(0.2, inplace=True)))
    return blocks


def test_guided_gradients_are_those_computed_by_hand():
    # x is 1 at the brightest pixel. The first layer gives (2, -1, 3, 1), of which LeakyReLU makes (2, -0.2, 3, 1); the
    # second gives 1 * 2 + 1 * -0.2 + 2 * 3 - 4 * 1 = 3.8, and only 0.2 at black pixels, where x is -1. The gradient is
    # (1, 1, 2, -4). The second part is stopped, because its input is negative, and the fourth because it is negative.
    # So 1 * 2 + 2 * 3 = 8 remains.
    blocks = tiny_blocks([[2.0], [-1.0], [3.0], [1.0]], [[0.0] * 4, [1.0, 1.0, 2.0, -4.0]])
    image = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
    image[0, 0, 1, 0] = 255
    found = guided_gradients(blocks, image, torch.tensor([1]))
    assert torch.equal(found[0, 0], torch.tensor([[0.0, 0.0], [8.0, 0.0]]))
    assert peaks(blocks, image)[0, 1].item() == pytest.approx(3.8)


def test_guided_gradient_of_a_map_that_is_nowhere_positive_is_0():
    blocks = tiny_blocks([[2.0]], [[-1.0], [1.0]])
    image = torch.full((1, 1, 2, 2), 255, dtype=torch.uint8)
    assert torch.equal(guided_gradients(blocks, image, torch.tensor([0])), torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize("case", CASES)
def test_guided_gradients_of_each_image_are_those_of_its_own_map(case):
    network = build(case)
    blocks = convolution_blocks(network)
    images = images_like(network, 3)
    set_norm_statistics(blocks, [images])
    maps = peaks(blocks, images).argmax(dim=1)
    gradients = guided_gradients(blocks, images, maps)
    assert gradients.shape == images.shape
    assert (gradients.flatten(1).abs().amax(dim=1) > 0).all()
    for index in range(3):
        alone = guided_gradients(blocks, images[index : index + 1], maps[index : index + 1])
        torch.testing.assert_close(alone[0], gradients[index], rtol=1e-3, atol=1e-5)
    # The network itself still has ordinary gradients, and no one has filled them.
    assert all(parameter.grad is None for parameter in network.parameters())


def test_without_negative_inputs_and_gradients_they_are_ordinary_gradients():
    network = build_discriminator(discriminator_config("dcgan", 16, 1, 2, batch_norm=False))
    for parameter in network.parameters():
        parameter.data.abs_()
    blocks = convolution_blocks(network)
    images = torch.randint(128, 256, (2, 1, 16, 16), dtype=torch.uint8)
    pixels = to_model_range(images).requires_grad_()
    outputs = nn.Sequential(*blocks)(pixels)
    (expected,) = torch.autograd.grad(outputs[:, 3].flatten(1).amax(dim=1).sum(), pixels)
    torch.testing.assert_close(guided_gradients(blocks, images, torch.tensor([3, 3])), expected)


def test_peaks_are_the_largest_activations_of_the_last_block():
    network = build("odd")
    images = images_like(network, 3)
    outputs = nn.Sequential(*convolution_blocks(network))(to_model_range(images))
    np.testing.assert_array_equal(
        peaks(convolution_blocks(network), images).numpy(), outputs.detach().numpy().max(axis=(2, 3))
    )


def test_pictures_are_scaled_to_the_largest_value_of_each():
    values = torch.tensor([[-2.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1e-9, -1e-9, 0.0]]).view(3, 1, 1, 3)
    assert signed_pictures(values).flatten(1).tolist() == [[0, 128, 191], [128, 128, 128], [255, 0, 128]]


def test_kernels_are_those_that_spectral_norm_uses():
    blocks = random_blocks(discriminator_config("dcgan", 16, 3, 4, spectral_norm=True), "normal")
    kernels = first_kernels(blocks)
    assert (kernels.shape, kernels.dtype) == ((4, 3, 4, 4), torch.uint8)
    assert torch.equal(kernels, signed_pictures(blocks[0][0].weight.detach()))
