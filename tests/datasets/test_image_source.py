import os
from pathlib import Path

import pytest
from PIL import Image

from kedro_dcgan.datasets import ImageSourceDataset
from kedro_dcgan.errors import SourceError


def test_image_source_lists_regular_files_only(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("b/2.png", "a.jpg", ".hidden"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "link.png").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe.png")
    source = ImageSourceDataset(tmp_path).load().open(str(tmp_path))
    assert source.paths() == ["a.jpg", "b/2.png"]
    assert source.read("b/2.png") == b"x"


def test_image_source_knows_a_name_that_is_not_utf8_by_its_escaped_form(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).write_bytes(b"x")
    source = ImageSourceDataset(tmp_path).load().open(".")
    assert source.paths() == ["caf\\xe9.jpg"]
    assert source.read("caf\\xe9.jpg") == b"x"


def test_image_source_names_a_file_of_another_source(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(SourceError, match="must be the one that was ingested"):
        ImageSourceDataset(tmp_path).load().open(".").read("b.jpg")


def test_image_source_writes_the_embedded_digits_once(tmp_path):
    sources = ImageSourceDataset(tmp_path).load()
    assert len(sources.open("data/01_raw/digits").paths()) == 1797
    first = tmp_path / "data/01_raw/digits/0/0000.png"
    written = first.stat().st_mtime_ns
    assert Image.open(first).size == (8, 8)
    sources.open("data/01_raw/digits")
    assert first.stat().st_mtime_ns == written


@pytest.mark.parametrize(("make", "problem"), [("nothing", "nothing there"), ("file", "a file"), ("folder", "empty")])
def test_image_source_names_what_is_wrong(tmp_path, make, problem):
    path = tmp_path / "images"
    if make == "file":
        path.touch()
    if make == "folder":
        path.mkdir()
    with pytest.raises(SourceError, match=rf"`ingestion.source` must be .*images, {problem}\)"):
        ImageSourceDataset(tmp_path).load().open("images")
