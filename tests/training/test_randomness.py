import numpy as np
import torch

from kedro_dcgan.training.data import batch_indices, seeded, source_at

CPU = torch.device("cpu")


def test_random_source_depends_only_on_seed_and_images_seen():
    draws = {(seed, seen): torch.randn(4, generator=source_at(seed, seen)) for seed in (0, 1) for seen in (0, 8)}
    assert torch.equal(draws[0, 8], torch.randn(4, generator=source_at(0, 8)))
    assert len({tuple(draw.tolist()) for draw in draws.values()}) == 4


def test_seeded_context_seeds_torch_and_restores_its_state():
    torch.manual_seed(99)
    expected = torch.rand(2)
    torch.manual_seed(99)
    with seeded(source_at(0, 8), CPU):
        inside = torch.rand(4)
    assert torch.equal(torch.rand(2), expected)
    torch.rand(1)
    with seeded(source_at(0, 8), CPU):
        assert torch.equal(torch.rand(4), inside)


def test_epoch_order_is_a_permutation_given_by_seed_and_epoch():
    first, second = (order.tolist() for order in batch_indices(50, 50, range(2), seed=0))
    (other,) = (order.tolist() for order in batch_indices(50, 50, range(1), seed=1))
    assert sorted(first) == sorted(second) == sorted(other) == list(range(50))
    assert first == next(batch_indices(50, 50, range(1), seed=0)).tolist()
    assert first != second
    assert first != other


def test_batch_indices_repeat_no_image_within_an_epoch():
    indices = list(batch_indices(count=10, batch_size=3, batches=range(7), seed=0))
    assert [len(batch) for batch in indices] == [3] * 7
    for one_pass in (indices[0:3], indices[3:6]):
        assert len(set(np.concatenate(one_pass))) == 9


def test_batch_indices_can_start_at_any_batch():
    whole = list(batch_indices(count=10, batch_size=3, batches=range(11), seed=4))
    for begin in range(11):
        rest = list(batch_indices(count=10, batch_size=3, batches=range(begin, 11), seed=4))
        assert np.array_equal(rest, whole[begin:])
