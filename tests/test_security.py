"""The package must not execute code from data."""

import re
from pathlib import Path

import pytest

SOURCES = sorted((Path(__file__).parents[1] / "src").rglob("*.py"))
FORBIDDEN = re.compile(
    r"\bimport (pickle|joblib|dill|cloudpickle|shelve)\b|pickle\.load|yaml\.load\(|weights_only=False|"
    r"allow_pickle=True|\beval\(\"|\bexec\(|extractall|shell=True"
)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_package_does_not_execute_code_from_data(source):
    text = source.read_text()
    assert not FORBIDDEN.search(text)
    # torch.load() must never unpickle arbitrary objects.
    assert text.count("torch.load(") == text.count("weights_only=True")
