import io
import multiprocessing
import pickle
import struct
import urllib.request
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image

from kedro_dcgan.data.sources import Limits, builtin, open_source
from kedro_dcgan.errors import SourceError

LIMITS = Limits(file_bytes=1_000_000, files=1000)
RAW = "data/01_raw/torchvision/MNIST/raw"
TRAIN, TEST = np.random.default_rng(0).integers(0, 256, (2, 4, 28, 28), dtype=np.uint8)
CLASSES = ["7 - seven", "0 - zero", "9 - nine", "7 - seven"]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Refuse every download at once; a real attempt without a network may take long."""
    attempts = []

    def urlopen(request, *_, **__):
        attempts.append(request)
        raise URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return attempts


@pytest.fixture
def project(tmp_path):
    """A project with MNIST: four training and four test images."""
    raw = tmp_path / RAW
    raw.mkdir(parents=True)
    for part, images in (("train", TRAIN), ("t10k", TEST)):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, *images.shape) + images.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 4) + bytes([7, 0, 9, 7]))
    return tmp_path


def read_there(pickled):
    block = pickle.loads(pickled)
    return block.fingerprint(), list(block.read())


def pixels(item):
    return np.asarray(Image.open(io.BytesIO(item.data), formats=["PPM"]))


def test_unknown_dataset_is_rejected_with_the_known_ones(tmp_path):
    with pytest.raises(SourceError, match=r"^`ingestion\.source`[^\n]*\(got MINST\)[^\n]*$") as caught:
        open_source("torchvision:MINST", tmp_path, LIMITS)
    assert str(caught.value).endswith(f"Known: {', '.join(builtin.PARTS)}.")
    assert not any(tmp_path.iterdir())


def test_all_known_datasets_exist_in_torchvision():
    from torchvision import datasets

    assert all(issubclass(getattr(datasets, name), datasets.VisionDataset) for name in builtin.PARTS)


@pytest.mark.parametrize("name", ["MNIST", "CIFAR10", "SVHN", "Flowers102"])
def test_missing_network_is_reported_in_one_line(tmp_path, capfd, no_network, name):
    with pytest.raises(SourceError, match=rf"^`torchvision:{name}`[^\n]*no network[^\n]*$"):
        open_source(f"torchvision:{name}", tmp_path, LIMITS)
    assert no_network
    assert capfd.readouterr() == ("", "")


def test_downloaded_dataset_is_read_without_a_network(project, no_network):
    source = open_source("torchvision:MNIST", project, LIMITS)
    blocks = list(source.blocks(3))
    found = [item for block in blocks for item in block.read()]
    assert source.count == 8
    assert [len(block.paths) for block in blocks] == [3, 3, 2]
    paths = [f"{part}/{number:08d}" for part in ("train", "test") for number in range(4)]
    assert [item.path for item in found] == [path for block in blocks for path in block.paths] == paths
    assert [item.label for item in found] == CLASSES * 2
    assert np.array_equal(np.stack([pixels(item) for item in found]), np.concatenate([TRAIN, TEST]))
    assert len({block.fingerprint() for block in blocks}) == 3
    assert no_network == []


def test_dataset_with_too_many_images_is_rejected(project):
    with pytest.raises(SourceError, match=r"`ingestion\.max_files` 7\b"):
        open_source("torchvision:MNIST", project, Limits(1000, 7))


def test_damaged_download_is_rejected(project):
    (project / RAW / "train-images-idx3-ubyte").write_bytes(b"text")
    with pytest.raises(SourceError, match=r"^`torchvision:MNIST`[^\n]*$"):
        open_source("torchvision:MNIST", project, LIMITS)


def test_block_is_read_in_another_process(project):
    _, block = open_source("torchvision:MNIST", project, LIMITS).blocks(6)
    builtin._part.cache_clear()
    # Forked, since a fresh process would spend seconds on importing torch. The cache is empty there.
    with multiprocessing.get_context("fork").Pool(1) as pool:
        fingerprint, found = pool.apply(read_there, (pickle.dumps(block),))
    assert fingerprint == block.fingerprint()
    assert found == list(block.read())
    assert [(item.path, item.label) for item in found] == [("test/00000002", CLASSES[2]), ("test/00000003", CLASSES[3])]


@pytest.mark.parametrize(
    ("classes", "target", "label"),
    [
        (["cat", "dog/wolf"], 1, "dog-wolf"),
        (["cat"], -1, None),
        (None, 3, "3"),
        (["cat"], 5, "5"),
        (["cat"], [1], None),
    ],
    ids=["slash", "unlabelled", "no names", "no name", "not a class"],
)
def test_labels_are_class_names(monkeypatch, classes, target, label):
    class Dataset(list):
        pass

    dataset = Dataset([(Image.new("RGBA", (2, 1), (1, 2, 3, 255)), target)])
    dataset.classes = classes
    monkeypatch.setattr(builtin, "_part", lambda *_: dataset)
    (found,) = builtin.TorchvisionBlock("STL10", "", ((0, 0),)).read()
    assert (found.path, found.label) == ("train+unlabeled/00000000", label)
    assert pixels(found).tolist() == [[[1, 2, 3], [1, 2, 3]]]
