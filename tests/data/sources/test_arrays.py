"""Arrays of images as people have them: MNIST from Kaggle, torchvision and Keras, in folders and archives."""

import gzip
import io
import shutil
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from hostile import png
from PIL import Image

from kedro_dcgan.data.sources import Limits, open_source
from kedro_dcgan.errors import SourceError

LIMITS = Limits(file_bytes=1_000_000, files=1000)
TRAIN = np.random.default_rng(0).integers(0, 256, (5, 6, 7), dtype=np.uint8)
TEST = np.random.default_rng(1).integers(0, 256, (3, 6, 7), dtype=np.uint8)
TRAIN_LABELS, TEST_LABELS = np.arange(5, dtype=np.uint8), np.array([9, 0, 255], dtype=np.uint8)
README = {"README.md": b"From yann.lecun.com.", "emnist-letters-mapping.txt": b"1 65 97\n"}


def idx(array):
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def npy(array, **options):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **options)
    return stream.getvalue()


def mnist(images="{}-images-idx3-ubyte", labels="{}-labels-idx1-ubyte", convert=bytes):
    return {
        images.format("t10k"): convert(idx(TEST)),
        labels.format("t10k"): convert(idx(TEST_LABELS)),
        images.format("train"): convert(idx(TRAIN)),
        labels.format("train"): convert(idx(TRAIN_LABELS)),
    }


PLAIN, GZIPPED = mnist(), mnist("{}-images-idx3-ubyte.gz", "{}-labels-idx1-ubyte.gz", gzip.compress)
DOTTED = mnist("{}-images.idx3-ubyte", "{}-labels.idx1-ubyte")
NESTED = mnist("{0}-images-idx3-ubyte/{0}-images-idx3-ubyte", "{0}-labels-idx1-ubyte/{0}-labels-idx1-ubyte")
KERAS = {"x_test.npy": npy(TEST), "x_train.npy": npy(TRAIN), "y_test.npy": npy(TEST_LABELS.astype(np.int64))}
KERAS |= {"y_train.npy": npy(TRAIN_LABELS)}
LAYOUTS = {
    "kaggle": DOTTED | NESTED,
    "kaggle-nested": NESTED,
    "kaggle-downloaded": {f"mnist/{path}": data for path, data in (DOTTED | NESTED).items()},
    "torchvision": {f"MNIST/raw/{path}": data for path, data in (PLAIN | GZIPPED).items()},
    "readme": PLAIN | README,
    "gzipped-readme": GZIPPED | README,
    "emnist": {f"emnist-letters-{path}": data for path, data in PLAIN.items()} | README,
    "folders": {f"{'labels' if 'labels' in path else 'images'}/{path}": data for path, data in PLAIN.items()},
    "folder-of-images": {f"my images/{path}": data for path, data in PLAIN.items()},
    "keras": KERAS,
    "keras-readme": KERAS | README,
    "letters": {path.replace("x_", "X_"): data for path, data in KERAS.items()},
    "medmnist": {f"{path[2:-4]}_{'images' if path[0] == 'x' else 'labels'}.npy": KERAS[path] for path in KERAS},
}


