"""A headless browser: Debian's chromium, driven by Selenium."""

import shutil
import tempfile

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


class Browser:
    """A browser with one page. `arguments` are more options of its command line."""

    def __init__(self, width=1500, height=1100, arguments=()):
        self._profile = tempfile.TemporaryDirectory()
        options = Options()
        options.binary_location = CHROMIUM
        for argument in (
            "--headless=new",
            # Its sandbox does not work for root, and a container has little shared memory.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            f"--window-size={width},{height}",
            f"--user-data-dir={self._profile.name}",
            *arguments,
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options, Service(DRIVER))

    def open(self, address):
        """Open a page."""
        self.driver.get(address)

    def wait(self, holds, seconds=60):
        """Wait until a function of the driver returns a true value; return that value."""
        return WebDriverWait(self.driver, seconds).until(lambda _: holds(self.driver))

    def text(self):
        """Return the visible text of the page."""
        return self.driver.execute_script("return document.body.innerText")

    def wait_for_text(self, *texts, seconds=60):
        """Wait until the page contains all texts."""
        self.wait(lambda _: all(text in self.text() for text in texts), seconds)

    def save(self, path):
        """Save a screenshot as PNG."""
        self.driver.save_screenshot(str(path))

    def close(self):
        """Close the browser and delete its profile."""
        self.driver.quit()
        self._profile.cleanup()
