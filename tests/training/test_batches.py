import numpy as np
import pytest
import torch

from kedro_dcgan.data.shards import Classes, PreparedImages, StoredShard
from kedro_dcgan.training.data import batch_indices, batches_on, resident, streamed

PIXELS = np.random.default_rng(0).integers(0, 256, (300, 3, 16, 16), dtype=np.uint8)
ROWS = np.random.default_rng(1).permutation(300)[:200]
SHARDS = [StoredShard("0.npy", "", PIXELS[:170]), StoredShard("1.npy", "", PIXELS[170:])]
LABELS = ROWS % 7
CLASSES = Classes(tuple("abcdefg"), {"train": LABELS})
IMAGES = PreparedImages(16, 3, "digest", SHARDS, {"train": ROWS}, classes=CLASSES)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]


@pytest.mark.parametrize("how", [batches_on, resident, streamed])
@pytest.mark.parametrize("device", DEVICES)
def test_batches_are_uint8_images_in_the_order_of_the_indices(how, device):
    indices = list(batch_indices(200, 32, range(17), seed=3))
    batches = list(how(torch.device(device), IMAGES, indices))
    assert len(batches) == 17
    for batch, wanted in zip(batches, indices, strict=True):
        assert batch.images.dtype == torch.uint8
        assert batch.images.device.type == batch.classes.device.type == device
        assert np.array_equal(batch.images.cpu().numpy(), PIXELS[ROWS[wanted]])
        assert np.array_equal(batch.classes.cpu().numpy(), LABELS[wanted])


def test_streaming_prefetches_only_a_few_batches():
    taken = []
    indices = (taken.append(1) or np.array([0]) for _ in range(100))
    batches = streamed(torch.device("cpu"), IMAGES, indices)
    next(batches)
    assert len(taken) <= 3
    batches.close()


def test_gathering_error_reaches_the_caller():
    with pytest.raises(IndexError):
        list(streamed(torch.device("cpu"), IMAGES, [np.array([5]), np.array([999])]))