def write(path, files):
    """Write a folder, a zip, a tar or a compressed tar archive, by the suffix."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    elif path.suffix in (".tar", ".xz"):
        with tarfile.open(path, "w:xz" if path.suffix == ".xz" else "w") as archive:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    else:
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    return path


def items(path, limits=LIMITS, size=2):
    source = open_source(str(path), path.parent, limits)
    blocks = list(source.blocks(size))
    found = [item for block in blocks for item in block.read()]
    assert source.count in (None, len(found))
    assert all(sum(len(block.paths) for block in blocks[:at]) % size == 0 for at in range(len(blocks)))
    assert len({item.path for item in found}) == len(found)
    return found


def pixels(item):
    return np.asarray(Image.open(io.BytesIO(item.data), formats=["PPM"]))


def require_mnist(found):
    assert np.array_equal(np.stack([pixels(item) for item in found]), np.concatenate([TEST, TRAIN]))
    assert [item.label for item in found] == [str(label) for label in (*TEST_LABELS, *TRAIN_LABELS)]


@pytest.mark.parametrize("suffix", ["", ".zip", ".tar", ".tar.xz"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_of_mnist_gives_its_images_and_labels_once(tmp_path, layout, suffix):
    files = LAYOUTS[layout]
    found = items(write(tmp_path / f"mnist{suffix}", files))
    images = [item for item in found if item.data.startswith(b"P5")]
    require_mnist(images)
    assert {item.path: item.data for item in found if item not in images} == {
        name: data for name, data in files.items() if name in README
    }


@pytest.mark.parametrize("where", ["mnist.npz", "keras/datasets/mnist.npz"])
def test_npz_of_keras_is_read_by_itself_and_in_a_folder(tmp_path, where):
    path = tmp_path / where
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(write(tmp_path / "x.zip", KERAS), path)
    require_mnist(items(path))
    if path.parent != tmp_path:
        write(tmp_path / "keras", README)
        found = items(tmp_path / "keras")
        require_mnist(found[:8])
        assert [item.path for item in found[8:]] == sorted(README)
        assert found[0].path == "datasets/mnist.npz/x_test/00000000"


@pytest.mark.parametrize("name", ["digits", "digits.idx", "digits.gz", "photos.bin"])
def test_idx_file_under_its_own_name_in_a_folder_is_read(tmp_path, name):
    data = idx(TRAIN)
    write(tmp_path / "mine", {name: gzip.compress(data) if name.endswith(".gz") else data})
    found = items(tmp_path / "mine")
    assert np.array_equal(np.stack([pixels(item) for item in found]), TRAIN)
    assert {item.label for item in found} == {None}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(("images", "labels"), [("x_train.npy", "y_train.npy"), ("images.npy", "labels.npy")])
def test_single_npy_file_is_read_with_the_labels_beside_it(tmp_path, images, labels, suffix):
    convert = gzip.compress if suffix else bytes
    files = {f"{images}{suffix}": npy(TRAIN), f"{labels}{suffix}": npy(TRAIN_LABELS[:, None])}
    write(tmp_path, {name: convert(data) for name, data in files.items()})
    found = items(tmp_path / f"{images}{suffix}")
    assert np.array_equal(np.stack([pixels(item) for item in found]), TRAIN)
    assert [item.label for item in found] == list("01234")


def test_link_given_as_the_source_is_followed(tmp_path):
    write(tmp_path / "mnist", PLAIN)
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (tmp_path / name).symlink_to(tmp_path / "mnist" / name)
    found = items(tmp_path / "train-images-idx3-ubyte")
    # A link to labels that nobody named is not followed.
    assert [item.label for item in found] == [None] * 5


@pytest.mark.parametrize("header", [b"(-5, 6, 7)", b"(5, 6.0, 7)", b"(5, [], 7)", b"5", b"(1 << 90, 6, 7)"])
def test_npy_header_with_an_odd_shape_is_rejected(tmp_path, header):
    fields = (b"{'descr': '|u1', 'fortran_order': False, 'shape': %s, }" % header).ljust(117) + b"\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(fields)) + fields + TRAIN.tobytes())
    with pytest.raises(SourceError, match=r"^`[^\n]*a\.npy[^\n]*\.$"):
        items(tmp_path / "a.npy")


@pytest.mark.parametrize("shape", [(2, 5, 6, 3), (2, 5, 6, 1), (2, 3, 5, 6), (2, 1, 5, 6), (2, 5, 3), (2, 3, 3, 3)])
@pytest.mark.parametrize("is_idx", [False, True])
def test_channels_may_be_first_or_last(tmp_path, shape, is_idx):
    array = np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8)
    if shape == (2, 5, 3) and not is_idx:
        # A single picture of 2x5 pixels, in NumPy; never two pictures of 5x3.
        with pytest.raises(SourceError, match=r"\(N, H, W\).*uint8 \(2, 5, 3\)"):
            items(write(tmp_path, {"a.npy": npy(array)}) / "a.npy")
        return
    found = items(write(tmp_path, {"a": idx(array) if is_idx else npy(array)}) / "a")
    is_first = len(shape) == 4 and shape[3] not in (1, 3)
    expected = array.transpose(0, 2, 3, 1) if is_first else array
    expected = expected[..., 0] if expected.shape[-1] == 1 else expected
    assert np.array_equal(np.stack([pixels(item) for item in found]), expected)


@pytest.mark.parametrize("first", [TRAIN[::-1], TRAIN[:, :4]])
def test_arrays_of_one_name_and_other_content_are_both_read(tmp_path, first):
    files = {"a/images-idx3-ubyte": idx(first), "b/images-idx3-ubyte": idx(TRAIN)}
    assert len(items(write(tmp_path / "both", files))) == 10


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"mu": np.zeros(4), "sigma": np.eye(4)}, "statistics of images, not images: mu float64 (4,)"),
        ({"x_train": TRAIN.astype(np.float32)}, "an npz file: x_train float32 (5, 6, 7)"),
        ({"data": TRAIN.reshape(5, 42)}, "an npz file: data uint8 (5, 42)"),
        ({"y": TRAIN_LABELS}, "an npz file: y uint8 (5,)"),
        ({"images": np.asfortranarray(TRAIN)}, "an npz file: no readable array"),
        ({"objects": np.array([{}, None])}, "an npz file: objects object (2,)"),
    ],
)
def test_npz_without_images_is_rejected_with_its_arrays(tmp_path, arrays, problem):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(
        SourceError, match=r"^`ingestion.source` must be an array of images, uint8 \(N, H, W\)"
    ) as caught:
        items(tmp_path / "x.npz")
    assert problem in str(caught.value)
    # In a folder it is one file among others.
    assert [item.path for item in items(tmp_path)] == ["x.npz"]


def test_images_beside_statistics_are_read(tmp_path):
    np.savez(tmp_path / "reference.npz", arr_0=TRAIN, mu=np.zeros(4), sigma=np.eye(4))
    assert len(items(tmp_path / "reference.npz")) == 5


def test_pickled_arrays_are_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("it was unpickled",)

    array = np.array([Bomb()] * 5, dtype=object)
    np.savez(tmp_path / "x.npz", x_train=TRAIN, y_train=array)
    assert [item.label for item in items(tmp_path / "x.npz")] == [None] * 5
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(SourceError, match="must be an array of images"):
        items(tmp_path / "a.npy")


@pytest.mark.parametrize("suffix", ["", ".zip", ".tar"])
@pytest.mark.parametrize("shape", [(2**31, 6, 7), (1, 2**31, 2**31), (5, 0, 7)])
def test_huge_claim_in_a_header_is_rejected(tmp_path, shape, suffix):
    header = struct.pack(">4I", 0x803, *shape)
    path = write(tmp_path / f"mnist{suffix}", {"t10k-images-idx3-ubyte": header + TRAIN.tobytes()})
    with pytest.raises(SourceError, match=rf"^`{path}.*t10k-images-idx3-ubyte` must be a whole IDX file"):
        items(path)


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.xz"])
def test_damaged_array_in_an_archive_is_rejected(tmp_path, suffix):
    images = np.random.default_rng(3).integers(0, 256, (5, 20, 20), dtype=np.uint8)
    damaged = gzip.compress(idx(images))[:-8] + bytes(8)
    path = write(tmp_path / f"mnist{suffix}", GZIPPED | {"train-images-idx3-ubyte.gz": damaged})
    with pytest.raises(SourceError, match=rf"^`{path}: train-images-idx3-ubyte.gz` must be a whole IDX file[^\n]*\.$"):
        items(path)


@pytest.mark.parametrize("files", [PLAIN, KERAS])
@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.xz"])
def test_archive_that_is_replaced_before_its_arrays_are_read_is_rejected(tmp_path, suffix, files):
    path = write(tmp_path / f"mnist{suffix}", files)
    source = open_source(str(path), tmp_path, LIMITS)
    path.unlink()
    write(path, {"other.png": png(1)})
    with pytest.raises(SourceError, match=rf"^`{path}.*(it|archive) has changed"):
        list(source.blocks(2))


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_more_images_than_allowed_are_rejected(tmp_path, suffix):
    path = write(tmp_path / f"mnist{suffix}", PLAIN)
    with pytest.raises(SourceError, match=r"`ingestion\.max_files` 7\b"):
        items(path, Limits(file_bytes=1_000_000, files=7))


@pytest.mark.parametrize("suffix", ["", ".zip", ".tar"])
def test_photos_beside_an_array_are_read_too(tmp_path, suffix):
    path = write(
        tmp_path / f"mixed{suffix}", {"a-idx3-ubyte": idx(TRAIN), "photos/a.png": png(1), "z.npy": npy(np.eye(3))}
    )
    found = {item.path: item for item in items(path)}
    assert len(found) == 7
    assert (found["photos/a.png"].data, found["photos/a.png"].label) == (png(1), "photos")


def test_tar_archive_of_pictures_is_not_searched_to_its_end(tmp_path):
    # The array after the pictures is one input: only the beginning of the archive is looked at.
    path = write(tmp_path / "photos.tar", {"0.json": b"{}", "0.png": png(1), "a-idx3-ubyte": idx(TRAIN)})
    assert [item.path for item in items(path)] == ["0.json", "0.png", "a-idx3-ubyte"]


def test_large_folder_is_not_searched_for_arrays(tmp_path):
    write(tmp_path / "many", {f"{number}.txt": b"" for number in range(1000)} | {"a-idx3-ubyte": idx(TRAIN)})
    assert len(items(tmp_path / "many", Limits(file_bytes=1_000_000, files=2000), size=100)) == 1001


def test_array_that_changes_while_it_is_read_is_rejected(tmp_path):
    path = write(tmp_path / "mnist", PLAIN | README)
    blocks = open_source(str(path), tmp_path, LIMITS).blocks(2)
    next(blocks)
    (path / "README.md").write_bytes(b"changed")
    with pytest.raises(SourceError, match="must stay as it is"):
        list(blocks)
