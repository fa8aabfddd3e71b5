"""The explorer in a real browser, opened from disk: its images, its controls, its address, and what it refuses."""

import base64
import socket
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from browser import CHROMIUM, DRIVER, Browser
from networks import generator_config
from PIL import Image
from projects import require_program
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from kedro_dcgan.model.directions import find_directions
from kedro_dcgan.model.export import exported_program, to_onnx
from kedro_dcgan.model.latents import combine, interpolate, shifted, truncate
from kedro_dcgan.model.recipes import build_generator
from kedro_dcgan.model.sampling import generate_all, sample_inputs
from kedro_dcgan.model.saved import TrainedGenerator, snapshot_weights
from kedro_dcgan.reports.explorer import write_explorer_page

pytestmark = [pytest.mark.slow, require_program("chromium", bool(CHROMIUM and DRIVER))]

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


@pytest.mark.parametrize("config", [PLAIN, CLASSES], ids=["grey", "classes"])
def test_thousand_latents_give_the_images_of_pytorch(pages, config):
    page = pages(config)
    for label in range(max(1, len(config.classes))):
        inputs = sample_inputs(1000, config, 7, label if config.classes else None)
        latents = inputs[:, : config.latent_dim].numpy().astype("<f4")
        images = page.run(
            """{
            const bytes = Uint8Array.from(atob(given[0]), (one) => one.charCodeAt(0));
            const latents = explorer.rowsOf(new Float32Array(bytes.buffer), explorer.facts.latentDim);
            const blob = new Blob(await explorer.generate(latents, given[1]));
            return new Promise((resolve) => {
                const reader = new FileReader();
                reader.onload = () => resolve(reader.result.split(",")[1]);
                reader.readAsDataURL(blob);
            });
            }""",
            base64.b64encode(latents.tobytes()).decode(),
            label,
        )
        expected = page.expected(inputs)
        found = np.frombuffer(base64.b64decode(images), np.uint8).reshape(expected.shape)
        assert differ(found, expected) <= 1
        # Roundings at the border of two levels alone.
        assert (found != expected).mean() < 0.001
    assert page.errors() == []


def test_click_on_a_sample_shows_it(plain):
    plain.wait_for_image(plain.samples(1))
    plain.element("#sample-63").click()
    plain.wait_for_image(plain.samples(64)[63])
    plain.wait_for_image(plain.samples(64)[17], "#sample-17 canvas")
    assert plain.element("#caption").text == "sample 63"
    assert plain.element("#sample-63").get_attribute("aria-pressed") == "true"
    assert plain.element("#sample-0").get_attribute("aria-pressed") == "false"


def test_sliders_move_along_the_named_directions_and_shorten_the_latent(plain):
    found = find_directions(plain.network, 8)
    names = [label.text for label in plain.driver.find_elements("css selector", "#directions label")]
    assert names == [one.name for one in found]
    start = plain.samples(1)[0]
    plain.move("direction-2", 1.5)
    moved = shifted(start[None], found[2].vector, 1.5, PLAIN)
    plain.wait_for_image(moved)
    assert plain.element("#direction-2-value").text == "+1.5"
    assert plain.element("#caption").text == "sample 0, changed"
    plain.move("direction-0", -2)
    moved = shifted(moved, found[0].vector, -2, PLAIN)
    plain.wait_for_image(moved)
    plain.move("truncation", 0.5)
    plain.wait_for_image(truncate(moved, 0.5, PLAIN))
    # The thumbnails, too.
    plain.wait_for_image(truncate(plain.samples(10)[9:], 0.5, PLAIN), "#sample-9 canvas")
    plain.element("#reset").click()
    plain.wait_for_image(truncate(start[None], 0.5, PLAIN))


def test_class_applies_to_all_images(classes):
    classes.wait_for_image(classes.samples(1, 0))
    options = [option.text for option in classes.driver.find_elements("css selector", "#label option")]
    assert options == list(CLASSES.classes)
    classes.element("#label option:nth-child(3)").click()
    classes.wait_for_image(classes.samples(1, 2))
    classes.wait_for_image(classes.samples(30, 2)[29], "#sample-29 canvas")
    assert classes.element("#caption").text == "sample 0, class sea lion"


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


