"""Fixtures of the explorer's tests."""

import pytest
from browser import Browser
from explorer_page import CLASSES, PLAIN, Page


@pytest.fixture(scope="module")
def browser():
    made = Browser(1300, 1000)
    made.driver.set_script_timeout(120)
    yield made
    made.close()


@pytest.fixture(scope="module")
def pages(browser, tmp_path_factory):
    made = {}

    def page(config):
        if id(config) not in made:
            made[id(config)] = Page(browser, config, tmp_path_factory.mktemp("page"))
        made[id(config)].open()
        return made[id(config)]

    return page


@pytest.fixture
def plain(pages):
    return pages(PLAIN)


@pytest.fixture
def classes(pages):
    return pages(CLASSES)
