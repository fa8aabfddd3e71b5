"""The licence and the web page of images: which ones are known, and which value comes first."""

import hashlib
from pathlib import Path

import pandas as pd
import pytest
import yaml

from kedro_dcgan.config import IngestionParameters
from kedro_dcgan.data.origin import UNKNOWN, Origin, origin_of
from kedro_dcgan.data.sources.builtin import DIGITS, PARTS, write_digits

FILE = Path(__file__).parents[2] / "conf/base/parameters_ingestion.yml"
OWN = Origin("CC0-1.0", "https://photos.org/")


def ingestion(source, licence=None, url=None):
    values = yaml.safe_load(FILE.read_text())["ingestion"]
    return IngestionParameters(**values | {"source": source, "licence": licence, "source_url": url})


def manifest_of(hashes):
    return pd.DataFrame({"sha256": pd.Series(hashes, dtype="string")})


OTHERS = manifest_of(["1" * 64, None])


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The hashes of the files of the digits."""
    folder = tmp_path_factory.mktemp("raw") / "digits"
    write_digits(folder)
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.rglob("*.png")]


@pytest.mark.parametrize("source", [DIGITS, f"./{DIGITS}", "/elsewhere/digits.zip"])
def test_the_digits_have_the_licence_of_their_publisher(digits, source):
    origin = origin_of(source, manifest_of(digits), ingestion(source))
    assert origin == Origin("CC-BY-4.0", "https://doi.org/10.24432/C50P49")


def test_other_images_in_the_folder_of_the_digits_do_not_inherit_their_licence(digits):
    for hashes in (["1" * 64], digits[:-1], [*digits, "1" * 64], [*digits[:-1], "1" * 64]):
        assert origin_of(DIGITS, manifest_of(hashes), ingestion(DIGITS)) == UNKNOWN


@pytest.mark.parametrize("name", PARTS)
def test_every_torchvision_dataset_has_a_web_page(name):
    origin = origin_of(f"torchvision:{name}", OTHERS, ingestion(f"torchvision:{name}"))
    assert origin.url.startswith("http")
    assert origin.licence == {"FashionMNIST": "MIT", "KMNIST": "CC-BY-SA-4.0"}.get(name)


@pytest.mark.parametrize("source", ["photos", "torchvision:Unknown"])
def test_other_sources_are_unknown(source):
    assert origin_of(source, OTHERS, ingestion(source)) == UNKNOWN


def test_parameters_come_before_known_values(digits):
    known = manifest_of(digits)
    assert origin_of(DIGITS, known, ingestion(DIGITS, "MIT")) == Origin("MIT", "https://doi.org/10.24432/C50P49")
    assert origin_of(DIGITS, known, ingestion(DIGITS, *OWN.__dict__.values())) == OWN


def test_parameters_of_the_same_source_replace_stored_values():
    assert origin_of("photos", OTHERS, ingestion("./photos", "MIT"), OWN) == Origin("MIT")
    assert origin_of("photos", OTHERS, ingestion("photos"), OWN) == UNKNOWN


def test_parameters_of_another_source_are_ignored():
    assert origin_of("photos", OTHERS, ingestion("drawings", "MIT", "https://drawings.org/"), OWN) == OWN
    assert origin_of("photos", OTHERS, ingestion(DIGITS)) == UNKNOWN