@pytest.mark.parametrize("config", [PLAIN, UNIFORM], ids=["normal", "uniform"])
def test_arithmetic_by_drag_and_drop(pages, config):
    page = pages(config)
    rows = page.samples(40)
    for number, slot in ((39, "plus"), (22, "minus"), (11, "also")):
        drag(page, f"#sample-{number}", f"#slot-{slot}")
        page.wait_for_image(rows[number], f"#slot-{slot} canvas")
    wanted = combine(rows[39:], rows[22:23], rows[11:12], config)
    page.wait_for_image(wanted, "#sum canvas")
    page.element("#sum").click()
    page.wait_for_image(wanted)
    assert page.element("#caption").text == "A − B + C"


def test_arithmetic_by_keyboard(plain):
    # One stop of Tab in the grid, arrow keys within.
    stops = plain.driver.execute_script("return document.querySelectorAll('#samples [tabindex=\"0\"]').length")
    assert stops == 1
    plain.element("#sample-0").send_keys(Keys.ARROW_DOWN)
    plain.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    plain.driver.switch_to.active_element.send_keys(Keys.ENTER)
    plain.wait_for_image(plain.samples(18)[17])
    plain.element("#slot-minus").send_keys(Keys.ENTER)
    plain.wait_for_image(plain.samples(18)[17], "#slot-minus canvas")
    assert "sample 17" in plain.element("#slot-minus").get_attribute("aria-label")
    rows = plain.samples(18)
    plain.element("#sum").send_keys(Keys.SPACE)
    plain.wait_for_image(combine(rows[2:3], rows[17:18], rows[4:5], PLAIN))


@pytest.mark.parametrize("config", [PLAIN, UNIFORM], ids=["normal", "uniform"])
def test_interpolation_goes_along_the_arc_or_line(pages, config):
    page = pages(config)
    rows = page.samples(2)
    frames = interpolate(rows[0], rows[1], 101, config)
    for position in (0.5, 0.33, 1, 0):
        page.move("position", position)
        page.wait_for_image(frames[round(100 * position)])
    page.element("#play").click()
    page.browser.wait(lambda driver: 0.1 < driver.execute_script("return explorer.state().position") < 0.9)
    page.element("#play").click()
    page.browser.wait(lambda driver: driver.execute_script("return location.hash.includes('p=')"))
    position = page.driver.execute_script("return explorer.state().position")
    time.sleep(0.3)
    assert page.driver.execute_script("return explorer.state().position") == position


def test_gif_has_the_frames_there_and_back(plain, tmp_path):
    file = plain.download("#gif", tmp_path, ".gif")
    assert file.name == "shapes-sample-0-to-sample-1.gif"
    gif = Image.open(file)
    rows = plain.samples(2)
    images = plain.expected(interpolate(rows[0], rows[1], 25, PLAIN))
    assert gif.n_frames == 48
    assert gif.info["loop"] == 0
    assert gif.info["duration"] == 50
    assert gif.size == (256, 256)
    for frame in (0, 7, 24, 25, 47):
        gif.seek(frame)
        pixels = np.asarray(gif.convert("L"))
        assert differ(pixels, pixels[::16, ::16].repeat(16, 0).repeat(16, 1)) == 0
        assert differ(pixels[::16, ::16], images[min(frame, 48 - frame), 0]) <= 1


def test_gif_of_many_colours_is_close(classes, tmp_path):
    gif = Image.open(classes.download("#gif", tmp_path, ".gif"))
    images = classes.expected(interpolate(*classes.samples(2), 25, CLASSES))
    gif.seek(12)
    pixels = np.asarray(gif.convert("RGB"))[::8, ::8].transpose(2, 0, 1).astype(int)
    # 1,024 colours in 256: the root mean square error in grey levels.
    assert 0 < np.square(pixels - images[12]).mean() ** 0.5 < 12


def test_png_has_the_pixels_of_the_current_image(classes, tmp_path):
    classes.element("#sample-5").click()
    classes.wait_for_image(classes.samples(6)[5])
    file = classes.download("#png", tmp_path, ".png")
    assert file.name == "shapes-3-sample-5.png"
    pixels = np.asarray(Image.open(file).convert("RGB")).transpose(2, 0, 1)
    assert differ(pixels, classes.expected(classes.samples(6)[5])[0]) <= 1


