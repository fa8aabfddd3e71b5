"""Autotuning times the algorithms of each convolution and applies the fastest ones."""

import math

import pytest
import torch
from torch import nn

from kedro_dcgan.model.convolution_algorithms import OPERATIONS, key_of
from kedro_dcgan.model.layers import Conv2d, ConvTranspose2d, SameConv2d
from kedro_dcgan.training.fast import autotune
from kedro_dcgan.training.fast.autotune import tune, use_algorithms

IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network():
    torch.manual_seed(0)
    # The output of the last layer is one pixel, so its default algorithm is the matrix product.
    return nn.Sequential(
        Conv2d(3, 4, 4, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), ConvTranspose2d(4, 3, 4, 2, 1), Conv2d(3, 2, 8)
    )


@pytest.fixture
def seconds(monkeypatch):
    """Simulated timings: seconds by algorithm."""
    found, ran = {}, []
    run = autotune.run

    def noted(operation, one, other, geometry):
        ran.append(geometry.algorithm(operation, one.dtype))
        return run(operation, one, other, geometry)

    monkeypatch.setattr(autotune, "run", noted)
    monkeypatch.setattr(autotune, "seconds_of", lambda function: (function(), found[ran[-1]])[1])
    return found


@pytest.mark.parametrize("fastest", ["torch", "product", "subpixel"])
def test_fastest_available_algorithm_is_chosen(seconds, fastest):
    seconds |= {"torch": 2.0, "product": 2.0, "subpixel": 2.0, fastest: 1.0}
    tuning = tune(network(), IMAGES, [torch.float32])
    first = tuning.algorithms["0"]
    assert set(tuning.algorithms) == {"0", "3", "4"}
    # Only the operation `large` has the algorithm `subpixel`.
    others = fastest if fastest != "subpixel" else "torch"
    assert first == {"small float32": others, "large float32": fastest, "kernel float32": others}


@pytest.mark.parametrize(("product", "expected"), [(0.95, "torch"), (0.85, "product")])
def test_gain_within_timing_noise_keeps_the_default(seconds, product, expected):
    seconds |= {"torch": 1.0, "product": product, "subpixel": 2.0}
    tuning = tune(network(), IMAGES, [torch.float32])
    assert set(tuning.algorithms["0"].values()) == {expected}
    # The matrix product is the default of this layer.
    seconds |= {"torch": 0.95, "product": 1.0}
    assert set(tune(network(), IMAGES, [torch.float32]).algorithms["4"].values()) == {"product"}


def test_each_precision_is_timed_separately_and_its_times_are_summed(seconds):
    seconds |= {"torch": 1.0, "product": 1.0, "subpixel": 1.0}
    tuning = tune(network(), IMAGES, [torch.float32, torch.bfloat16])
    keys = {key_of(operation, dtype) for operation in OPERATIONS for dtype in (torch.float32, torch.bfloat16)}
    assert all(set(chosen) == keys for chosen in tuning.algorithms.values())
    assert tuning.seconds == {torch.float32: 9.0, torch.bfloat16: 9.0}


def test_emulated_precision_is_abandoned_after_one_layer(monkeypatch):
    calls = []
    monkeypatch.setattr(autotune, "run", lambda operation, one, *_: calls.append(one.dtype))
    monkeypatch.setattr(
        autotune, "seconds_of", lambda function: (function(), 9.0 if calls[-1] == torch.bfloat16 else 1.0)[1]
    )
    tuning = tune(network(), IMAGES, [torch.float32, torch.bfloat16])
    assert tuning.seconds == {torch.float32: 9.0, torch.bfloat16: math.inf}
    # The first layer has seven algorithms.
    assert calls.count(torch.bfloat16) == 7
    assert set(tuning.algorithms["3"]) == {key_of(operation, torch.float32) for operation in OPERATIONS}


def test_chosen_algorithms_apply_to_their_layers_only():
    tuned = network()
    use_algorithms(tuned, {"0": {"large float32": "subpixel"}, "gone": {}})
    assert tuned[0].geometry(8, 8).algorithm("large", torch.float32) == "subpixel"
    assert tuned[3].algorithms == {}


def test_timing_does_not_change_the_network():
    tuned, expected = network(), network()
    tune(tuned, IMAGES, [torch.float32])
    assert tuned.training
    for found, before in zip(tuned.state_dict().values(), expected.state_dict().values(), strict=True):
        assert torch.equal(found, before)


def test_padded_layers_are_timed_at_their_padded_size():
    layer = SameConv2d(3, 4, 5, 2)
    geometry = autotune.geometries(nn.Sequential(layer), IMAGES)["0"]
    assert (geometry.large, geometry.small) == ((11, 11), (4, 4))
    assert layer(IMAGES).shape[2:] == (4, 4)
