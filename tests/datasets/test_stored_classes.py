"""Labels of the manifest become classes of the prepared images, stored beside the rows of the splits."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import hostile
import numpy as np
import pandas as pd
import pytest
import yaml
from dataset_errors import raises_dataset_error

from kedro_dcgan.config import IngestionParameters
from kedro_dcgan.data.manifest import COLUMNS, complete_manifest
from kedro_dcgan.data.scan import ScanTask, scan_block
from kedro_dcgan.data.shard_writer import Scan
from kedro_dcgan.data.shards import Classes, select
from kedro_dcgan.data.sources import Limits, open_source
from kedro_dcgan.data.transforms import Crop, Preparation
from kedro_dcgan.datasets import ImageShardsDataset, ImageSourceDataset, PreparedImagesDataset
from kedro_dcgan.errors import DataError
from kedro_dcgan.pipelines.ingestion.nodes import build_manifest
from kedro_dcgan.storage import sha256_of
from kedro_dcgan.stored_files import read_json, write_json

PREPARATION = Preparation(16, 1, "bicubic", Crop(), (255, 255, 255), 16, 10**6, 10**7)
COUNT = 48


def stored_in(folder, label_of):
    """Scan pictures into shards; return them with their manifest."""
    for number in range(COUNT):
        file = folder / "pictures" / label_of(number) / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(hostile.png(number, 20))
    source = open_source(str(folder / "pictures"), Path("/"), Limits(10**7, 10**5))
    run = lambda blocks, done: (scan_block(ScanTask(block), preparation=PREPARATION) for block in blocks)  # noqa: E731
    scan = Scan("pictures", PREPARATION, 32, COUNT, partial(source.blocks, 8), run)
    ImageShardsDataset(folder / "shards").save(scan)
    shards = ImageShardsDataset(folder / "shards").load()
    return shards, complete_manifest(shards.read_records([name for name in COLUMNS if name != "split"]), 0.5, 0.25)


@pytest.fixture
def stored(tmp_path):
    shards, manifest = stored_in(tmp_path, lambda number: f"class {7 + number % 5}")
    images = select(shards, manifest, "transform")
    dataset = PreparedImagesDataset(tmp_path / "images", "shards")
    dataset.save(images)
    return dataset, images, manifest


def test_classes_are_in_natural_order_and_belong_to_their_images(stored):
    _, images, manifest = stored
    assert images.classes.names == ("class 7", "class 8", "class 9", "class 10", "class 11")
    labels = manifest.dropna(subset=["row"]).set_index("row")["label"]
    for split, rows in images.rows.items():
        assert len(rows) > 0
        assert [images.classes.names[number] for number in images.classes.labels[split]] == labels[rows].tolist()
    counts = images.classes.counts("train")
    assert images.class_counts() == counts.tolist()
    assert counts.sum() == images.count("train")


def test_a_table_replaces_the_labels_of_folders(tmp_path, stored):
    shards, sources = ImageShardsDataset(tmp_path / "shards").load(), ImageSourceDataset(tmp_path).load()
    (tmp_path / "labels.csv").write_text("filename,class\n" + "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(40)))
    values = yaml.safe_load((Path(__file__).parents[2] / "conf/base/parameters_ingestion.yml").read_text())["ingestion"]
    values["near_duplicates"]["action"] = "keep"
    labels = build_manifest(sources, shards, IngestionParameters(**values))["label"]
    assert set(labels) == {f"class {number}" for number in range(7, 12)}
    manifest = build_manifest(sources, shards, IngestionParameters(**values | {"labels": "labels.csv"}))
    for path, label in zip(manifest["path"], manifest["label"], strict=True):
        number = int(Path(path).stem)
        assert pd.isna(label) if number >= 40 else label == "ab"[number % 2]


def test_stored_classes_are_read_back(stored):
    dataset, images, _ = stored
    read = dataset.load()
    assert read.digest == images.digest
    assert read.classes.names == images.classes.names
    for split, labels in images.classes.labels.items():
        assert np.array_equal(read.classes.labels[split], labels)
        assert read.classes.labels[split].dtype == np.int64


def test_the_digest_of_the_classes_depends_on_labels_and_names(tmp_path, stored):
    _, images, manifest = stored
    shards = ImageShardsDataset(tmp_path / "shards").load()
    swapped = manifest["label"].replace({"class 7": "class 8", "class 8": "class 7"})
    labels = (swapped, manifest["label"].str.replace("class", "kind"), "cat", None)
    others = [select(shards, manifest.assign(label=label), "transform") for label in labels]
    # That of the images does not.
    assert {other.digest for other in others} == {images.digest}
    assert others[3].classes is None
    digests = {one.classes.digest() for one in (images, *others[:3])}
    assert len(digests) == 4


def test_a_conditional_generator_needs_its_own_classes(stored):
    _, images, _ = stored
    images.require_classes(())
    images.require_classes(images.classes.names)
    for names in (images.classes.names[1:], [*images.classes.names[:-1], "owl"], images.classes.names[::-1]):
        with pytest.raises(DataError, match="current classes"):
            images.require_classes(names)
    with pytest.raises(DataError, match="now 0; they differ in cat"):
        replace(images, classes=None).require_classes(["cat"])


def test_images_have_no_classes_unless_each_has_a_label(tmp_path, stored):
    _, _, manifest = stored
    shards = ImageShardsDataset(tmp_path / "shards").load()
    manifest.loc[manifest["split"] == "test", "label"] = None
    images = select(shards, manifest, "transform")
    assert images.classes is None
    assert images.class_counts() == []
    dataset = PreparedImagesDataset(tmp_path / "others", "shards")
    dataset.save(images)
    assert dataset.load().classes is None
    assert not list((tmp_path / "others").glob("*labels*"))


def test_a_class_may_be_missing_in_a_split():
    classes = Classes(("a", "b", "c"), {"train": np.array([0, 2, 2]), "test": np.array([], np.int64)})
    assert classes.counts("train").tolist() == [1, 0, 2]
    assert classes.counts("test").tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "fault", ["missing", "other bytes", "swapped", "too many", "too few", "no such class", "floats"]
)
def test_damaged_labels_are_refused(stored, fault):
    dataset, images, _ = stored
    file, labels = dataset.path / "train_labels.npy", images.classes.labels["train"]
    changed = {
        "too many": np.append(labels, 0),
        "too few": labels[1:],
        "no such class": np.full_like(labels, 5),
        "floats": labels.astype(np.float64),
    }
    match fault:
        case "missing":
            file.unlink()
        case "other bytes":
            file.write_bytes(file.read_bytes()[:-1] + b"\x01")
        case "swapped":
            (dataset.path / "test_labels.npy").rename(file)
        case _:
            # With the right hash.
            np.save(file, changed[fault])
            index = read_json(dataset.path / "index.json", dict, "")
            index["labels_sha256"]["train"] = sha256_of(file)
            write_json(dataset.path / "index.json", {key: value for key, value in index.items() if key != "checksum"})
    with raises_dataset_error(DataError, "train_labels.npy"):
        dataset.load()
