"""Shards on disk: written atomically, deterministic, resumed after a kill, checked when they are read."""

import json
import os
import random
import resource
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import dataset_errors
import hostile
import numpy as np
import pytest
from dataset_errors import raises_dataset_error

from kedro_dcgan.data.manifest import COLUMNS, complete_manifest
from kedro_dcgan.data.scan import ScanTask, scan_block
from kedro_dcgan.data.shard_writer import Scan
from kedro_dcgan.data.shards import select
from kedro_dcgan.data.sources import Limits, open_source
from kedro_dcgan.data.transforms import Crop, Preparation
from kedro_dcgan.data.workers import map_in_order
from kedro_dcgan.datasets import ImageShardsDataset, PreparedImagesDataset
from kedro_dcgan.errors import DataError, SourceError

PREPARATION = Preparation(32, 3, "bicubic", Crop(), (255, 255, 255), 16, 10**6, 10**7)
INPUTS, A_SHARD = 50, 16


def scan_of(folder, workers=1, preparation=PREPARATION, slow=0.0):
    source = open_source(str(folder), Path("/"), Limits(10**7, 10**5))

    def run(blocks, done):
        run.done = done
        for scanned in map_in_order(
            partial(scan_block, preparation=preparation), (ScanTask(block) for block in blocks), workers
        ):
            time.sleep(slow)
            yield scanned

    run.done = None
    return Scan(str(folder), preparation, A_SHARD, source.count, partial(source.blocks, 4), run)


def contents(folder):
    """All files of a folder of shards, without the source in the index."""
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    index = json.loads(files.pop("index.json"))
    index.pop("source")
    return files | {"index.json": index}


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(INPUTS):
        (folder / f"{number:03d}.png").write_bytes(hostile.png(number, 40))
    (folder / "020.png").write_bytes(b"damaged")
    return folder


@pytest.fixture
def stored(tmp_path, pictures):
    dataset = ImageShardsDataset(tmp_path / "shards")
    dataset.save(scan_of(pictures))
    return dataset


def select_all(shards):
    manifest = complete_manifest(shards.read_records([name for name in COLUMNS if name != "split"]), 0.7, 0.1)
    return select(shards, manifest, "transform"), manifest


def test_rows_hold_the_pixels_of_their_images(stored, pictures):
    shards = stored.load()
    assert [len(shard.images) for shard in shards.shards] == [16, 15, 16, 2]
    assert all(isinstance(shard.images, np.memmap) for shard in shards.shards)
    records = shards.read_records(["path", "row"]).dropna().set_index("path")["row"]
    alone = scan_block(ScanTask(next(open_source(str(pictures), Path("/"), Limits(10**7, 99)).blocks(99))), PREPARATION)
    expected = {record.path: alone.pixels[record.row] for record in alone.records if record.row is not None}
    assert len(records) == INPUTS - 1
    for path, row in records.items():
        assert (shards.rows(np.array([row]))[0] == expected[path]).all()


def test_bytes_do_not_depend_on_workers_or_on_the_order_of_the_folder(stored, pictures, tmp_path):
    again = tmp_path / "copy"
    again.mkdir()
    for path in random.Random(0).sample(sorted(pictures.iterdir()), INPUTS):
        (again / path.name).write_bytes(path.read_bytes())
        os.utime(again / path.name, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    for number, workers in enumerate((2, 3)):
        dataset = ImageShardsDataset(tmp_path / f"again{number}")
        dataset.save(scan_of(again, workers))
        assert contents(dataset.path) == contents(stored.path)


def test_equal_content_gives_an_equal_dataset(stored, pictures, tmp_path):
    archive = tmp_path / "renamed.tar.gz"
    named = {f"x{999 - int(path.stem)}/{path.name}": path.read_bytes() for path in pictures.iterdir()}
    hostile.good(archive, named)
    other = ImageShardsDataset(tmp_path / "other")
    other.save(scan_of(archive))
    (first, _), (second, _) = select_all(stored.load()), select_all(other.load())
    assert first.digest == second.digest
    for split in ("train", "validation", "test"):
        every = np.arange(first.count(split))
        assert (first.take(split, every) == second.take(split, every)).all()


PROGRAM = """
import sys; sys.path[:0] = {paths!r}
from pathlib import Path
from test_image_shards import ImageShardsDataset, scan_of
ImageShardsDataset(Path(sys.argv[2])).save(scan_of(Path(sys.argv[1]), workers=int(sys.argv[3]), slow=0.05))
"""


def start(pictures, target, workers=1):
    code = PROGRAM.format(
        paths=[str(Path(module.__file__).parent) for module in (dataset_errors, hostile, sys.modules[__name__])]
    )
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), pictures, target, str(workers)])


