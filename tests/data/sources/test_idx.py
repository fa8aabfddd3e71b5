import gzip
import io
import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from kedro_dcgan.data.sources import Limits, open_source, source
from kedro_dcgan.errors import SourceError

LIMITS = Limits(file_bytes=1_000_000, files=1000)
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def pictures(count, height=5, width=7, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width), dtype=np.uint8)


def write(path, header, data):
    content = struct.pack(f">{len(header)}I", *header) + data
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_images(path, images):
    return write(path, (0x803, *images.shape), images.tobytes())


def write_labels(path, labels):
    return write(path, (0x801, len(labels)), bytes(labels))


def items(path, size=2, limits=LIMITS):
    return [item for block in open_source(path.name, path.parent, limits).blocks(size) for item in block.read()]


def refused(path, limits=LIMITS):
    with pytest.raises(SourceError, match=r"^`[^\n]*\.$") as caught:
        items(path, limits=limits)
    return str(caught.value)


def pixels(item):
    return np.asarray(Image.open(io.BytesIO(item.data), formats=["PPM"]))


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("alone", [True, False])
def test_idx_gives_exact_pixels_and_labels(tmp_path, suffix, alone):
    images, labels = pictures(5), [3, 0, 255, 3, 10]
    path = write_images(tmp_path / f"{IMAGES}{suffix}", images)
    write_labels(tmp_path / f"{LABELS}{suffix}", labels)
    found = items(path if alone else tmp_path)
    assert [item.path for item in found] == [f"{IMAGES}/{number:08d}" for number in range(5)]
    assert [item.label for item in found] == [str(label) for label in labels]
    assert np.array_equal(np.stack([pixels(item) for item in found]), images)


def test_idx_without_label_file_has_no_labels(tmp_path):
    path = write_images(tmp_path / "photos.bin", pictures(2))
    write_labels(tmp_path / LABELS, [1, 2])
    assert [(item.path, item.label) for item in items(path)] == [
        ("photos.bin/00000000", None),
        ("photos.bin/00000001", None),
    ]


def test_idx_folder_is_read_in_the_order_of_names(tmp_path):
    test, train = pictures(3, seed=1), pictures(2, 4, 4, seed=2)
    write_images(tmp_path / IMAGES, train)
    write_labels(tmp_path / LABELS, [7, 8])
    write_images(tmp_path / "t10k-images-idx3-ubyte.gz", test)
    (tmp_path / ".DS_Store").write_bytes(b"not of this kind")
    source = open_source(".", tmp_path, LIMITS)
    *found, hidden = items(tmp_path)
    assert source.count == len(found) + 1 == 6
    assert (hidden.path, hidden.problem.reason) == (".DS_Store", "hidden")
    assert [item.label for item in found] == [None, None, None, "7", "8"]
    assert found[2].path == "t10k-images-idx3-ubyte/00000002"
    for item, image in zip(found, [*test, *train], strict=True):
        assert np.array_equal(pixels(item), image)


@pytest.mark.parametrize("other", ["a.png", "read.me", "other-idx3-ubyte", "photos/a.png", "README"])
def test_files_beside_idx_files_are_inputs_too(tmp_path, other):
    write_images(tmp_path / IMAGES, pictures(2))
    (tmp_path / other).parent.mkdir(exist_ok=True)
    (tmp_path / other).write_bytes(b"a photo")
    found = {item.path: item.data for item in items(tmp_path)}
    assert found[other] == b"a photo"
    assert found.keys() == {other, f"{IMAGES}/00000000", f"{IMAGES}/00000001"}


def test_folder_of_labels_is_not_an_idx_folder(tmp_path):
    write_labels(tmp_path / LABELS, [1, 2])
    assert [item.path for item in items(tmp_path)] == [LABELS]


def test_idx_folder_does_not_follow_links(tmp_path):
    (tmp_path / "root").mkdir()
    write_images(tmp_path / IMAGES, pictures(2))
    write_labels(tmp_path / LABELS, [1, 2])
    for name in (IMAGES, LABELS):
        (tmp_path / "root" / name).symlink_to(tmp_path / name)
    assert {item.problem and item.problem.reason for item in items(tmp_path / "root")} == {"link"}
    own = write_images(tmp_path / "root/t10k-images-idx3-ubyte", pictures(1))
    write_images(tmp_path / "root/train-images-idx3-ubyte.gz", pictures(2))
    everything = items(tmp_path / "root")
    assert {item.path for item in everything if item.problem and item.problem.reason == "link"} == {IMAGES, LABELS}
    found = [(item.path, item.label) for item in everything if not item.problem]
    assert found == [(f"{own.name}/00000000", None), (f"{IMAGES}/00000000", None), (f"{IMAGES}/00000001", None)]


