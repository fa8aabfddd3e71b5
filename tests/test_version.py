"""The version has one source, `kedro_dcgan.__version__`; every other place agrees with it."""

import datetime
import re
import tomllib
from pathlib import Path

import yaml
from click.testing import CliRunner

import kedro_dcgan
from kedro_dcgan.cli import cli

ROOT = Path(__file__).parents[1]


def test_package_metadata_take_the_version_from_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert (project["project"]["dynamic"], "version" in project["project"]) == (["version"], False)
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "kedro_dcgan.__version__"}


def test_latest_release_of_the_changelog_and_the_citation_are_this_version():
    unreleased, release, *_ = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert unreleased == "Unreleased"
    version, date = re.fullmatch(r"(\d+\.\d+\.\d+) \((\d{4}-\d{2}-\d{2})\)", release).groups()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert version == citation["version"] == kedro_dcgan.__version__
    assert datetime.date.fromisoformat(date) == datetime.date.fromisoformat(citation["date-released"])


def test_citation_has_the_name_and_licence_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["title"], citation["license"]) == (project["name"], project["license"])


def test_command_prints_the_version():
    shown = CliRunner().invoke(cli.commands["dcgan"], ["--version"])
    assert (shown.exit_code, shown.output.split()) == (0, ["kedro-dcgan", kedro_dcgan.__version__])
