"""The pipeline `explore`, after tiny trainings on the embedded digits, in this process."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from recipes import tiny_training

from kedro_dcgan.data.shards import Classes, PreparedImages, StoredShard
from kedro_dcgan.data.sources.builtin import embedded_digits
from kedro_dcgan.errors import DataError, TrainingError
from kedro_dcgan.model.discriminator_features import (
    convolution_blocks,
    first_kernels,
    peaks,
    pooled_features,
    random_blocks,
)
from kedro_dcgan.model.sampling import to_model_range
from kedro_dcgan.pipelines.explore import measurement, nodes
from kedro_dcgan.pipelines.training.nodes import start_training, train_generator
from kedro_dcgan.training.checkpoints import CheckpointFolder
from kedro_dcgan.training.discriminators import read_discriminator

COUNTS = {"train": 200, "test": 60}
TRAININGS = {
    "unconditional, batch norm": {},
    "conditional, spectral norm": {
        "conditional": True,
        "discriminator__spectral_norm": True,
        "discriminator__batch_norm": False,
        "discriminator__dropout": 0.3,
    },
}


@pytest.fixture(scope="module")
def digits():
    named = list(embedded_digits())[: sum(COUNTS.values())]
    pixels = np.stack([image for _, image in named])[:, None].repeat(2, axis=2).repeat(2, axis=3)
    rows = np.split(np.arange(len(named)), [COUNTS["train"]])
    numbers = np.array([int(name.partition("/")[0]) for name, _ in named])
    classes = Classes(tuple("0123456789"), {split: numbers[part] for split, part in zip(COUNTS, rows, strict=True)})
    splits = dict(zip(COUNTS, rows, strict=True))
    return PreparedImages(16, 1, "digest", [StoredShard("0", "", pixels)], splits, classes=classes)


@pytest.fixture(scope="module", params=TRAININGS)
def trained(request, digits, tmp_path_factory):
    """A generator after two epochs, and its checkpoints."""
    folder = CheckpointFolder(tmp_path_factory.mktemp("checkpoints"))
    training = tiny_training(epochs=2, images_per_tick=200, threads=1, **TRAININGS[request.param])
    results = train_generator(digits, folder, start_training(digits, folder, training))
    for generator, *_, checkpoints in results:
        last = generator
        for checkpoint in checkpoints:
            folder.save(checkpoint)
    return last, folder


@pytest.fixture(scope="module")
def inspected(digits, trained):
    return nodes.inspect_discriminator(*trained, digits)


def test_record_has_three_accuracies_on_the_test_split(inspected, digits):
    record, _ = inspected
    svm = json.loads(json.dumps(record, allow_nan=False))["linear_svm"]
    assert [svm["train_images"], svm["test_images"], svm["classes"]] == [200, 60, 10]
    assert list(svm["results"]) == ["trained", "random", "pixels"]
    # Channels x 4 x 4 of each block; pixels are taken one by one.
    assert [one["dimension"] for one in svm["results"].values()] == [16 * (4 + 8), 16 * (4 + 8), 256]
    for one in svm["results"].values():
        assert svm["most_frequent"] < one["accuracy"]["low"] < one["accuracy"]["value"] < one["accuracy"]["high"] <= 1
    assert svm["most_frequent"] == np.bincount(digits.classes.labels["test"]).max() / 60


def test_page_names_the_training(inspected, trained):
    record, page = inspected
    header = trained[1].last_saved()
    assert (record["training_id"], record["images_seen"]) == (header.training_id, 400)
    assert header.training_id in page
    assert record["is_conditional"] == bool(trained[0].config.classes)
    assert ("without labels" in page) != record["is_conditional"]


def test_same_checkpoint_gives_the_same_page(inspected, trained, digits):
    assert nodes.inspect_discriminator(*trained, digits) == inspected


def test_log_has_the_result_in_one_line(trained, digits, caplog):
    logging.getLogger("kedro_dcgan").propagate = True
    with caplog.at_level(logging.INFO, logger="kedro_dcgan"):
        nodes.inspect_discriminator(*trained, digits)
    (line,) = [message for message in caplog.messages if message.startswith("explore ")]
    assert "(linear SVM, 60 test images)" in line


def test_networks_are_trained_and_random_with_statistics_of_training_images(trained, digits, monkeypatch):
    found = {}
    monkeypatch.setattr(nodes, "classify", lambda networks, _: found.update(networks) or "no labels")
    nodes.inspect_discriminator(*trained, digits)
    assert list(found) == ["trained", "random"]
    discriminator, _ = read_discriminator(trained[1], trained[0])
    initialisation = tiny_training().discriminator.initialisation
    expected = convolution_blocks(discriminator), random_blocks(discriminator.config, initialisation)
    for blocks, wanted in zip(found.values(), expected, strict=True):
        assert torch.equal(first_kernels(blocks), first_kernels(wanted))
    # One full batch of 128 training images.
    rows = measurement.drawn_rows(digits, "train", 10_000)[:128]
    for blocks in found.values():
        norms = [layer for layer in blocks[1] if isinstance(layer, torch.nn.BatchNorm2d)]
        if not norms:
            continue
        with torch.no_grad():
            outputs = blocks[1][0](blocks[0](to_model_range(digits.take("train", rows))))
        torch.testing.assert_close(norms[0].running_mean, outputs.mean(dim=(0, 2, 3)))
        torch.testing.assert_close(norms[0].running_var, outputs.var(dim=(0, 2, 3)))


def test_images_of_a_map_are_those_that_excite_it_most(trained, digits):
    discriminator, _ = read_discriminator(trained[1], trained[0])
    blocks = convolution_blocks(discriminator)
    found = measurement.inspect_network(blocks, digits, "trained")
    images = digits.take("test", np.arange(60))
    largest = peaks(blocks, torch.from_numpy(images)).numpy()
    assert [one.number for one in found.maps] == np.argsort(-largest.max(axis=0))[:8].tolist()
    for one in found.maps:
        order = np.argsort(-largest[:, one.number])[:6]
        np.testing.assert_array_equal(one.images, images[order])
        np.testing.assert_allclose(one.peaks, largest[order, one.number], rtol=1e-4)
        assert (one.gradients.reshape(6, -1).max(axis=1) != one.gradients.reshape(6, -1).min(axis=1)).all()


def test_number_of_images_is_bounded_by_the_memory_for_features(trained, digits, monkeypatch):
    monkeypatch.setattr(measurement, "MOST_VALUES", 50 * 256 + 10)
    discriminator, _ = read_discriminator(trained[1], trained[0])
    found = measurement.classify({"trained": convolution_blocks(discriminator)}, digits)
    # Pixels are the most values here.
    assert (found.train_images, found.test_images) == (50, 50)
    monkeypatch.setattr(measurement, "MOST_IMAGES", 40)
    found = measurement.classify({"trained": convolution_blocks(discriminator)}, digits)
    assert (found.train_images, found.test_images) == (40, 40)


def test_features_are_those_of_the_drawn_images_in_their_order(trained, digits):
    discriminator, _ = read_discriminator(trained[1], trained[0])
    blocks, rows = convolution_blocks(discriminator), measurement.drawn_rows(digits, "train", 150)
    pixels = torch.from_numpy(digits.take("train", rows))
    found = measurement._features(blocks, digits, "train", rows)
    torch.testing.assert_close(torch.from_numpy(found), pooled_features(blocks, pixels), rtol=1e-4, atol=1e-5)
    assert np.array_equal(measurement._features(None, digits, "train", rows), to_model_range(pixels).flatten(1).numpy())
    assert not np.array_equal(rows, np.arange(150))


UNLABELLED = {
    "no labels": (lambda images: replace(images, classes=None), "not every image has a label"),
    "one class": (
        lambda images: replace(
            images, classes=Classes(("a",), {split: np.zeros(count, int) for split, count in COUNTS.items()})
        ),
        "fewer than two classes",
    ),
    "many classes": (
        lambda images: replace(images, classes=Classes(tuple(map(str, range(101))), images.classes.labels)),
        "more than 100 classes (101)",
    ),
}


@pytest.mark.parametrize("case", UNLABELLED)
def test_images_without_usable_labels_give_pictures_only(trained, digits, case):
    change, reason = UNLABELLED[case]
    if trained[0].config.classes:
        with pytest.raises(DataError, match="current classes"):
            nodes.inspect_discriminator(*trained, change(digits))
        return
    record, page = nodes.inspect_discriminator(*trained, change(digits))
    assert record["linear_svm"] is None
    assert reason in record["without_linear_svm"]
    assert reason in page
    assert page.count("data:image/png") == 2


ERRORS = {
    "other images": (lambda images: replace(images, digest="other"), DataError, "digest", "other"),
    "no test images": (
        lambda images: replace(images, rows={**images.rows, "test": np.arange(0)}),
        DataError,
        "test split",
        "ingestion.splits",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_images_that_do_not_fit_are_refused_in_one_line(trained, digits, case):
    change, kind, *facts = ERRORS[case]
    with pytest.raises(kind) as error:
        nodes.inspect_discriminator(*trained, change(digits))
    assert all(fact in str(error.value) for fact in facts)
    assert "\n" not in str(error.value)


def test_generator_without_checkpoints_is_refused(trained, digits, tmp_path):
    with pytest.raises(TrainingError, match="kedro run"):
        nodes.inspect_discriminator(trained[0], CheckpointFolder(tmp_path), digits)
