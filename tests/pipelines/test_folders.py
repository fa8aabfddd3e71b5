"""Comparing two folders of images, and downloading the weights of Inception."""

import hashlib
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image

from kedro_dcgan.errors import DataError, ModelError, SourceError
from kedro_dcgan.evaluation import inception
from kedro_dcgan.pipelines.evaluation import folders as folders_module
from kedro_dcgan.pipelines.evaluation.folders import compare_sources
from kedro_dcgan.reports.evaluation import write_table


class Corner:
    """An extractor whose features are four pixels in the corner."""

    id, weights_sha256, dimension, resize, batch_size, keeps_features = "corner", "", 4, "none", 5, True
    precision = "float32"

    def __call__(self, images):
        return images[:, 0, :2, :2].float().flatten(1)


@pytest.fixture
def folders(tmp_path):
    """Folders of 30 images of several sizes, a file that is not an image, and a side file, which does not count."""
    draw = np.random.default_rng(0)
    for name in ("real", "generated"):
        (tmp_path / name).mkdir()
        for number in range(30):
            pixels = draw.integers(0, 256, (8 + number % 3, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number:02}.png")
    (tmp_path / "generated/broken.jpg").write_text("no image")
    (tmp_path / "generated/00.json").write_text("{}")
    return tmp_path


def compared(folders, real="real", generated="generated"):
    return compare_sources(str(folders / real), str(folders / generated), folders, [Corner()])


def only_protocol(result):
    (protocol,) = result["protocols"]
    assert protocol["name"] == "corner_30_real"
    return protocol


def test_metrics_match_the_pixels_and_unreadable_files_are_counted(folders):
    result = compared(folders)
    json.loads(json.dumps(result, allow_nan=False))
    assert result["skipped"] == {"real": 0, "generated": 1}
    sides = []
    for name in ("real", "generated"):
        files = sorted((folders / name).glob("*.png"))
        sides.append(np.stack([np.asarray(Image.open(file))[:2, :2, 0].ravel() for file in files]).astype(float))
    (real, generated), protocol = sides, only_protocol(result)
    assert (protocol["generated"], protocol["real"], protocol["split"]) == (30, 30, "real")
    means = ((real.mean(0) - generated.mean(0)) ** 2).sum()
    a, b = np.cov(real.T), np.cov(generated.T)
    roots = np.sqrt(np.linalg.eigvals(a @ b).real).sum()
    assert result["metrics"]["fd_corner_30_real"] == pytest.approx(means + np.trace(a + b) - 2 * roots, rel=1e-6)
    table = write_table(result)
    assert "| `recall_corner_30_real` |" in table
    assert "1 unreadable generated files were skipped" in table
    assert "sizes of the images" not in table


def test_different_image_sizes_are_reported(folders):
    for file in (folders / "generated").glob("*.png"):
        Image.open(file).resize((12, 12)).save(file)
    assert "(real 9x10, 9x8, 9x9; generated 12x12)" in write_table(compared(folders))


def test_equal_folders_have_distance_0_and_the_digest_depends_on_content_alone(folders):
    result = compared(folders, generated="real")
    assert result["metrics"]["fd_corner_30_real"] < 1e-6
    assert result["metrics"]["recall_corner_30_real"] == 1
    renamed = folders / "renamed"
    renamed.mkdir()
    for file in (folders / "real").iterdir():
        (renamed / f"x{file.name}").write_bytes(file.read_bytes())
    digests = [only_protocol(compared(folders, real=name))["dataset_digest"] for name in ("real", "renamed")]
    assert digests[0] == digests[1] != only_protocol(compared(folders, real="generated"))["dataset_digest"]


def test_a_missing_folder_and_a_single_image_are_rejected(folders):
    with pytest.raises(SourceError, match=r"`--generated`.*--generated PATH"):
        compared(folders, generated="missing")
    (folders / "one").mkdir()
    Image.new("RGB", (8, 8)).save(folders / "one/a.png")
    with pytest.raises(DataError, match=r"`--real`.* 2 images.*\(got 1"):
        compared(folders, real="one")


def test_too_few_images_are_rejected_with_the_reasons(folders):
    (folders / "none").mkdir()
    for name, data in (("a.png", b""), ("b.jpg", b"text"), ("c.jpg", b"also"), ("d.txt", b"a caption")):
        (folders / "none" / name).write_bytes(data)
    with pytest.raises(DataError, match=r"\(got 0; 2 skipped as not_an_image; 1 skipped as .*side_file"):
        compared(folders, real="none")


def test_statistics_and_addresses_are_rejected_as_such(folders):
    np.savez(folders / "stats.npz", mu=np.zeros(4), sigma=np.eye(4))
    with pytest.raises(SourceError, match=r"`--real` .*stats\.npz, statistics of images, .*mu float64 \(4,\)"):
        compared(folders, real="stats.npz")
    with pytest.raises(SourceError, match=r"`--generated` .*on this machine.*https://.*--generated PATH"):
        compare_sources(str(folders / "real"), "https://user:secret@example.org/x.zip", folders, [Corner()])


def test_a_batch_of_samples_in_an_npz_file_has_the_metrics_of_its_images(folders):
    # As the samples of diffusion models are exchanged.
    pixels = np.random.default_rng(1).integers(0, 256, (30, 8, 9, 3), dtype=np.uint8)
    np.savez(folders / "samples.npz", arr_0=pixels, arr_1=np.arange(30))
    (folders / "samples").mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folders / f"samples/{number:02}.png")
    metrics = [compared(folders, generated=name)["metrics"] for name in ("samples.npz", "samples")]
    assert metrics[0] == pytest.approx(metrics[1])


@pytest.fixture
def server(tmp_path):
    """The URL of a local server of one file."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served/weights.pth").write_bytes(b"weights" * 1000)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/weights.pth"
        served.shutdown()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub/checkpoints"


def test_downloaded_weights_are_checked_and_found(server, hub, monkeypatch):
    monkeypatch.setattr(inception, "WEIGHTS_PREFIX", hashlib.sha256(b"weights" * 1000).hexdigest()[:8])
    place = inception.fetch_weights(server)
    assert place == inception.find_weights("auto") == hub / inception.WEIGHTS_NAME


@pytest.mark.parametrize("address", ["foo", "http://127.0.0.1:1/a b", "file:///etc/hostname", "http://127.0.0.1:1/x"])
def test_an_invalid_address_is_rejected(hub, address):
    with pytest.raises(ModelError, match="--url"):
        inception.fetch_weights(address)
    assert not hub.exists() or not list(hub.iterdir())


def test_an_unwritable_cache_is_rejected(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "file"))
    with pytest.raises(ModelError, match="--url"):
        inception.fetch_weights("http://127.0.0.1:1/x")


def test_large_images_make_small_batches():
    sizes = [len(batch) for batch in folders_module._batches(torch.zeros(3, 1500, 1000) for _ in range(5))]
    assert sizes == [2, 2, 1]
    assert [len(batch) for batch in folders_module._batches(torch.zeros(3, 8, 8) for _ in range(70))] == [64, 6]


@pytest.mark.parametrize("wrong", ["", "x"])
def test_wrong_and_missing_downloads_leave_no_file(server, hub, wrong):
    with pytest.raises(ModelError, match="http"):
        inception.fetch_weights(server + wrong)
    assert not list(hub.iterdir())
