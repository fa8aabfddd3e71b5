import math
from dataclasses import replace

import pytest
import torch
from networks import generator_config
from torch import nn

from kedro_dcgan.errors import ParameterError
from kedro_dcgan.model.latents import combine, inputs_of_samples, interpolate, invert, shifted, truncate, walk
from kedro_dcgan.model.networks import Generator
from kedro_dcgan.model.sampling import generate_all, sample_inputs

CONFIG = generator_config("dcgan", 16, 1, 4, 4)
UNIFORM = replace(CONFIG, latents="uniform")
CONDITIONAL = replace(CONFIG, classes=("cat", "dog"), class_shares=(0.5, 0.5))


class OneLayer(Generator):
    """tanh(W z) for random weights W."""

    def __init__(self, config):
        dense = nn.Linear(config.input_dim, 16 * 16, bias=False)
        nn.init.normal_(dense.weight, 0, 0.5, generator=torch.Generator().manual_seed(0))
        super().__init__(config, dense, nn.Unflatten(1, (1, 16, 16)), nn.Tanh())


def test_inputs_of_samples_are_those_of_the_files_that_sample_writes():
    expected = sample_inputs(6, CONFIG, seed=2)
    assert torch.equal(inputs_of_samples([5, 0, 5], CONFIG, seed=2), expected[[5, 0, 5]])


def test_arc_turns_by_equal_angles_and_keeps_the_length():
    found = interpolate(torch.tensor([2.0, 0, 0, 0]), torch.tensor([0, 2.0, 0, 0]), 4, CONFIG)
    angles = torch.tensor([0, 30, 60, 90]).deg2rad()
    assert torch.allclose(found[:, 0], 2 * angles.cos(), atol=1e-6)
    assert torch.allclose(found[:, 1], 2 * angles.sin(), atol=1e-6)


def test_length_changes_evenly_along_an_arc():
    # Almost opposite: a line would pass close to 0.
    angle = math.radians(175)
    start, end = torch.tensor([1.0, 0, 0, 0]), 3 * torch.tensor([math.cos(angle), math.sin(angle), 0, 0])
    found = interpolate(start, end, 5, CONFIG)
    assert torch.allclose(found.norm(dim=1), torch.tensor([1, 1.5, 2, 2.5, 3]), atol=1e-5)


@pytest.mark.parametrize(("config", "spherical"), [(CONFIG, False), (UNIFORM, True), (UNIFORM, False)])
def test_line_has_equal_steps(config, spherical):
    start, end = torch.tensor([1.0, 0, 0, 0]), torch.tensor([0, 1.0, 0, 0])
    found = interpolate(start, end, 3, config, spherical)
    assert torch.allclose(found, torch.stack([start, (start + end) / 2, end]))


@pytest.mark.parametrize("factor", [1.0, 2.0, -1.0])
def test_arc_between_latents_of_one_line_is_that_line(factor):
    start = torch.tensor([1.0, 2, 0, 0])
    found = interpolate(start, factor * start, 3, CONFIG)
    assert torch.allclose(found[[0, 2]], torch.stack([start, factor * start]))
    assert torch.allclose(found[1], (1 + factor) / 2 * start, atol=1e-6)


def test_classes_of_an_arc_change_along_a_line():
    start, end = sample_inputs(1, CONDITIONAL, 0, label=0)[0], sample_inputs(2, CONDITIONAL, 0, label=1)[1]
    found = interpolate(start, end, 5, CONDITIONAL)
    assert torch.allclose(found[:, 4], torch.tensor([1, 0.75, 0.5, 0.25, 0]))
    assert torch.allclose(found[:, 4:].sum(dim=1), torch.ones(5))


@pytest.mark.parametrize(("closed", "count"), [(False, 2 * 3 + 1), (True, 3 * 3)])
def test_walk_passes_through_its_points(closed, count):
    points = sample_inputs(3, CONFIG, 0)
    found = walk(points, 3, CONFIG, closed=closed)
    assert len(found) == count
    assert torch.allclose(found[::3][:3], points, atol=1e-6)
    # Each is there once: a closed animation does not rest at its start.
    assert len(found.unique(dim=0)) == count


def test_arithmetic_adds_means_and_gives_the_usual_length():
    plus, minus, also = (
        torch.tensor(rows, dtype=torch.float32)
        for rows in ([[4, 0, 0, 0], [2, 0, 0, 0]], [[0, 1, 0, 0]], [[0, 0, 2, 0]])
    )
    found = combine(plus, minus, also, CONFIG)
    assert found.shape == (1, 4)
    assert torch.allclose(found[0], 2 * torch.tensor([3.0, -1, 2, 0]) / math.sqrt(14))
    assert combine(plus, minus, also, UNIFORM)[0].tolist() == [1, -1, 1, 0]


