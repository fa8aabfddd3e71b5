from dataclasses import replace

import torch
from networks import generator_config

from kedro_dcgan.model.networks import initialise
from kedro_dcgan.model.recipes import build_generator
from kedro_dcgan.model.sampling import generate, generate_all, sample_inputs

CONFIG = generator_config("dcgan", 16, 1, 6, 4)


def make_generator():
    generator = build_generator(CONFIG)
    initialise(generator, torch.Generator().manual_seed(0))
    return generator


def test_latents_depend_only_on_the_seed():
    assert torch.equal(sample_inputs(8, CONFIG, seed=1), sample_inputs(8, CONFIG, seed=1))
    assert not torch.equal(sample_inputs(8, CONFIG, seed=1), sample_inputs(8, CONFIG, seed=2))


def test_fewer_latents_are_a_prefix_of_more():
    assert torch.equal(sample_inputs(100, CONFIG, seed=1)[:5], sample_inputs(5, CONFIG, seed=1))


def test_latents_follow_the_configured_distribution():
    normal = sample_inputs(2000, CONFIG, seed=1)
    assert normal.shape == (2000, 6)
    assert abs(normal.mean()) < 0.03
    assert abs(normal.std() - 1) < 0.03
    uniform = sample_inputs(2000, replace(CONFIG, latents="uniform"), seed=1)
    assert uniform.abs().max() <= 1
    assert abs(uniform.mean()) < 0.03
    assert abs(uniform.std() - 3**-0.5) < 0.02


def test_image_does_not_depend_on_other_latents():
    generator, latents = make_generator(), sample_inputs(10, CONFIG, seed=1)
    together = generate_all(generator, latents)
    one_by_one = torch.cat(list(generate(generator, latents.split(1))))
    assert (together.int() - one_by_one.int()).abs().max() <= 1  # the last bit may round


def test_generate_gives_uint8_images_and_keeps_the_last_batch():
    batches = list(generate(make_generator(), sample_inputs(10, CONFIG, seed=1).split(4)))
    assert [tuple(batch.shape) for batch in batches] == [(4, 1, 16, 16), (4, 1, 16, 16), (2, 1, 16, 16)]
    assert batches[0].dtype == torch.uint8


def test_generate_keeps_mode_and_batch_norm_statistics():
    generator = make_generator().train()
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    generate_all(generator, sample_inputs(10, CONFIG, seed=1))
    assert generator.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())
