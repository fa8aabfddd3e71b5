"""Precision, recall, density, coverage and authenticity against their definitions and examples by hand."""

import pytest
import torch

from kedro_dcgan.evaluation.neighbours import nearest_indices, pair_blocks
from kedro_dcgan.evaluation.reference import Comparison, FeatureSet


def drawn(count, dimension=8, seed=0, shift=0.0):
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed)) + shift


def compared(generated, real, k):
    return Comparison(FeatureSet.of(generated, k), FeatureSet.of(real, k))


def values(generated, real, k=5):
    estimates = compared(generated, real, k).neighbourhoods.estimates()
    return [estimates[name].value for name in ("precision", "recall", "density", "coverage")]


def by_definition(generated, real, k):
    """Equations 2 of Kynkäänniemi et al. 2019, 3 and 4 of Naeem et al. 2020, on the matrix of all pairs."""

    def ball(features):
        return torch.cdist(features, features).sort(dim=1).values[:, k]

    generated, real = generated.double(), real.double()
    pairs = torch.cdist(generated, real)
    in_real = pairs < ball(real)
    return [
        in_real.any(dim=1).double().mean().item(),
        (pairs < ball(generated)[:, None]).any(dim=0).double().mean().item(),
        in_real.double().sum(dim=1).mean().item() / k,
        in_real.any(dim=0).double().mean().item(),
    ]


def distances(features, others):
    return torch.cat([block.distances for block in pair_blocks(features, others)])


def test_distances_and_metrics_do_not_depend_on_the_blocks(monkeypatch):
    a, b = drawn(150, shift=10.0), drawn(70, seed=1, shift=10.0)
    whole, balls = distances(a, b), compared(a, b, 5).neighbourhoods
    assert torch.allclose(whole, torch.cdist(a.double(), b.double()), rtol=1e-9)
    assert distances(b, b).diagonal().max() < 1e-6
    monkeypatch.setattr("kedro_dcgan.evaluation.neighbours._PAIRS", 500)
    assert len(list(pair_blocks(a, b))) == 22
    assert torch.allclose(distances(a, b), whole, rtol=1e-12)
    assert values(a, b) == pytest.approx(by_definition(a, b, 5))
    again = compared(a, b, 5).neighbourhoods
    assert torch.equal(again.in_generated_ball, balls.in_generated_ball)
    assert torch.allclose(again.nearest_generated, balls.nearest_generated, rtol=1e-9)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_metrics_equal_their_definitions(shift):
    generated, real = drawn(1100, seed=1, shift=shift), drawn(1300)
    assert values(generated, real) == pytest.approx(by_definition(generated, real, 5))


def test_metrics_of_points_on_a_line_by_hand():
    # k = 1: the balls of the real 0, 1, 10 have radii 1, 1, 9; those of the generated 0.5, 2.5 have radius 2.
    real, generated = torch.tensor([[0.0], [1.0], [10.0]]), torch.tensor([[0.5], [2.5]])
    balls = compared(generated, real, 1).neighbourhoods
    assert balls.real_radii.tolist() == pytest.approx([1, 1, 9])
    # 0.5 lies in the balls of 0 and 1, 2.5 in that of 10.
    assert balls.real_balls.tolist() == [2, 1]
    assert balls.in_generated_ball[:2].tolist() == [[True, True, False], [False, True, False]]
    assert not balls.in_generated_ball[2:].any()
    assert balls.nearest_generated[:2].flatten().tolist() == pytest.approx([0.5, 0.5, 9.5, 2.5, 1.5, 7.5])
    assert balls.nearest_real.tolist() == pytest.approx([0.5, 1.5])
    assert balls.nearest_index[1] == 1
    assert values(generated, real, 1) == pytest.approx([1, 2 / 3, 1.5, 1])


def test_mode_collapse_loses_recall_and_noise_loses_precision():
    real = drawn(400)
    collapsed = values(real[:5].repeat(80, 1) + 1e-3 * drawn(400, seed=3), real)
    assert collapsed[0] == 1
    assert collapsed[1] < 0.05
    far = values(drawn(400, seed=2, shift=20.0), real)
    assert far[0] == far[2] == far[3] == 0


@pytest.mark.parametrize("counts", [(200, 600), (400, 150)])
def test_intervals_of_recall_and_coverage_match_their_spread_over_samples(counts):
    generated, real = counts
    reference = FeatureSet.of(drawn(real))
    estimates = [
        Comparison(FeatureSet.of(drawn(generated, seed=i, shift=0.4)), reference).estimates() for i in range(1, 41)
    ]
    for name in ("recall", "coverage"):
        spread = torch.tensor([one[name].value for one in estimates]).std()
        claimed = torch.tensor([(one[name].high - one[name].low) / 2 / 2.262 for one in estimates]).mean()
        assert 0.7 < float(claimed / spread) < 1.7


def test_authenticity_is_0_on_copies_and_1_far_away():
    def authenticity(images, training):
        return compared(images, training, 1).authenticity().value

    training = drawn(300)
    assert authenticity(training[:100], training) == 0
    assert authenticity(training[:100] + 30, training) == 1
    # 0.9 is nearer to 1 than 1 to its nearest, 0; 3 is not; 7 is nearer to 10 than 10 to its nearest.
    assert authenticity(torch.tensor([[0.9], [3.0], [7.0]]), torch.tensor([[0.0], [1.0], [10.0]])) == pytest.approx(
        1 / 3
    )


def test_nearest_indices_are_ordered():
    others = torch.tensor([[0.0], [5.0], [6.0], [1.0]])
    assert nearest_indices(torch.tensor([[4.0], [0.1]]), others, 2).tolist() == [[1, 2], [0, 3]]


def test_too_few_images_are_rejected():
    with pytest.raises(ValueError, match=r"5 neighbours.*got 5"):
        FeatureSet.of(drawn(5))
