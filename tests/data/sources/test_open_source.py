import os
import pickle

import hostile
import pytest
from folders import LIMITS
from PIL import Image

from kedro_dcgan.datasets import ImageSourceDataset
from kedro_dcgan.errors import SourceError


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: None, "nothing there"),
        (lambda path: path.symlink_to("nowhere"), "nothing there"),
        (lambda path: path.write_bytes(b"text"), "another kind of file"),
        (os.mkfifo, "another kind of file"),
        (lambda path: (path / "empty").mkdir(parents=True), "empty"),
    ],
    ids=["nothing", "dangling", "file", "pipe", "folder"],
)
def test_invalid_path_is_rejected_with_the_problem(tmp_path, make, problem):
    make(tmp_path / "images")
    with pytest.raises(SourceError, match=rf"^`ingestion.source` must [^\n]*images, {problem}\)[^\n]*$"):
        ImageSourceDataset(tmp_path).load().open("images", LIMITS)


@pytest.mark.parametrize("name", ["~no_such_user/images", "x" * 5000])
def test_name_that_cannot_be_a_path_is_rejected(tmp_path, name):
    with pytest.raises(SourceError, match=r"^`ingestion.source` must be a folder[^\n]*$"):
        ImageSourceDataset(tmp_path).load().open(name, LIMITS)


@pytest.mark.parametrize("name", ["https://example.org/a.zip?key=secret", "s3://bucket/images", "file:///images"])
def test_address_is_rejected_with_the_remedy(tmp_path, name):
    with pytest.raises(
        SourceError, match=rf"^`ingestion.source` must be on this machine[^\n]*{name[:4]}[^\n]*\.$"
    ) as caught:
        ImageSourceDataset(tmp_path).load().open(name, LIMITS)
    assert "ownload" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (hostile.png(1), "a single image: pass its folder"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"PAR1....PAR1", "a Parquet file"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"MATLAB 5.0 MAT-file", "a MATLAB file"),
        (pickle.dumps({"data": b"cifar-10"}), "a pickle, which is never loaded"),
    ],
    ids=["image", "7z", "parquet", "hdf5", "matlab", "pickle"],
)
def test_other_kind_of_file_is_named_with_the_remedy(tmp_path, data, kind):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(SourceError, match=rf"^`ingestion.source` must be a folder[^\n]*x, {kind}[^\n]*\.$"):
        ImageSourceDataset(tmp_path).load().open("x", LIMITS)


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tar.xz"])
def test_folder_of_archives_is_rejected_with_the_remedy(tmp_path, suffix):
    (tmp_path / "shards").mkdir()
    for number in range(3):
        hostile.good(tmp_path / f"shards/{number}{suffix}", {"a.png": hostile.png(number)})
    (tmp_path / "shards/index.json").write_bytes(b"{}")
    (tmp_path / "shards/.hidden").write_bytes(b"")
    with pytest.raises(SourceError, match=rf"must hold images .*shards, 3 archives such as 0{suffix}\)\. Pass one"):
        ImageSourceDataset(tmp_path).load().open("shards", LIMITS)
    # A picture beside them is an image.
    (tmp_path / "shards/a.png").write_bytes(hostile.png(9))
    assert ImageSourceDataset(tmp_path).load().open("shards", LIMITS).count == 6


def test_bare_name_of_a_dataset_is_rejected_with_its_full_name(tmp_path):
    with pytest.raises(SourceError, match=r"nothing there\. Did you mean torchvision:FashionMNIST\?"):
        ImageSourceDataset(tmp_path).load().open("fashionmnist", LIMITS)


@pytest.mark.parametrize("name", ["a,b", "2024", "a=b", "100%20?", "-leading dash", "http:", "日本 é", "#1&;@[x]'\""])
@pytest.mark.parametrize("suffix", ["", ".zip", ".tar.gz"])
def test_odd_names_are_paths(tmp_path, name, suffix):
    path = tmp_path / f"{name}{suffix}"
    if suffix:
        hostile.good(path, {"a.png": b"a"})
    else:
        path.mkdir()
        (path / "a.png").write_bytes(b"a")
    (block,) = ImageSourceDataset(tmp_path).load().open(path.name, LIMITS).blocks(9)
    assert [item.path for item in block.read()] == ["a.png"]


def test_digits_are_written_once(tmp_path):
    assert ImageSourceDataset(tmp_path).load().open("data/01_raw/digits", LIMITS).count == 1797
    first = tmp_path / "data/01_raw/digits/0/0000.png"
    written = first.stat().st_mtime_ns
    assert Image.open(first).size == (8, 8)
    (again, *_) = ImageSourceDataset(tmp_path).load().open("data/01_raw/digits", LIMITS).blocks(10)
    assert (again.paths[0], first.stat().st_mtime_ns) == ("0/0000.png", written)


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.xz", "x-idx3-ubyte", "x.npz", "x.jpg"])
def test_source_without_permission_is_rejected(readable_by_some, become_nobody, name):
    path = readable_by_some / name
    hostile.good(path, {"a.png": b"a"}) if "." in name and "npz" not in name else path.write_bytes(b"\0\0\x08\x03")
    path.chmod(0)
    become_nobody()
    with pytest.raises(SourceError, match=rf"^`{path}` must be [^\n]*\(permission denied\)[^\n]*\.$"):
        ImageSourceDataset(readable_by_some).load().open(name, LIMITS)


def test_unreadable_idx_file_does_not_stop_a_folder_of_photos(readable_by_some, become_nobody):
    for name in ("a.png", "x-idx3-ubyte"):
        (readable_by_some / name).write_bytes(b"text")
    (readable_by_some / "x-idx3-ubyte").chmod(0)
    become_nobody()
    assert ImageSourceDataset(readable_by_some).load().open(".", LIMITS).count == 2


def test_dataset_of_sources_can_be_sent_to_another_process(tmp_path):
    # Kedro's ParallelRunner requires it of every dataset.
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(b"not really an image")
    dataset = ImageSourceDataset(tmp_path)
    dataset.load().open("images", LIMITS)
    assert pickle.loads(pickle.dumps(dataset)).load().open("images", LIMITS).count == 1