def test_address_restores_the_state(classes):
    found = find_directions(classes.network, 8)
    classes.element("#sample-9").click()
    classes.move("direction-1", -1.2)
    classes.element("#slot-to").click()
    classes.move("direction-3", 0.7)
    classes.move("truncation", 0.8)
    classes.element("#label option:nth-child(2)").click()
    moved = shifted(classes.samples(10, 1)[9:], found[1].vector, -1.2, CLASSES)
    both = truncate(shifted(moved, found[3].vector, 0.7, CLASSES), 0.8, CLASSES)
    classes.wait_for_image(both)
    classes.browser.wait(lambda driver: driver.execute_script("return location.hash.includes('class=cat')"))
    address = classes.driver.execute_script("return location.hash")
    for _ in range(2):
        classes.driver.refresh()
        classes.wait_until_ready()
        classes.wait_for_image(both)
        # The slot has a latent that is no sample.
        classes.wait_for_image(truncate(moved, 0.8, CLASSES), "#slot-to canvas")
        assert classes.element("#direction-3-value").text == "+0.7"
        assert classes.driver.execute_script("return location.hash") == address
    # Another fragment in the same window.
    classes.driver.execute_script("location.hash = '#z=4'")
    classes.wait_for_image(classes.samples(5)[4])


@pytest.mark.parametrize(
    "fragment", ["#z=64", "#z=-1", "#z=~AAAA", "#z=~%%%", "#d=9:1,x:2,1:NaN,:", "#t=x&p=&class=dog", "#%E0%A4%A&to=1e3"]
)
def test_wrong_fragment_is_ignored(plain, fragment):
    plain.open(fragment)
    plain.wait_for_image(plain.samples(1))
    assert plain.errors() == []


def test_page_cannot_send_anything(plain):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(1)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        refused = plain.run(
            """{
            const [address] = given;
            const loads = (tag, set) => new Promise((resolve) => {
                const element = Object.assign(document.createElement(tag), set);
                element.onload = () => resolve("loaded");
                element.onerror = () => resolve("refused");
                document.body.append(element);
            });
            const attempts = [
                fetch(address).then(() => "loaded", () => "refused"),
                loads("img", { src: address }),
                loads("script", { src: address }),
                loads("link", { rel: "stylesheet", href: address }),
                import(address).then(() => "loaded", () => "refused"),
            ];
            try { new WebSocket(address.replace("http", "ws")); } catch { attempts.push("refused"); }
            navigator.sendBeacon(address, "text");
            return Promise.all(attempts);
            }""",
            address,
        )
        assert set(refused) == {"refused"}
        with pytest.raises(TimeoutError):
            server.accept()


def test_disabled_webassembly_is_one_readable_line(plain):
    # Without a compiler, V8 has no WebAssembly: browsers do so in their strictest modes.
    strict = Browser(arguments=["--js-flags=--jitless"])
    try:
        strict.open(plain.file.as_uri())
        failure = strict.wait(lambda driver: driver.find_element("css selector", "#failure").text)
        shown = strict.text()
    finally:
        strict.close()
    assert "WebAssembly" in failure
    assert "\n" not in failure
    assert "Loading" not in shown
    assert "Samples" not in shown


def test_damaged_model_is_one_readable_line(plain, tmp_path):
    before, model, after = plain.html.partition('id="model">')
    file = tmp_path / "damaged.html"
    file.write_text(before + model + after[:400] + after[after.index("</script>") :], encoding="utf-8")
    plain.browser.open(file.as_uri())
    failure = plain.browser.wait(lambda _: plain.element("#failure").text)
    assert failure.startswith("The model cannot be loaded")
    assert "\n" not in failure


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_shows_everything_without_sideways_scrolling(classes, scheme, tmp_path):
    sizes = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    classes.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)
    classes.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    try:
        classes.open()
        width, colour, wide = classes.driver.execute_script(
            "return [document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor,"
            "[...document.querySelectorAll('body *')].filter(one => one.getBoundingClientRect().right > 360)"
            ".map(one => one.outerHTML.slice(0, 80))]"
        )
        classes.browser.save(tmp_path / "phone.png")
    finally:
        classes.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        classes.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert width == 360
    assert wide == []
    level = int(colour.removeprefix("rgb(").split(",")[0])
    assert level > 200 if scheme == "light" else level < 60


def test_every_control_has_a_name_and_a_visible_focus(classes):
    classes.wait_for_image(classes.samples(1))
    nameless = classes.driver.execute_script(
        "const named = one => one.getAttribute('aria-label') || one.labels?.[0]?.textContent || one.textContent.trim();"
        "return [...document.querySelectorAll('main button, main input, main select, main canvas[role]')]"
        ".filter(one => !named(one)).map(one => one.outerHTML)"
    )
    assert nameless == []
    classes.element("#png").send_keys(Keys.TAB)
    focused, style = classes.driver.execute_script(
        "return [document.activeElement.id, getComputedStyle(document.activeElement).outlineStyle]"
    )
    assert (focused, style) == ("link", "solid")


def test_file_is_below_30_megabytes(plain):
    assert plain.file.stat().st_size < 30_000_000
