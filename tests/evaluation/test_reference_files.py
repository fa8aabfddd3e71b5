import logging

import pytest
import torch

import kedro_dcgan.evaluation.features as extractors
from kedro_dcgan.evaluation.features import Collector
from kedro_dcgan.evaluation.reference import Reference
from kedro_dcgan.evaluation.reference_files import KEY, TENSORS, ReferenceFolder

FEATURES = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
ASKED = {"split": "test", "dataset_digest": "a"}


class Plain:
    """Features that are the images themselves."""

    id, precision, weights_sha256, dimension, resize, batch_size = "plain", "float32", "", 4, "none", 7

    def __init__(self, keeps_features=True):
        self.keeps_features = keeps_features

    def __call__(self, images):
        return images


def made(keep=True):
    return Reference.of(Collector(Plain(keep)).add_all(FEATURES.split(7)))


@pytest.fixture
def folder(tmp_path):
    return ReferenceFolder(tmp_path)


def refuse():
    raise AssertionError("it was there")


@pytest.mark.parametrize("keep", [True, False])
def test_a_reference_comes_back_as_it_was_and_is_made_once(folder, keep):
    first = folder.reference(ASKED, lambda: made(keep))
    again = folder.reference(ASKED, refuse)
    tensors = first.tensors()
    assert again.count == 30
    assert (again.images is not None) == keep
    assert tensors.keys() == again.tensors().keys()
    assert all(torch.equal(tensor, again.tensors()[name]) for name, tensor in tensors.items())


def test_another_key_is_another_reference(folder):
    folder.numbers(ASKED, lambda: {"fd": 1.0})
    assert folder.numbers(ASKED | {"dataset_digest": "b"}, lambda: {"fd": 2.0}) == {"fd": 2.0}
    assert folder.numbers(ASKED, refuse) == {"fd": 1.0}


@pytest.mark.parametrize("file", [TENSORS, KEY])
def test_what_is_damaged_or_of_something_else_is_made_anew_with_a_warning(folder, file, caplog):
    folder.reference(ASKED, made)
    (stored,) = folder.root.glob(f"*/{file}")
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        again = folder.reference(ASKED, lambda: made(keep=False))
    # Not what was stored, but what was made now.
    assert again.images is None
    assert "are damaged or of something else: made anew" in caplog.text
    folder.reference(ASKED, refuse)


def test_moments_of_blocks_do_not_depend_on_the_batches(monkeypatch):
    monkeypatch.setattr(extractors, "_ROWS", 11)
    whole, parts = (Collector(Plain(False)).add_all(FEATURES.split(size)) for size in (30, 4))
    assert [block.count for block in parts.blocks] == [3] * 10
    for one, other in zip(whole.blocks, parts.blocks, strict=True):
        assert torch.allclose(one.outer, other.outer, rtol=1e-12)
    assert torch.allclose(parts.moments.covariance, FEATURES.double().T.cov())
