"""The directions of the pipeline `explore`: their names by attributes and classes, the picture and the page."""

import json

import numpy as np
import pytest
import torch
from networks import generator_config

from kedro_dcgan.data.shards import Classes, PreparedImages, StoredShard
from kedro_dcgan.data.sources.builtin import embedded_digits
from kedro_dcgan.evaluation.verdict import COPIES_NOTICE
from kedro_dcgan.model.directions import UNITS, find_directions, strips_along
from kedro_dcgan.model.networks import Generator
from kedro_dcgan.model.recipes import build_generator
from kedro_dcgan.model.sampling import to_model_range
from kedro_dcgan.model.saved import TrainedGenerator, snapshot_weights
from kedro_dcgan.pipelines.explore import nodes
from kedro_dcgan.reports.pictures import draw_strips

CONFIG = generator_config("dcgan", 16, 1, 6, 4)


@pytest.fixture(scope="module")
def digits():
    """200 digits of 16x16 pixels with their classes, and an eleventh class that looks like noise."""
    named = list(embedded_digits())[:200]
    pixels = np.stack([image for _, image in named])[:, None].repeat(2, axis=2).repeat(2, axis=3)
    noise = np.random.default_rng(0).integers(0, 256, (40, 1, 16, 16), dtype=np.uint8)
    labels = np.array([int(name.partition("/")[0]) for name, _ in named] + [10] * len(noise))
    rows = {"train": np.arange(len(labels))}
    shards = [StoredShard("0", "", np.concatenate([pixels, noise]))]
    return PreparedImages(16, 1, "digest", shards, rows, classes=Classes((*"0123456789", "noise"), {"train": labels}))


class Slider(Generator):
    """One latent moves from an image to another; the other latents add a little noise."""

    def __init__(self, first, second):
        weights = 0.1 * torch.randn(256, CONFIG.latent_dim, generator=torch.Generator().manual_seed(0))
        weights[:, 0] = (second - first).flatten() / 4
        dense = torch.nn.Linear(CONFIG.latent_dim, 256)
        dense.weight.data, dense.bias.data = weights, ((first + second) / 2).flatten()
        super().__init__(CONFIG, dense, torch.nn.Unflatten(1, (1, 16, 16)), torch.nn.Hardtanh())


def trained(config=CONFIG, **facts):
    return TrainedGenerator(config, snapshot_weights(build_generator(config)), "digest", 64, facts)


@pytest.fixture
def slider(digits, monkeypatch):
    """A generator that slides from a six to a three."""
    rows = [np.flatnonzero(digits.classes.labels["train"] == digit)[:1] for digit in (6, 3)]
    six, three = (to_model_range(torch.from_numpy(digits.take("train", row))) for row in rows)
    monkeypatch.setattr(TrainedGenerator, "build", lambda _: Slider(six, three))
    return trained()


def test_directions_are_named_after_the_classes_that_they_lead_to(slider, digits):
    found = nodes.name_directions(slider, digits)
    strongest = found[0]
    assert strongest.name in ("towards 3", "towards 6")
    # It is turned to the class that it has the name of.
    assert strongest.vector[0] * (1 if strongest.name == "towards 3" else -1) > 0.9
    assert strongest.effects[strongest.name] > 1
    # A class that is never shown gives no name.
    assert max(abs(one.effects["towards noise"]) for one in found) < 0.5


def test_without_labels_directions_are_those_of_the_command(slider, digits):
    unlabelled = PreparedImages(16, 1, "digest", digits.shards, digits.rows)
    found = nodes.name_directions(slider, unlabelled)
    assert [one.name for one in found] == [one.name for one in find_directions(slider.build(), 8)]
    assert not any(one.name.startswith("towards") for one in found)


def test_classes_of_a_conditional_generator_give_no_names(digits):
    names = digits.classes.names
    config = CONFIG.__class__(**{**vars(CONFIG), "classes": names, "class_shares": (1 / 11,) * 11})
    found = nodes.name_directions(trained(config), digits)
    assert not any(name.startswith("towards") for one in found for name in (one.name, *one.effects))


def test_picture_and_page_show_the_directions(slider, digits):
    found = nodes.name_directions(slider, digits)
    # A direction has a strip of two rows.
    expected = draw_strips(strips_along(slider.build(), found), len(UNITS))
    assert np.array_equal(np.asarray(nodes.draw_directions(slider, found).picture), np.asarray(expected))


def test_page_has_the_directions_and_says_if_the_generator_copies(digits):
    generator = trained()
    found = nodes.name_directions(generator, digits)
    page = nodes.write_explorer(generator, found)
    assert all(json.dumps(one.name) in page for one in found)
    assert COPIES_NOTICE not in page
    assert COPIES_NOTICE in nodes.write_explorer(trained(copies=True), found)
