"""The Croissant card of a real prepared dataset, validated and loaded by mlcroissant."""

import json
import os
import warnings
from pathlib import Path

import hostile
import mlcroissant
import pytest
import yaml
from dataset_errors import raises_dataset_error

from kedro_dcgan.config import IngestionParameters, PreprocessingParameters
from kedro_dcgan.data.origin import UNKNOWN, Origin
from kedro_dcgan.data.shards import StoredShard
from kedro_dcgan.datasets import (
    DatasetCardDataset,
    ImageShardsDataset,
    ImageSourceDataset,
    ManifestDataset,
    PreparedImagesDataset,
)
from kedro_dcgan.errors import DataError
from kedro_dcgan.pipelines.ingestion.nodes import build_manifest, scan_images
from kedro_dcgan.pipelines.preprocessing.nodes import prepare_images
from kedro_dcgan.reports.dataset_card import CardFiles, DatasetCard, write_card
from kedro_dcgan.storage import sha256_of

ROOT = Path(__file__).parents[2]
LICENCE, PAGE = "CC-BY-4.0", "https://photos.org/?id=1&page=2"
# Labels with a line break, quotes, and bytes that are not UTF-8.
LABELS = (b"cats", b"two\nlines", b'"@id": {}', b"\xff\xfe")


def base(group, **values):
    return yaml.safe_load((ROOT / f"conf/base/parameters_{group}.yml").read_text())[group] | values


def parameters(**values):
    preprocessing = PreprocessingParameters(**base("preprocessing", image_size=16))
    return IngestionParameters(**base("ingestion", source="photos", workers=1, **values)), preprocessing


