"""The documentation: its links, and pages that can be read in one sitting."""

import subprocess
import sys

import pytest
from projects import ROOT

PAGES = sorted((ROOT / "docs").rglob("*.md"))
# Words of a page, as `wc -w` counts them. A longer page is two pages.
MOST_WORDS = 1200
MOST_WORDS_OF_README = 700


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_page_is_not_too_long(page):
    assert len(page.read_text().split()) <= MOST_WORDS


def test_readme_is_not_too_long():
    assert len((ROOT / "README.md").read_text().split()) <= MOST_WORDS_OF_README


def test_site_has_every_page_and_no_dead_link(tmp_path):
    # Strict: a page that is not in the navigation is an error, too.
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "site/search/search_index.json").exists()


def test_site_loads_nothing_from_other_servers(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    loaded = [
        line
        for page in (tmp_path / "site").rglob("*.html")
        for line in page.read_text().splitlines()
        if ("<script" in line or "<link" in line or "<img" in line) and ('src="http' in line or 'href="http' in line)
    ]
    assert loaded == []
