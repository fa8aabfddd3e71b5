"""The documentation: its links, and pages that can be read in one sitting."""

import re
import subprocess
import sys

import pytest
from projects import ROOT

PAGES = sorted((ROOT / "docs").rglob("*.md"))
# Words of a page, as `wc -w` counts them. A longer page is two pages.
MOST_WORDS = 1200
MOST_WORDS_OF_README = 700


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built in strict mode: a dead link, or a page that is not in the navigation, is an error."""
    folder = tmp_path_factory.mktemp("documentation") / "site"
    # Without --quiet: it also hides faults from strict mode.
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_page_is_not_too_long(page):
    assert len(page.read_text().split()) <= MOST_WORDS


def test_readme_is_not_too_long():
    assert len((ROOT / "README.md").read_text().split()) <= MOST_WORDS_OF_README


def test_site_has_every_page(site):
    assert [page for page in PAGES if not (site / page.relative_to(ROOT / "docs").with_suffix(".html")).exists()] == []


def test_site_loads_nothing_from_other_servers(site):
    tags = [
        tag
        for page in site.rglob("*.html")
        for tag in re.findall(r"<(?:script|link|img|iframe)[^>]*>", page.read_text())
    ]
    assert tags
    # `canonical` and the like load nothing.
    assert [tag for tag in tags if re.search(r'(src|href)="?(https?:)?//', tag) and 'rel="canonical"' not in tag] == []