class Project:
    """The part of a project that ingestion and preprocessing write."""

    def __init__(self, root):
        self.root = root
        catalog = yaml.safe_load((ROOT / "conf/base/catalog.yml").read_text())
        self.sources, self.shards = ImageSourceDataset(root), ImageShardsDataset(root / catalog["image_shards"]["path"])
        entry = catalog["manifest"]
        self.manifest = ManifestDataset(root / entry["filepath"], entry["dataset"])
        self.images = PreparedImagesDataset(root / catalog["images"]["path"], "shards")
        entry = catalog["dataset_card"]
        self.card = DatasetCardDataset(root / entry["filepath"], entry["manifest"], entry["shards"])

    def ingest(self, **values):
        ingestion, preprocessing = parameters(**values)
        self.shards.save(scan_images(self.sources.load(), ingestion, preprocessing))
        self.manifest.save(build_manifest(self.sources.load(), self.shards.load(), ingestion))

    def prepare(self, **values):
        images, card = prepare_images(self.shards.load(), self.manifest.load(), *parameters(**values))
        self.images.save(images)
        self.card.save(card)
        return json.loads(self.card.path.read_text())

    def croissant(self):
        """Return the card as mlcroissant reads it; it raises an error for an invalid one."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return mlcroissant.Dataset(str(self.card.path))


def write_photos(root, labels=LABELS):
    for number in range(24):
        folder = root / "photos" / os.fsdecode(labels[number % len(labels)])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(hostile.png(number, 20))
    (root / "photos/broken.png").write_bytes(hostile.png(99, 20)[:60])
    (folder / "again.png").write_bytes(hostile.png(23, 20))
    (root / "photos/empty.png").write_bytes(b"")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("project"))
    write_photos(project.root)
    project.ingest(licence=LICENCE, source_url=PAGE)
    project.prepare(licence=LICENCE, source_url=PAGE)
    return project


def test_the_card_is_valid_and_has_the_facts_of_the_dataset(made):
    metadata, images = made.croissant().metadata, made.images.load()
    # Nobody knows when the images were published, and how to cite them.
    recommended = {warning.partition('"')[2].partition('"')[0] for warning in metadata.ctx.issues.warnings}
    assert not metadata.ctx.issues.errors
    assert recommended == {"https://schema.org/datePublished", "http://mlcommons.org/croissant/citeAs"}
    assert (metadata.name, metadata.license, metadata.url) == ("photos", [LICENCE], PAGE)
    assert metadata.version.endswith(f"+{images.digest}")
    manifest = made.manifest.load()
    accepted = int((manifest["verdict"] == "accepted").sum())
    facts = [f"{accepted} accepted", f"{len(manifest) - accepted} skipped", "16x16", f"test {images.count('test')}"]
    assert all(fact in metadata.description for fact in facts)


def test_records_are_those_of_the_manifest(made):
    manifest = made.manifest.load().astype(object)
    records = [
        {
            field.removeprefix("images/"): value.decode() if isinstance(value, bytes) else value
            for field, value in one.items()
        }
        for one in made.croissant().records("images")
    ]
    assert {"path", "sha256", "label", "split", "width", "height", "format"} <= records[0].keys()
    assert records == manifest[list(records[0])].where(manifest.notna(), None).to_dict("records")
    assert set(manifest["verdict"]) == {"accepted", "skipped"}


def test_labels_and_splits_are_enumerations(made):
    card = made.croissant()
    assert [record["labels/name"] for record in card.records("labels")] == list(made.images.load().classes.names)
    assert [record["splits/name"] for record in card.records("splits")] == ["train", "validation", "test"]
    types = {one.id: [str(of).rpartition("/")[2] for of in one.data_types] for one in card.metadata.record_sets}
    assert types == {"splits": ["Split"], "labels": ["Enumeration"], "images": []}


def test_files_have_their_hashes(made):
    for file in json.loads(made.card.path.read_text())["distribution"]:
        assert sha256_of(made.card.path.parent / file["contentUrl"]) == file["sha256"]
        assert not file["contentUrl"].startswith("/")


def test_changed_manifest_is_refused_by_its_hash(made, tmp_path):
    (tmp_path / "manifest.parquet").write_bytes(made.manifest.path.read_bytes() + b"x")
    content = json.loads(made.card.path.read_text())
    content["distribution"][0]["contentUrl"] = "manifest.parquet"
    (tmp_path / "card.json").write_text(json.dumps(content))
    with pytest.raises(mlcroissant.GenerationError) as caught:
        next(iter(mlcroissant.Dataset(str(tmp_path / "card.json")).records("images")))
    assert "Hash" in str(caught.value.__cause__)


def test_equal_data_give_equal_cards_without_paths_of_the_machine(made, tmp_path):
    other = Project(tmp_path / "elsewhere")
    write_photos(other.root)
    other.ingest(licence=LICENCE, source_url=PAGE)
    other.prepare(licence=LICENCE, source_url=PAGE)
    assert other.card.path.read_bytes() == made.card.path.read_bytes()
    assert str(made.root) not in made.card.path.read_text()


def test_card_without_labels_and_licence_is_valid(tmp_path):
    project = Project(tmp_path)
    write_photos(tmp_path, labels=(b".",))
    project.ingest()
    content = project.prepare()
    assert not {"license", "url"} & content.keys()
    assert not project.croissant().metadata.ctx.issues.errors
    assert [one["@id"] for one in content["recordSet"]] == ["splits", "images"]
    assert len(list(project.croissant().records("images"))) == len(project.manifest.load())


def test_another_licence_changes_the_card_but_not_the_images(tmp_path):
    project = Project(tmp_path)
    write_photos(tmp_path)
    project.ingest()
    project.prepare()
    first, shards = project.images.load(), {file: file.stat() for file in project.shards.path.iterdir()}
    assert first.origin == UNKNOWN
    content = project.prepare(licence="CC0-1.0", source_url=PAGE)
    second = project.images.load()
    assert (content["license"], content["url"]) == ("CC0-1.0", PAGE)
    assert (second.origin, second.digest) == (Origin("CC0-1.0", PAGE), first.digest)
    assert {file: file.stat() for file in project.shards.path.iterdir()} == shards


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"source": "others", "licence": "MIT"}, Origin(LICENCE, PAGE)),
        ({"licence": "MIT"}, Origin("MIT")),
        ({}, UNKNOWN),
    ],
    ids=["another source", "another licence", "null"],
)
def test_the_parameters_of_the_source_replace_the_licence_of_the_ingestion(made, values, expected):
    ingestion, preprocessing = parameters()
    images, card = prepare_images(
        made.shards.load(), made.manifest.load(), ingestion.with_values(values), preprocessing
    )
    assert images.origin == card.origin == expected


def test_indexes_of_earlier_versions_have_no_licence(tmp_path):
    project = Project(tmp_path)
    write_photos(tmp_path)
    project.ingest()
    project.prepare()
    # An unknown origin is not written: these are the files of earlier versions.
    for dataset in (project.shards, project.images):
        assert "origin" not in json.loads((dataset.path / "index.json").read_text())
        assert dataset.load().origin == UNKNOWN


@pytest.mark.parametrize("origin", [{"url": "javascript:alert(1)"}, {"licence": "two\nlines"}, {"other": "x"}])
def test_stored_licence_is_validated(made, tmp_path, origin):
    content = json.loads((made.shards.path / "index.json").read_text())
    del content["checksum"]
    content["origin"] = origin
    (tmp_path / "index.json").write_text(json.dumps(content))
    with raises_dataset_error(DataError, "origin"):
        ImageShardsDataset(tmp_path).load()


def test_card_without_its_manifest_is_not_written(made, tmp_path):
    card = DatasetCardDataset(tmp_path / "card.json", "gone.parquet", "shards")
    with raises_dataset_error(DataError, "gone.parquet"):
        card.save(DatasetCard("x", "x", UNKNOWN, "0" * 16, (), ()))
    assert not card.path.exists()


def test_lone_surrogates_are_replaced():
    card = DatasetCard("a\udc80b", "x", UNKNOWN, "0" * 16, ("c\udc80",), [StoredShard("00000.npy", "1" * 64, None)])
    content = json.loads(write_card(card, CardFiles("m", "2" * 64, "shards")))
    assert content["name"] == "a?b"
