import logging
import multiprocessing

import pytest
import torch

import kedro_dcgan.evaluation.features as extractors
from kedro_dcgan.evaluation.features import Collector
from kedro_dcgan.evaluation.intervals import Estimate
from kedro_dcgan.evaluation.reference import KEY, TENSORS, Reference, ReferenceCache

FEATURES = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
ASKED = {"split": "test", "dataset_digest": "a"}


class Identity:
    """An extractor whose features are the images."""

    id, precision, weights_sha256, dimension, resize, batch_size = "plain", "float32", "", 4, "none", 7

    def __init__(self, keeps_features=True):
        self.keeps_features = keeps_features

    def __call__(self, images):
        return images


def compute(keep=True):
    return Reference.of(Collector(Identity(keep), FEATURES.split(7)))


@pytest.fixture
def cache(tmp_path):
    return ReferenceCache(tmp_path)


def refuse():
    raise AssertionError("computed again")


@pytest.mark.parametrize("keep", [True, False])
def test_a_reference_is_computed_once_and_loaded_unchanged(cache, keep):
    first = cache.reference(ASKED, lambda: compute(keep))
    again = cache.reference(ASKED, refuse)
    tensors = first.tensors()
    assert again.count == 30
    assert (again.images is not None) == keep
    assert tensors.keys() == again.tensors().keys()
    assert all(torch.equal(tensor, again.tensors()[name]) for name, tensor in tensors.items())


def test_keys_have_separate_entries(cache):
    first, second = {"fd": Estimate(1.0, 0.5, 1.5)}, {"fd": Estimate(2.0, 1.5, 2.5)}
    cache.estimates(ASKED, lambda: first)
    assert cache.estimates(ASKED | {"dataset_digest": "b"}, lambda: second) == second
    assert cache.estimates(ASKED, refuse) == first


@pytest.mark.parametrize("file", [TENSORS, KEY])
def test_damaged_entries_are_computed_again_with_a_warning(cache, file, caplog):
    cache.reference(ASKED, compute)
    (stored,) = cache.root.glob(f"*/{file}")
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        again = cache.reference(ASKED, lambda: compute(keep=False))
    assert again.images is None
    assert str(stored.parent) in caplog.text
    cache.reference(ASKED, refuse)


def test_moments_of_blocks_do_not_depend_on_the_batch_size(monkeypatch):
    monkeypatch.setattr(extractors, "_BUFFER", 11)
    whole, parts = (Collector(Identity(False), FEATURES.split(size)) for size in (30, 4))
    assert [block.count for block in parts.blocks] == [3] * 10
    for one, other in zip(whole.blocks, parts.blocks, strict=True):
        assert torch.allclose(one.outer, other.outer, rtol=1e-12)
    assert torch.allclose(parts.moments.covariance, FEATURES.double().T.cov())


def add_entries(folder, barrier, entries):
    cache = ReferenceCache(folder)
    for number in range(entries):
        barrier.wait(20)
        found = cache.estimates({"entry": number}, lambda number=number: {"fd": Estimate(number)})
        assert found["fd"].value == number


def test_processes_add_the_same_entries_at_the_same_time(tmp_path):
    entries, context = 100, multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    processes = [context.Process(target=add_entries, args=(tmp_path, barrier, entries)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    # Nothing but the entries is left, and all can be read.
    assert len([entry for entry in tmp_path.iterdir() if entry.name != ".lock"]) == entries
    cache = ReferenceCache(tmp_path)
    assert [cache.estimates({"entry": number}, dict)["fd"].value for number in range(entries)] == list(range(entries))
