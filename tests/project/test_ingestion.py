"""Ingestion of a user's own folder with the real command: verdicts, reports, and resuming after a kill."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import hostile
import messy
import pandas as pd
import pytest
from PIL import Image
from projects import copy_project


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    """The project after the ingestion of a folder of odd files, with the output of the command."""
    folder = tmp_path_factory.mktemp("dataset")
    project = copy_project(folder / "kedro-dcgan")
    messy.build(folder / "odd files")
    parameters = f"ingestion.source={folder / 'odd files'},ingestion.min_size=64,preprocessing.channels=3"
    project.options = (
        "--params",
        f"{parameters},ingestion.near_duplicates.action=skip,ingestion.near_duplicates.most_bits=4",
    )
    project.output = project.kedro("run", "--pipelines=ingestion,preprocessing", *project.options).stdout
    return project


def test_manifest_lists_odd_files_with_reasons(ingested):
    manifest = pd.read_parquet(ingested.path / "data/02_intermediate/manifest.parquet")
    assert len(manifest) == len(messy.CASES)
    assert f"{len(messy.CASES)} images scanned" in ingested.output
    assert manifest["reason"].value_counts()["link"] == 5
    assert manifest["reason"].value_counts()["near_duplicate"] > 5
    assert "(5 link" in ingested.output or ", 5 link" in ingested.output


def test_report_names_each_reason_and_embeds_images(ingested):
    page = (ingested.path / "data/08_reporting/dataset.html").read_text()
    for reason in ("truncated", "lfs_pointer", "too_many_pixels", "near_duplicate"):
        assert f"<code>{reason}</code>" in page
    assert page.count("data:image/png;base64,") == 3


def test_report_node_run_alone_reproduces_the_report(ingested):
    page = ingested.path / "data/08_reporting/dataset.html"
    before = page.read_text()
    page.unlink()
    ingested.kedro("run", "--pipelines=ingestion", "--nodes=report_dataset", *ingested.options)
    assert page.read_text() == before


def test_contact_sheets_are_images(ingested):
    for name in ("accepted_images", "skipped_images", "image_sizes"):
        picture = Image.open(ingested.path / f"data/08_reporting/{name}.png")
        assert min(picture.size) > 100


def test_kedro_viz_previews_have_supported_types(ingested):
    import inspect

    from kedro_dcgan.datasets import PageDataset, PictureDataset, TableDataset

    reporting = ingested.path / "data/08_reporting"
    kinds = {
        "ImagePreview": PictureDataset(reporting / "skipped_images.png", "pillow.ImageDataset"),
        "HTMLPreview": PageDataset(reporting / "dataset.html"),
        "TablePreview": TableDataset(ingested.path / "data/02_intermediate/manifest.parquet", "pandas.ParquetDataset"),
    }
    for kind, dataset in kinds.items():
        assert inspect.signature(dataset.preview).return_annotation.__name__ == kind
        assert dataset.preview()


def many_pictures(folder, count):
    folder.mkdir()
    data = [hostile.png(seed, 128) for seed in range(20)]
    for number in range(count):
        # Bytes after the end of a PNG make the files differ, but not the images.
        (folder / f"{number:05d}.png").write_bytes(data[number % 20] + str(number).encode())


def test_concurrent_ingestion_is_rejected_and_killed_ingestion_resumes(tmp_path):
    project = copy_project(tmp_path / "kedro-dcgan")
    many_pictures(tmp_path / "many", 5_000)
    parameters = f"ingestion.source={tmp_path / 'many'},preprocessing.shard_megabytes=1,ingestion.workers=2"
    command = [Path(sys.executable).with_name("kedro"), "run", "--pipelines=ingestion", "--params", parameters]
    first = subprocess.Popen(command, cwd=project.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    incomplete = project.path / "data/03_primary/.shards.incomplete"
    while len(list(incomplete.glob("*.json"))) < 2:
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)
    second = project.kedro("run", "--pipelines=ingestion", "--params", parameters, check=False)
    first.kill()
    first.wait()
    assert second.returncode == 1
    assert "must not be written to by two runs at once" in second.stderr
    assert f"process {first.pid}, `kedro run --pipelines=ingestion" in second.stderr

    third = project.kedro("run", "--pipelines=ingestion", "--params", parameters)
    assert "resuming after" in third.stdout
    assert "5,000 images scanned · 5,000 accepted" in third.stdout
    assert not incomplete.exists()
    # The workers of the killed run end.
    deadline = time.monotonic() + 20
    while any(str(project.path) in line for line in _loky_workers()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(str(project.path) in line for line in _loky_workers())


def _loky_workers():
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            if "loky" in " ".join(process.cmdline()):
                found.append(process.cwd())
        except psutil.Error:
            continue
    return found