def test_killed_scan_resumes_at_the_first_missing_shard(stored, pictures, tmp_path):
    target, incomplete, moments = tmp_path / "killed", tmp_path / ".killed.incomplete", random.Random(1)
    for shard in ("00000.json", "00001.json"):
        process = start(pictures, target)
        while not (incomplete / shard).exists():
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(moments.random() * 0.12)
        process.kill()
        process.wait()
        assert not target.exists()
    assert start(pictures, target).wait() == 0
    assert contents(target) == contents(stored.path)
    assert not incomplete.exists()


def interrupted_after(shards, pictures, dataset):
    """Interrupt a scan after some shards, as a kill would."""
    scan = scan_of(pictures)

    def run(blocks, done):
        for number, block in enumerate(scan.run(blocks, done)):
            if number == 4 * shards + 1:
                raise SourceError("the disk was pulled")
            yield block

    with pytest.raises(Exception, match="the disk was pulled"):
        dataset.save(Scan(scan.source, scan.preparation, A_SHARD, scan.count, scan.blocks, run))


def test_finished_shards_are_kept(stored, pictures, tmp_path):
    dataset = ImageShardsDataset(tmp_path / "resumed")
    interrupted_after(2, pictures, dataset)
    scan = scan_of(pictures)
    dataset.save(scan)
    assert scan.run.done == 2 * A_SHARD
    assert contents(dataset.path) == contents(stored.path)


@pytest.mark.parametrize("moment", ["ShardWriter.write_index", "replace_folder"])
def test_scan_killed_after_its_last_shard_only_finishes(stored, pictures, tmp_path, monkeypatch, moment):
    dataset = ImageShardsDataset(tmp_path / "resumed")
    with monkeypatch.context() as patch, pytest.raises(Exception, match="killed"):
        patch.setattr(
            f"kedro_dcgan.data.shard_writer.{moment}",
            lambda *_: (_ for _ in ()).throw(RuntimeError("killed")),
        )
        dataset.save(scan_of(pictures))
    (tmp_path / ".resumed.incomplete" / ".00001.77.incomplete.npy").write_bytes(b"half written")
    scan = scan_of(pictures)
    dataset.save(scan)
    assert scan.run.done == 4 * A_SHARD
    assert contents(dataset.path) == contents(stored.path)


def test_link_to_a_folder_is_kept(pictures, tmp_path):
    (tmp_path / "large disk").mkdir()
    (tmp_path / "shards").symlink_to(tmp_path / "large disk")
    dataset = ImageShardsDataset(tmp_path / "shards")
    for _ in range(2):
        dataset.save(scan_of(pictures))
    assert (tmp_path / "shards").is_symlink()
    assert (tmp_path / "large disk" / "index.json").is_file()
    assert len(dataset.load().shards) == 4
    assert not list(tmp_path.glob(".*"))


def test_source_without_usable_images_gives_empty_shards(tmp_path):
    (tmp_path / "texts").mkdir()
    for name in "abc":
        (tmp_path / "texts" / name).write_text(name)
    dataset = ImageShardsDataset(tmp_path / "shards")
    dataset.save(scan_of(tmp_path / "texts"))
    shards = dataset.load()
    assert [shard.images.shape for shard in shards.shards] == [(0, 3, 32, 32)]
    assert shards.read_records(["reason"])["reason"].tolist() == ["not_an_image"] * 3


@pytest.mark.parametrize(
    ("change", "kept"),
    [("an input of the second shard", 1), ("an added file", 0), ("the filter", 0), ("the limit of bytes", 0)],
)
def test_shards_are_rewritten_if_their_inputs_change(pictures, tmp_path, change, kept):
    dataset = ImageShardsDataset(tmp_path / "resumed")
    interrupted_after(2, pictures, dataset)
    preparation = PREPARATION
    if change == "an input of the second shard":
        (pictures / "018.png").write_bytes(hostile.png(999, 40))
    elif change == "an added file":
        (pictures / "000a.png").write_bytes(hostile.png(999, 40))
    else:
        preparation = replace(
            PREPARATION, **({"resample": "lanczos"} if "filter" in change else {"max_file_bytes": 99})
        )
    scan = scan_of(pictures, preparation=preparation)
    dataset.save(scan)
    assert scan.run.done == kept * A_SHARD
    fresh = ImageShardsDataset(tmp_path / "fresh")
    fresh.save(scan_of(pictures, preparation=preparation))
    assert contents(dataset.path) == contents(fresh.path)


