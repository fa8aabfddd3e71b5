from itertools import product

import judge
import pytest
import torch
from judge import auc_and_variance, separation, two_sample_auc

SHAPE = (120, 1, 8, 8)


def noise(seed, mean=128.0, shape=SHAPE):
    drawn = mean + 30 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return drawn.clamp(0, 255).to(torch.uint8)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(judge, "STEPS", 60)


def test_auc_and_its_variance_count_all_pairs():
    real, generated = torch.tensor([3.0, 1.0, 2.0, 2.0]).double(), torch.tensor([0.0, 2.0, 1.0]).double()
    wins = torch.tensor([[(a > b) + (a == b) / 2 for b in generated] for a in real]).double()
    variance = wins.mean(dim=1).var() / 4 + wins.mean(dim=0).var() / 3
    assert auc_and_variance(real, generated) == pytest.approx((float(wins.mean()), float(variance)))


def test_auc_of_disjoint_scores():
    low, high = torch.arange(5).double(), torch.arange(5, 9).double()
    assert auc_and_variance(high, low) == (1.0, 0.0)
    assert auc_and_variance(low, high) == (0.0, 0.0)


def test_separation_of_normal_scores_gives_their_auc():
    source = torch.Generator().manual_seed(0)
    real, generated = torch.randn(2, 20_000, generator=source).double()
    real += 1.5
    expected = torch.special.ndtr(torch.tensor(separation(real, generated) / 2**0.5).double())
    assert auc_and_variance(real, generated)[0] == pytest.approx(float(expected), abs=0.005)


def test_equal_distributions_cannot_be_told_apart():
    # The classifier knows its own training images by heart: it must be tested on others.
    auc, low, high = two_sample_auc(noise(0), noise(1))
    assert low < 0.5 < high
    assert 0.05 < high - low < 0.2
    assert low < auc < high


def test_other_distribution_is_told_apart():
    auc, low, high = two_sample_auc(noise(0), noise(1, mean=150))
    assert auc > 0.95
    assert low <= auc <= high <= 1


def test_each_image_is_tested_once(monkeypatch):
    trained, tested = [], []

    def record_training(sides, source):
        trained.append(sides)

    def record_test(network, images):
        tested.append(images)
        return images.double().flatten(1).mean(dim=1)

    monkeypatch.setattr(judge, "train", record_training)
    monkeypatch.setattr(judge, "score", record_test)
    numbered = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1)
    two_sample_auc(numbered, numbered + 100)
    for side, fold in product((0, 1), (0, 1)):
        images = set(trained[fold][side].flatten().tolist()), set(tested[2 * fold + side].flatten().tolist())
        assert images[0].isdisjoint(images[1])
        assert images[0] | images[1] == set(range(100 * side, 100 * side + 10))


def test_result_depends_on_the_seed_alone():
    real, generated = noise(0), noise(1, mean=135, shape=(200, 1, 8, 8))
    state = torch.get_rng_state()
    first = two_sample_auc(real, generated, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    assert two_sample_auc(real, generated, seed=3) == first
    assert two_sample_auc(real, generated, seed=4) != first
