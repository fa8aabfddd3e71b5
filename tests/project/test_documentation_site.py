"""The documentation site in a browser, opened from the disk."""

import subprocess
import sys

import pytest
from browser import CHROMIUM, DRIVER, Browser
from projects import ROOT, require_program

pytestmark = [pytest.mark.slow, require_program("chromium", CHROMIUM and DRIVER)]

PHONE = 390


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documentation") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return folder


@pytest.fixture(scope="module")
def browser():
    made = Browser(1300, 900)
    yield made
    made.close()


def test_search_finds_a_page_without_a_server(browser, site):
    browser.open((site / "index.html").as_uri())
    field = browser.wait(lambda driver: driver.find_element("css selector", "input.md-search__input"))
    browser.wait(lambda _: field.is_displayed() or None)
    field.click()
    field.send_keys("power cut")

    def titles(driver):
        return [found.text for found in driver.find_elements("css selector", ".md-search-result__item h1")]

    assert "Stop and resume a training" in browser.wait(titles)


def test_pages_fit_a_phone(browser, site):
    phone = {"width": PHONE, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 50
    wide = []
    for page in pages:
        browser.open(page.as_uri())
        if browser.driver.execute_script("return document.documentElement.scrollWidth") > PHONE:
            wide.append(page.name)
    assert wide == []
