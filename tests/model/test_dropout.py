import pytest
import torch

from kedro_dcgan.model.layers import Dropout


def dropped(rate, inputs, seed=0, **options):
    torch.manual_seed(seed)
    return Dropout(rate, **options)(inputs)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_dropout_drops_the_given_fraction_and_rescales_the_rest(rate):
    found = dropped(rate, torch.ones(1_000_000))
    # The tolerance is four standard deviations of a fraction of a million values.
    assert (found == 0).float().mean().item() == pytest.approx(rate, abs=4e-3 * (rate * (1 - rate)) ** 0.5)
    assert found.unique().tolist() == pytest.approx([0, 1 / (1 - rate)])


@pytest.mark.parametrize(("rate", "expected"), [(0.0, 1.0), (1e-9, 1.0), (1 - 1e-9, 0.0)])
def test_rates_near_0_and_1_are_exact(rate, expected):
    found = dropped(rate, torch.ones(100_000))
    assert (found != 0).float().mean().item() == pytest.approx(expected, abs=1e-4)


def test_adjacent_values_are_dropped_independently():
    kept = dropped(0.5, torch.ones(1_000_000)) != 0
    for apart in (1, 2, 3, 4, 8):
        assert (kept[apart:] == kept[:-apart]).float().mean().item() == pytest.approx(0.5, abs=2e-3)


def test_gradients_are_scaled_like_values():
    inputs = torch.randn(4, 3, 5, 5).contiguous(memory_format=torch.channels_last).requires_grad_(True)
    outputs = dropped(0.3, inputs)
    (gradients,) = torch.autograd.grad(outputs.sum(), inputs)
    assert torch.allclose(outputs, inputs * gradients)
    assert outputs.is_contiguous(memory_format=torch.channels_last)


def test_eval_mode_drops_nothing():
    inputs = torch.randn(8)
    assert Dropout(0.5).eval()(inputs) is inputs


@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format])
def test_ranks_use_their_rows_of_one_mask(order):
    inputs = torch.ones(6, 3, 4, 4).contiguous(memory_format=order)
    whole = dropped(0.5, inputs)
    parts = [dropped(0.5, inputs[2 * rank : 2 * rank + 2], rank=rank, ranks=3) for rank in range(3)]
    assert torch.equal(torch.cat(parts), whole)
