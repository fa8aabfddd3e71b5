"""Odd and hostile inputs, from their bytes on disk to their verdicts in the manifest."""

import io
from functools import partial
from pathlib import Path

import hostile
import messy
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kedro_dcgan.data.manifest import complete_manifest
from kedro_dcgan.data.scan import ScanTask, scan_block
from kedro_dcgan.data.sources import Input, Limits, open_source
from kedro_dcgan.data.sources.source import MemoryBlock
from kedro_dcgan.data.transforms import Crop, Preparation
from kedro_dcgan.reports.pictures import from_pixels

PREPARATION = Preparation(64, 3, "lanczos", Crop(), (255, 255, 255), 64, 50_000_000, 10**8)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    """Records by path, and prepared pixels by path."""
    root = tmp_path_factory.mktemp("messy") / "folder"
    messy.build(root)
    source = open_source(str(root), Path("/"), Limits(100_000_000, 1000))
    records, pixels = [], {}
    for block in source.blocks(16):
        scanned = scan_block(ScanTask(block), PREPARATION)
        records += scanned.records
        pixels |= {record.path: scanned.pixels[record.row] for record in scanned.records if record.row is not None}
    return records, pixels


@pytest.fixture(scope="module")
def manifest(scanned):
    columns = {name: [getattr(record, name) for record in scanned[0]] for name in scanned[0][0].__dataclass_fields__}
    return complete_manifest(pd.DataFrame(columns), 0.7, 0.1).set_index("path")


@pytest.mark.parametrize("case", messy.CASES, ids=lambda case: ascii(case.path)[-60:])
def test_verdict(manifest, case):
    row = manifest.loc[case.path]
    found = row["verdict"] if pd.isna(row["reason"]) else row["reason"]
    assert found in case.verdicts, row["detail"]


@pytest.mark.parametrize(("mode", "colour", "other"), [("L", 7, 8), ("RGB", (0, 1, 2), (0, 1, 3))])
def test_image_of_one_colour_is_blank(mode, colour, other):
    image, streams = Image.new(mode, (64, 64), colour), [io.BytesIO(), io.BytesIO()]
    image.save(streams[0], "PNG")
    image.putpixel((3, 2), other)
    image.save(streams[1], "PNG")
    inputs = tuple(Input(str(number), stream.getvalue()) for number, stream in enumerate(streams))
    blank, image = scan_block(ScanTask(MemoryBlock(inputs, "")), PREPARATION).records
    assert (blank.reason, image.reason) == ("blank", None)


@pytest.mark.parametrize(
    ("path", "data", "reason"),
    [
        ("shard/0001.json", b'{"caption": "a cat"}', "side_file"),
        ("0001.cls", b"7", "side_file"),
        ("0001.txt", b"", "side_file"),
        ("README", b"Read me.", "side_file"),
        ("LICENSE.md", b"MIT", "side_file"),
        ("features.npy", b"\x93NUMPY\x01\x00", "side_file"),
        # The content decides first: a broken picture does not become a side file, nor a picture with another name.
        ("0001.jpg", b"text", "not_an_image"),
        ("0001", b"text", "not_an_image"),
        ("0001.png", b"", "empty"),
        ("0001.txt", hostile.png(1), None),
        ("0001.txt", hostile.png(1)[:-300], "truncated"),
        ("pointer.txt", b"version https://git-lfs.github.com/spec/v1\n", "lfs_pointer"),
    ],
    ids=lambda value: "data" if isinstance(value, bytes) else value,
)
def test_file_beside_images_is_a_side_file(path, data, reason):
    (record,) = scan_block(ScanTask(MemoryBlock((Input(path, data),), "")), PREPARATION).records
    assert record.reason == reason


def test_large_file_beside_images_is_a_side_file(tmp_path):
    for name in ("captions.csv", "photo.jpg"):
        (tmp_path / name).write_bytes(bytes(1001))
    (block,) = open_source(str(tmp_path), Path("/"), Limits(1000, 10)).blocks(9)
    assert [record.reason for record in scan_block(ScanTask(block), PREPARATION).records] == ["side_file", "too_large"]


def test_manifest_has_one_row_for_each_input(manifest):
    assert sorted(manifest.index) == sorted(case.path for case in messy.CASES)


@pytest.mark.parametrize("path", messy.CORNERS)
def test_odd_files_are_decoded_correctly(scanned, path):
    # After the crop and the resize, the middles of the quadrants still have their colours.
    assert messy.corner_error(path, from_pixels(scanned[1][path])) <= 3


def test_the_upright_size_is_recorded(manifest):
    for path, (size, _) in messy.CORNERS.items():
        assert (manifest.loc[path, "width"], manifest.loc[path, "height"]) == size


def test_truncated_image_has_a_thumbnail(scanned):
    truncated = next(record for record in scanned[0] if record.path == "bad/truncated_50.jpg")
    thumbnail = np.asarray(Image.open(io.BytesIO(truncated.thumbnail)))
    assert thumbnail.std() > 5


def test_changed_file_has_another_hash(tmp_path):
    # Zeroed scan data decodes without an error: only the hash differs.
    data = messy.contents()
    path = "bad/zeroed_middle.jpg"
    block = partial(open_source, project=Path("/"), limits=Limits(10**8, 10))
    hashes = []
    for content in (data[path], data[path].replace(bytes(20), bytes(19) + b"\1", 1)):
        (tmp_path / "a.jpg").write_bytes(content)
        hashes.append(scan_block(ScanTask(next(block(str(tmp_path)).blocks(1))), PREPARATION).records[0].sha256)
    assert hashes[0] != hashes[1]


@pytest.mark.parametrize("mode", ["P_trns.png", "RGBA_hidden_magenta.png"])
def test_the_background_is_the_configured_one(mode):
    from kedro_dcgan.data.decode import open_image, read_pixels

    pixels, _ = read_pixels(open_image(messy.contents()[f"modes/{mode}"], 10**6), (0, 0, 200))
    assert pixels[len(pixels) // 4, 3 * pixels.shape[1] // 4].tolist() == [0, 0, 200]