def test_full_disk_leaves_only_the_old_shards(stored, pictures, tmp_path):
    before = contents(stored.path)
    # A process can limit its own file size, which gives the same error as a full disk.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    try:
        with raises_dataset_error(DataError, "must have room for it (File too large)"):
            stored.save(scan_of(pictures))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(stored.path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", "shards"]


def test_source_that_is_removed_stops_the_scan_and_keeps_finished_shards(pictures, tmp_path):
    dataset = ImageShardsDataset(tmp_path / "shards")
    scan = scan_of(pictures)

    def run(blocks, done):
        for number, block in enumerate(scan.run(blocks, done)):
            if number == 6:
                pictures.rename(tmp_path / "unplugged")
            yield block

    with raises_dataset_error(SourceError, "it is gone"):
        dataset.save(Scan(scan.source, scan.preparation, A_SHARD, scan.count, scan.blocks, run))
    (tmp_path / "unplugged").rename(pictures)
    again = scan_of(pictures)
    dataset.save(again)
    assert again.run.done == A_SHARD


@pytest.fixture
def selected(stored, tmp_path):
    dataset = PreparedImagesDataset(tmp_path / "images", stored.path.name)
    dataset.save(select_all(stored.load())[0])
    return dataset


def test_selection_is_read_as_it_was_written(stored, selected):
    images, manifest = select_all(stored.load())
    loaded = selected.load()
    assert (loaded.digest, loaded.image_size, loaded.channels) == (images.digest, 32, 3)
    for split in ("train", "validation", "test"):
        assert loaded.count(split) == (manifest["split"] == split).sum()
        assert (loaded.rows[split] == images.rows[split]).all()


def test_flipped_bit_in_a_shard_is_detected(stored, selected):
    shard = stored.path / "00002.npy"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with raises_dataset_error(DataError, "00002.npy") as caught:
        selected.load()
    assert "damaged" in str(caught.value.__cause__)
    assert f"--params ingestion.source={stored.path.with_name('pictures')}" in str(caught.value.__cause__)


def test_hashes_are_checked_once_per_process(stored, selected, monkeypatch):
    import hashlib

    hashed = []
    real = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda stream, name: hashed.append(stream.name) or real(stream, name))
    selected.load()
    selected.load()
    # Four shards and three splits.
    assert len(hashed) == len(set(hashed)) == 4 + 3


@pytest.mark.parametrize("damage", ["missing shard", "path out of the folder", "damaged index", "other format"])
def test_damaged_dataset_is_rejected(stored, selected, tmp_path, damage):
    index = selected.path / "index.json"
    if damage == "missing shard":
        (stored.path / "00001.npy").unlink()
    elif damage == "path out of the folder":
        (stored.path / "00001.npy").rename(tmp_path / "00001b.npy")
        index.write_text(index.read_text().replace("00001.npy", "../00001b.npy"))
    elif damage == "damaged index":
        index.write_text(index.read_text()[:40])
    else:
        index.write_text(index.read_text().replace('"format": 2', '"format": 99'))
    with raises_dataset_error(DataError, "must "):
        selected.load()


def test_damaged_records_are_detected(stored):
    records = stored.path / "00001.parquet"
    records.write_bytes(records.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"00001.parquet.*damaged.*kedro run"):
        stored.load().read_records()


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY"])
def test_truncated_shard_is_detected(stored, data):
    (stored.path / "00001.npy").write_bytes(data)
    with raises_dataset_error(DataError, "00001.npy") as caught:
        stored.load()
    assert "damaged" in str(caught.value.__cause__)


def test_selection_from_other_shards_is_rejected(stored, selected, pictures):
    (pictures / "000.png").unlink()
    stored.save(scan_of(pictures))
    with raises_dataset_error(DataError, "kedro run --pipelines=preprocessing"):
        selected.load()