def test_idx_does_not_follow_a_link_to_labels(tmp_path):
    (tmp_path / "root").mkdir()
    write_labels(tmp_path / LABELS, [1, 2])
    path = write_images(tmp_path / "root" / IMAGES, pictures(2))
    (tmp_path / "root" / LABELS).symlink_to(tmp_path / LABELS)
    assert [item.label for item in items(path)] == [None, None]


def test_idx_prefers_the_plain_file_to_the_gzipped_one(tmp_path):
    for suffix in ("", ".gz"):
        write_images(tmp_path / f"{IMAGES}{suffix}", pictures(3))
    assert len({item.path for item in items(tmp_path)}) == len(items(tmp_path)) == 3


@pytest.mark.parametrize("max_bytes", [16_000_000, 100])
def test_idx_starts_a_block_after_a_fixed_number_of_images(tmp_path, monkeypatch, max_bytes):
    monkeypatch.setattr(source, "_MAX_BLOCK_BYTES", max_bytes)
    for name, count in (("a", 6), ("b", 7)):
        write_images(tmp_path / f"{name}-idx3-ubyte", pictures(count))
    sizes = [len(block.paths) for block in open_source(".", tmp_path, LIMITS).blocks(5)]
    assert set(np.cumsum(sizes)) >= {5, 10, 13}
    assert max(sizes) == (5 if max_bytes > 100 else 3)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("keep", [10, 40, 60, -3])
def test_idx_that_was_cut_off_is_rejected(tmp_path, suffix, keep):
    path = write_images(tmp_path / f"{IMAGES}{suffix}", pictures(9))
    path.write_bytes(path.read_bytes()[:keep])
    message = refused(path)
    assert path.name in message
    assert "must be a whole IDX file" in message or keep == 10


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_label_file_that_was_cut_off_is_rejected(tmp_path, suffix):
    path = write_images(tmp_path / f"{IMAGES}{suffix}", pictures(9))
    labels = write_labels(tmp_path / f"{LABELS}{suffix}", range(9))
    labels.write_bytes(labels.read_bytes()[:-3])
    assert f"{LABELS}{suffix}` must be a whole IDX file" in refused(path)


@pytest.mark.parametrize("count", [8, 10])
def test_idx_with_a_wrong_number_of_labels_is_rejected(tmp_path, count):
    write_images(tmp_path / IMAGES, pictures(9))
    write_labels(tmp_path / LABELS, range(count))
    assert f"labels and claims {count}, for 9 images" in refused(tmp_path)


def test_idx_that_changes_while_it_is_read_is_rejected(tmp_path):
    path = write_images(tmp_path / IMAGES, pictures(9))
    blocks = open_source(IMAGES, tmp_path, LIMITS).blocks(4)
    next(blocks)
    write_images(path, pictures(10, seed=3))
    with pytest.raises(SourceError, match="must stay as it is"):
        list(blocks)


HUGE = 2**32 - 1
CLAIMS = {
    (HUGE, 28, 28): ("it ends before the last of 4,294,967,295 images", "at most `ingestion.max_files` 1,000 files"),
    (1, HUGE, HUGE): (f"claims images of {HUGE}x{HUGE}",) * 2,
    (1, 10_001, 10_000): ("claims images of 10000x10001",) * 2,
    (1000, 0, 28): ("claims images of 28x0",) * 2,
    (1000, 9000, 9000): ("it ends before the last of 1,000 images of 9000x9000", "it ends after 0 of 1,000 images"),
}


@pytest.mark.parametrize("is_gzip", [False, True])
@pytest.mark.parametrize("shape", CLAIMS)
def test_idx_with_a_huge_claim_is_rejected_without_allocating(tmp_path, is_gzip, shape):
    suffix = ".gz" if is_gzip else ""
    path = write(tmp_path / f"{IMAGES}{suffix}", (0x803, *shape), bytes(100))
    write(tmp_path / f"{LABELS}{suffix}", (0x801, shape[0]), bytes(min(shape[0], 1000)))
    tracemalloc.start()
    message, (_, peak) = refused(path), tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert CLAIMS[shape][is_gzip] in message
    # The size of gzipped data is known only after reading it: a single image is allocated.
    assert peak < (100_000_000 if is_gzip else 1_000_000)
