"""The licence and the web page of images: which ones are known, and which value comes first."""

from pathlib import Path

import pytest
import yaml

from kedro_dcgan.config import IngestionParameters
from kedro_dcgan.data.origin import UNKNOWN, Origin, origin_of
from kedro_dcgan.data.sources.builtin import DIGITS, PARTS

FILE = Path(__file__).parents[2] / "conf/base/parameters_ingestion.yml"
OWN = Origin("CC0-1.0", "https://photos.org/")


def ingestion(source, licence=None, url=None):
    values = yaml.safe_load(FILE.read_text())["ingestion"]
    return IngestionParameters(**values | {"source": source, "licence": licence, "source_url": url})


@pytest.mark.parametrize("source", [DIGITS, f"./{DIGITS}", f"{DIGITS}/"])
def test_the_digits_have_the_licence_of_their_publisher(source):
    assert origin_of(source, ingestion(source)) == Origin("CC-BY-4.0", "https://doi.org/10.24432/C50P49")


@pytest.mark.parametrize("source", ["photos", "/elsewhere/digits", "photos/data/01_raw/digits", "torchvision:Unknown"])
def test_another_source_does_not_inherit_the_licence_of_the_digits(source):
    assert origin_of(source, ingestion(source)) == UNKNOWN


@pytest.mark.parametrize("name", PARTS)
def test_every_torchvision_dataset_has_a_web_page(name):
    origin = origin_of(f"torchvision:{name}", ingestion(f"torchvision:{name}"))
    assert origin.url.startswith("http")
    assert origin.licence == {"FashionMNIST": "MIT", "KMNIST": "CC-BY-SA-4.0"}.get(name)


def test_parameters_come_before_stored_values_and_these_before_known_ones():
    stored = Origin(None, "https://stored.org/")
    assert origin_of(DIGITS, ingestion(DIGITS), stored) == Origin("CC-BY-4.0", "https://stored.org/")
    assert origin_of(DIGITS, ingestion(DIGITS, "MIT"), stored) == Origin("MIT", "https://stored.org/")
    assert origin_of(DIGITS, ingestion(DIGITS, *OWN.__dict__.values()), stored) == OWN


def test_parameters_of_another_source_are_ignored():
    assert origin_of("photos", ingestion("drawings", "MIT", "https://drawings.org/"), OWN) == OWN
    assert origin_of("photos", ingestion(DIGITS)) == UNKNOWN


def test_parameters_that_are_not_given_keep_what_was_given_at_the_ingestion():
    assert origin_of("photos", ingestion("photos"), OWN) == OWN