def test_arithmetic_takes_the_class_of_the_last():
    cats, dogs = sample_inputs(2, CONDITIONAL, 0, label=0), sample_inputs(2, CONDITIONAL, 0, label=1)
    assert combine(cats, cats, dogs, CONDITIONAL)[0, 4:].tolist() == [0, 1]


def test_truncation_shortens_latents_and_keeps_classes():
    inputs = sample_inputs(3, CONDITIONAL, 0)
    found = truncate(inputs, 0.5, CONDITIONAL)
    assert torch.equal(found[:, :4], inputs[:, :4] / 2)
    assert torch.equal(found[:, 4:], inputs[:, 4:])


def test_shift_moves_latents_only_and_keeps_uniform_ones_in_their_range():
    inputs, vector = torch.tensor([[1.0, 0, 0, 0, 1, 0], [0, 0.5, 0, 0, 0, 1]]), torch.tensor([0, 1.0, 0, 0])
    assert shifted(inputs, vector, -2, CONDITIONAL).tolist() == [[1, -2, 0, 0, 1, 0], [0, -1.5, 0, 0, 0, 1]]
    assert shifted(inputs[:, :4], vector, -2, UNIFORM).tolist() == [[1, -1, 0, 0], [0, -1, 0, 0]]


def test_inversion_finds_the_latent_of_a_generated_picture():
    generator, inputs = OneLayer(CONFIG), sample_inputs(1, CONFIG, 5)
    picture = generate_all(generator, inputs)[0]
    found = invert(generator, picture, seed=1)
    assert found.error < 2 < found.error_of_samples
    assert torch.allclose(found.inputs, inputs[0], atol=0.05)
    difference = (found.image.float() - picture.float()).square().mean().sqrt()
    assert found.error == pytest.approx(float(difference), abs=1)


def test_inversion_finds_the_class_or_keeps_the_given_one():
    generator, inputs = OneLayer(CONDITIONAL), sample_inputs(1, CONDITIONAL, 5, label=1)
    picture = generate_all(generator, inputs)[0]
    free, of_cat = invert(generator, picture), invert(generator, picture, label=0)
    assert free.inputs[4:].tolist() == [0, 1]
    assert of_cat.inputs[4:].tolist() == [1, 0]
    assert free.error < of_cat.error


@pytest.mark.parametrize("steps", [1, 20])
def test_inversion_is_never_worse_than_its_start(steps):
    # The sample is among those that the search starts from, and this one is longer than most.
    generator, samples = OneLayer(CONFIG), sample_inputs(200, CONFIG, 0)
    longest = samples[samples.norm(dim=1).argmax()]
    found = invert(generator, generate_all(generator, longest[None])[0], steps=steps)
    assert found.error <= found.error_of_samples < 0.5
    assert torch.allclose(found.inputs, longest, atol=0.02)


def test_inversion_keeps_mode_and_weights_of_the_generator():
    generator = OneLayer(CONFIG).train()
    invert(generator, torch.zeros(1, 16, 16, dtype=torch.uint8), steps=2)
    assert generator.training
    assert [weight.grad for weight in generator.parameters() if weight.requires_grad] == [None]


def test_inversion_tries_all_of_many_classes():
    names = tuple(map(str, range(600)))
    config = replace(CONFIG, classes=names, class_shares=(1 / 600,) * 600)
    generator = OneLayer(config)
    # Only the class matters.
    generator.layers[0].weight.data[:, :4] = 0
    picture = generate_all(generator, sample_inputs(1, config, 0, label=599))[0]
    assert int(invert(generator, picture, steps=1).inputs[4:].argmax()) == 599


@pytest.mark.parametrize(("config", "longest"), [(CONFIG, 3.0), (UNIFORM, 1.0)])
def test_inversion_of_an_impossible_picture_stays_among_usual_latents(config, longest):
    # A white picture wants endless latents.
    found = invert(OneLayer(config), torch.full((1, 16, 16), 255, dtype=torch.uint8), steps=100)
    size = found.inputs.abs().max() if config.latents == "uniform" else found.inputs.norm()
    # A sample that it started from may be longer.
    starts = sample_inputs(512, config, 0).norm(dim=1).max() if config.latents == "normal" else 0
    assert float(size) <= max(longest, float(starts)) + 1e-4


def test_picture_of_another_shape_is_rejected():
    with pytest.raises(ParameterError, match=r"\(1, 16, 16\).*\(3, 16, 16\)"):
        invert(OneLayer(CONFIG), torch.zeros(3, 16, 16, dtype=torch.uint8))
