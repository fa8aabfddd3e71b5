"""The explorer's page in a browser, for its tests."""

import time
from dataclasses import replace

import numpy as np
import torch
from networks import generator_config
from selenium.webdriver.common.action_chains import ActionChains

from kedro_dcgan.model.export import exported_program, to_onnx
from kedro_dcgan.model.recipes import build_generator
from kedro_dcgan.model.sampling import generate_all, sample_inputs
from kedro_dcgan.model.saved import TrainedGenerator, snapshot_weights
from kedro_dcgan.reports.explorer import write_explorer_page

PLAIN = generator_config("dcgan", 16, 1, 12, 8)
CLASSES = replace(
    generator_config("dcgan", 32, 3, 12, 4), classes=("3", "cat", "sea lion"), class_shares=(0.2, 0.5, 0.3)
)
UNIFORM = replace(PLAIN, latents="uniform")
# Reads the pixels of a canvas as (H, W, 4).
PIXELS = """
const canvas = document.querySelector(arguments[0]);
return Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data);
"""


def network_of(config):
    """A generator whose images use the whole range, and depend on latents and classes."""
    network = build_generator(config).eval()
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            torch.nn.init.normal_(weight, 0, 0.2, generator=source) if weight.ndim > 1 else None
        images = network(sample_inputs(16, config, 0))
    assert 0.2 < images.std() < 0.95
    return network


class Page:
    """The page of a generator in a browser."""

    def __init__(self, browser, config, folder):
        self.browser, self.driver, self.network, self.config = browser, browser.driver, network_of(config), config
        trained = TrainedGenerator(config, snapshot_weights(self.network), "0123", 64, {"dataset": "shapes"})
        self.html = write_explorer_page(trained, to_onnx(exported_program(self.network), trained))
        self.file = folder / "explorer.html"
        self.file.write_text(self.html, encoding="utf-8")

    def open(self, fragment=""):
        # The browser does not reload an address that differs only after the #.
        self.browser.open("about:blank")
        self.browser.open(f"{self.file.as_uri()}{fragment}")
        self.wait_until_ready()

    def wait_until_ready(self):
        self.browser.wait(lambda driver: driver.execute_script("return Boolean(window.explorer)"), 90)

    def run(self, script, *arguments):
        """Return the value of an asynchronous expression of the page."""
        given = "const [...given] = arguments, done = given.pop();"
        call = f"{given} (async () => {script})().then(done, error => done(String(error)))"
        return self.driver.execute_async_script(call, *arguments)

    def element(self, selector):
        return self.driver.find_element("css selector", selector)

    def image(self, selector="#current"):
        """Return the pixels of a canvas, uint8 (C, H, W)."""
        size, channels = self.config.image_size, self.config.channels
        values = self.driver.execute_script(PIXELS, selector)
        if len(values) != 4 * size * size:
            # Nothing has been painted yet.
            return np.zeros((channels, size, size))
        pixels = np.array(values, np.uint8).reshape(size, size, 4)
        assert (pixels[..., 3] == 255).all()
        return pixels[..., :channels].transpose(2, 0, 1)

    def move(self, slider, value):
        self.driver.execute_script(
            "const slider = document.getElementById(arguments[0]); slider.value = arguments[1];"
            "for (const type of ['input', 'change']) slider.dispatchEvent(new Event(type, {bubbles: true}))",
            slider,
            value,
        )

    def caption(self):
        return self.element("#caption").text

    def emulate(self, width=None, touch=False):
        """Emulate a screen of this width, of a phone or tablet if `touch`; without a width, end that."""
        sizes = {"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": touch}
        command = "set" if width else "clear"
        self.driver.execute_cdp_cmd(f"Emulation.{command}DeviceMetricsOverride", sizes if width else {})
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": touch})

    def wait_for_message(self, text):
        self.browser.wait(lambda _: text in self.element("#status").text, 20)

    def expected(self, inputs):
        """Return PyTorch's images of inputs, uint8 (N, C, H, W)."""
        return generate_all(self.network, inputs.reshape(-1, self.config.input_dim)).numpy()

    def samples(self, count, label=0):
        return sample_inputs(count, self.config, 0, label if self.config.classes else None)

    def wait_for_image(self, inputs, selector="#current"):
        """Wait until a canvas shows the image of an input, within one level."""
        (wanted,) = self.expected(inputs)
        self.browser.wait(lambda _: differ(self.image(selector), wanted) <= 1, 20)

    def download(self, button, folder, ending):
        self.driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder), "eventsEnabled": False}
        )
        self.element(button).click()
        (file,) = self.browser.wait(lambda _: list(folder.glob(f"*{ending}")), 60)
        self.browser.wait(lambda _: not list(folder.glob("*.crdownload")))
        return file

    def errors(self):
        return [entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


def differ(one, other):
    return np.abs(one.astype(int) - other).max()


def drag(page, source, target):
    """Drag with the mouse of the browser, in steps, as people do."""
    page.driver.execute_script("arguments[0].scrollIntoView({block: 'end'})", page.element(target))
    steps = (
        lambda chain: chain.click_and_hold(page.element(source)).move_by_offset(8, 8),
        lambda chain: chain.move_to_element(page.element(target)),
        lambda chain: chain.move_by_offset(2, 2),
        lambda chain: chain.release(),
    )
    for step in steps:
        step(ActionChains(page.driver)).perform()
        # The browser handles a drag beside the script.
        time.sleep(0.2)
