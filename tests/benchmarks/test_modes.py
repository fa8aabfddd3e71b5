import argparse
import json
import math
import struct
import time

import modes
import numpy as np
import pytest
import torch
from modes import (
    CpuSeconds,
    Digits,
    count_modes,
    divergence,
    draw_triples,
    modes_of,
    read_digits,
    shares_of,
)
from recipes import tiny_training

from kedro_dcgan.evaluation import classifier


def drawings(count, seed=0):
    """Return ten kinds of easy digits of 28x28, uint8, and their labels: a bright row at one of ten heights."""
    draw = np.random.default_rng(seed)
    labels = draw.permutation(np.arange(count) % 10)
    images = draw.integers(0, 60, (count, 28, 28), dtype=np.uint8)
    # Apart by more than the shifts in training.
    for image, label in zip(images, labels, strict=True):
        image[(label // 5) * 14 + 4 : (label // 5) * 14 + 8, (label % 5) * 5 + 2 : (label % 5) * 5 + 4] = 255
    return images, labels.astype(np.uint8)


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mnist")
    for part, count in (("train", 640), ("t10k", 100)):
        images, labels = drawings(count, seed=count)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28) + images.tobytes()
        )
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, count) + labels.tobytes())
    return folder


@pytest.fixture(scope="module")
def digits(mnist):
    return read_digits(str(mnist))


def test_digits_keep_their_part_label_and_place(digits):
    for found, count in zip(digits, (640, 100), strict=True):
        images, labels = drawings(count, seed=count)
        assert found.images.shape == (count, 32, 32)
        assert found.images.dtype == torch.uint8
        assert found.labels.tolist() == labels.tolist()
        # The mean hardly changes when an image is resized.
        means = [side.reshape(count, -1).mean(axis=1, dtype=float) for side in (found.images.numpy(), images)]
        assert np.abs(means[0] - means[1]).max() < 1


def test_channels_are_the_digits_of_the_mode():
    plain = Digits(torch.arange(10, dtype=torch.uint8).view(10, 1, 1).expand(10, 32, 32), torch.arange(10))
    triples = draw_triples(10, 500, seed=0)
    stacked, numbers = plain.images[triples], modes_of(plain.labels[triples])
    assert stacked.shape == (500, 3, 32, 32)
    for image, mode in zip(stacked, numbers.tolist(), strict=True):
        assert "".join(str(int(channel[0, 0])) for channel in image) == f"{mode:03d}"
    assert torch.equal(draw_triples(10, 500, seed=0), triples)
    assert not torch.equal(draw_triples(10, 500, seed=1), triples)


def test_divergence_from_a_uniform_histogram():
    uniform = torch.full((1000,), 1e-3).double()
    assert divergence(uniform, uniform) == pytest.approx(0, abs=1e-12)
    half = shares_of(torch.arange(500).repeat(3))
    assert divergence(half, uniform) == pytest.approx(math.log(2))
    # Not symmetric: the samples come first.
    skewed = shares_of(torch.cat([torch.arange(1000), torch.zeros(1000, dtype=torch.int64)]))
    of_zero = 1001 / 2000
    expected = of_zero * math.log(of_zero * 1000) + 999 / 2000 * math.log(0.5)
    assert divergence(skewed, uniform) == pytest.approx(expected)


def test_one_sample_makes_a_mode():
    real = torch.full((1000,), 1e-3).double()
    found = count_modes(torch.tensor([7] * 25_000 + [999]), real)
    assert found["modes"] == 2
    assert found["kl"] == pytest.approx(math.log(1000), abs=0.01)


def test_inner_stages_do_not_count_for_outer_ones():
    cpu = CpuSeconds()

    def work(seconds):
        started = time.process_time()
        while time.process_time() - started < seconds:
            pass

    with cpu.of("outer"):
        work(0.02)
        for _ in range(2):
            with cpu.of("inner"):
                work(0.05)
    assert 0.1 <= cpu["inner"] < 0.15
    assert 0.02 <= cpu["outer"] < 0.07


def arguments(mnist, output, side="ours"):
    return argparse.Namespace(mnist=str(mnist), side=side, images=256, samples=300, seed=0, output=output)


@pytest.fixture
def short_classifier(monkeypatch):
    """Train the classifier for 20 steps, after which it recognises most of the easy digits."""
    monkeypatch.setattr(classifier, "_LEAST_IMAGES", 0)
    monkeypatch.setattr(modes, "LEAST_ACCURACY", 0.5)


@pytest.mark.parametrize("side", ["ours", "pytorch-examples"])
def test_modes_of_a_training(side, mnist, tmp_path, short_classifier):
    recipe, cpu = tiny_training(images_per_tick=64, batch_size=64), CpuSeconds()
    modes.train_and_count(arguments(mnist, tmp_path, side), recipe, 128, cpu)
    rows = [json.loads(line) for line in (tmp_path / "modes.jsonl").read_text().splitlines()]
    assert [(row["side"], row["kimg"], row.get("samples")) for row in rows] == [(side, 0.064, None), (side, 0.128, 300)]
    assert 1 <= rows[1]["modes"] <= 300
    assert (tmp_path / f"{side}-0-0.128.png").is_file()
    assert {"training", "sampling", "classification"} <= set(cpu)


def test_weak_classifier_is_refused(mnist, tmp_path, short_classifier, monkeypatch):
    monkeypatch.setattr(modes, "LEAST_ACCURACY", 1.01)
    with pytest.raises(SystemExit, match="101"):
        modes.train_and_count(arguments(mnist, tmp_path), tiny_training(), 128, CpuSeconds())
    assert not (tmp_path / "modes.jsonl").exists()
