"""Two folders of images compared, and weights that are fetched from a server."""

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
from kedro_dcgan.evaluation import inception as inception_weights
from kedro_dcgan.pipelines.evaluation import folders as folders_module
from kedro_dcgan.pipelines.evaluation.folders import compare_sources
from kedro_dcgan.reports.evaluation import write_table


class Corner:
    """Features that are four grey levels of the corner."""

    id, weights_sha256, dimension, resize, batch_size, keeps_features = "corner", "", 4, "none", 5, True
    precision = "float32"

    def __call__(self, images):
        return images[:, 0, :2, :2].float().flatten(1)


@pytest.fixture
def folders(tmp_path):
    """30 images of several sizes a side, and what is none."""
    draw = np.random.default_rng(0)
    for name in ("real", "generated"):
        (tmp_path / name).mkdir()
        for number in range(30):
            pixels = draw.integers(0, 256, (8 + number % 3, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number:02}.png")
    (tmp_path / "generated/notes.txt").write_text("no image")
    return tmp_path


def compared(folders, real="real", generated="generated"):
    return compare_sources(str(folders / real), str(folders / generated), folders, [Corner()])


def only_protocol(result):
    (protocol,) = result["protocols"]
    assert protocol["name"] == "corner_30_real"
    return protocol


def test_folders_have_the_numbers_of_their_pixels_and_what_is_no_image_is_counted(folders):
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
    assert "1 of the generated files were left out" in table
    assert "different sizes" not in table


def test_folders_of_different_sizes_are_told_apart(folders):
    for file in (folders / "generated").glob("*.png"):
        Image.open(file).resize((12, 12)).save(file)
    assert "(real 9x10, 9x8, 9x9; generated 12x12): resizing" in write_table(compared(folders))


def test_equal_folders_are_nothing_apart_and_the_digest_is_of_the_content(folders):
    result = compared(folders, generated="real")
    assert result["metrics"]["fd_corner_30_real"] < 1e-6
    assert result["metrics"]["recall_corner_30_real"] == 1
    renamed = folders / "renamed"
    renamed.mkdir()
    for file in (folders / "real").iterdir():
        (renamed / f"x{file.name}").write_bytes(file.read_bytes())
    digests = [only_protocol(compared(folders, real=name))["dataset_digest"] for name in ("real", "renamed")]
    assert digests[0] == digests[1] != only_protocol(compared(folders, real="generated"))["dataset_digest"]


def test_a_folder_that_is_not_there_or_has_one_image_is_refused(folders):
    with pytest.raises(SourceError, match=r"`--generated` must be .*nothing there.* Pass another: --generated PATH"):
        compared(folders, generated="missing")
    (folders / "one").mkdir()
    Image.new("RGB", (8, 8)).save(folders / "one/a.png")
    with pytest.raises(DataError, match=r"`--real` must hold at least 2 images \(got 1"):
        compared(folders, real="one")


@pytest.fixture
def server(tmp_path):
    """A server of one file; its address."""
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


def test_fetched_weights_are_checked_and_found(server, hub, monkeypatch):
    monkeypatch.setattr(inception_weights, "WEIGHTS_PREFIX", hashlib.sha256(b"weights" * 1000).hexdigest()[:8])
    place = inception_weights.fetch_weights(server)
    assert place == inception_weights.find_weights("auto") == hub / inception_weights.WEIGHTS_NAME


@pytest.mark.parametrize("address", ["foo", "http://127.0.0.1:1/a b", "file:///etc/hostname", "http://127.0.0.1:1/x"])
def test_an_address_that_is_none_is_refused_in_one_line(hub, address):
    with pytest.raises(ModelError, match="must be downloaded from"):
        inception_weights.fetch_weights(address)
    assert not hub.exists() or not list(hub.iterdir())


def test_a_folder_that_cannot_be_made_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "file"))
    with pytest.raises(ModelError, match="must be downloaded from"):
        inception_weights.fetch_weights("http://127.0.0.1:1/x")


def test_large_photos_are_not_held_all_at_once():
    sizes = [len(batch) for batch in folders_module._in_batches(torch.zeros(3, 1500, 1000) for _ in range(5))]
    assert sizes == [2, 2, 1]
    assert [len(batch) for batch in folders_module._in_batches(torch.zeros(3, 8, 8) for _ in range(70))] == [64, 6]


@pytest.mark.parametrize("wrong", ["", "x"])
def test_other_weights_and_none_leave_nothing_behind(server, hub, wrong):
    with pytest.raises(ModelError, match="must be downloaded from http"):
        inception_weights.fetch_weights(server + wrong)
    assert not list(hub.iterdir())
