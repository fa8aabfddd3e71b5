"""What leaves the explorer and comes back: saved images, links; and what it refuses."""

import base64
import socket

import numpy as np
import pytest
from browser import CHROMIUM, DRIVER, Browser
from explorer_page import CLASSES, PLAIN, differ
from PIL import Image
from projects import require_program

from kedro_dcgan.model.directions import find_directions
from kedro_dcgan.model.latents import interpolate, shifted, truncate
from kedro_dcgan.model.saved import TrainedGenerator, snapshot_weights
from kedro_dcgan.model.synthetic_marks import SyntheticMark, read_mark

pytestmark = [pytest.mark.slow, require_program("chromium", bool(CHROMIUM and DRIVER))]


def test_gif_has_the_frames_there_and_back(plain, tmp_path):
    file = plain.download("#gif", tmp_path, ".gif")
    assert file.name == "shapes-sample-0-to-sample-1.gif"
    assert plain.driver.execute_script("return document.activeElement.id") == "gif"
    plain.wait_for_message(f"Saved 256 × 256 pixels, from start to end and back, as {file.name}.")
    # The next action clears the message.
    plain.element("#sample-1").click()
    assert plain.element("#status").text == ""
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


def test_png_has_the_pixels_of_the_current_image_as_squares(classes, tmp_path):
    classes.element("#sample-5").click()
    classes.move("direction-7", -0.8)
    direction = find_directions(classes.network, 8)[7]
    moved = shifted(classes.samples(6)[5:], direction.vector, -0.8, CLASSES)
    classes.wait_for_image(moved)
    file = classes.download("#png", tmp_path, ".png")
    assert file.name == f"shapes-3-sample-5-{direction.name.replace(' ', '-')}-minus-0.8.png"
    classes.wait_for_message(f"Saved 256 × 256 pixels as {file.name}.")
    trained = TrainedGenerator(CLASSES, snapshot_weights(classes.network), "0123", 64)
    assert read_mark(file) == SyntheticMark.of(trained)
    pixels = np.asarray(Image.open(file).convert("RGB")).transpose(2, 0, 1)
    assert differ(pixels[:, ::8, ::8], classes.expected(moved)[0]) <= 1
    assert differ(pixels, pixels[:, ::8, ::8].repeat(8, 1).repeat(8, 2)) == 0


def test_copied_link_needs_the_same_file(plain):
    plain.element("#link").click()
    plain.wait_for_message("It works with a copy of this same file: send the file, too.")


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
    caption = f"sample 9, {found[1].name} −1.2, {found[3].name} +0.7, truncation 0.80, class cat"
    classes.browser.wait(lambda driver: driver.execute_script("return location.hash.includes('class=cat')"))
    address = classes.driver.execute_script("return location.hash")
    for _ in range(2):
        classes.driver.refresh()
        classes.wait_until_ready()
        classes.wait_for_image(both)
        # The slot has a latent that is no sample.
        classes.wait_for_image(truncate(moved, 0.8, CLASSES), "#slot-to canvas")
        assert classes.element("#direction-3-value").text == "+0.7"
        assert classes.caption() == caption
        assert classes.element("#slot-to .name").text == f"sample 9, {found[1].name} −1.2"
        assert classes.driver.execute_script("return location.hash") == address
    # Another fragment in the same window.
    classes.driver.execute_script("location.hash = '#z=4'")
    classes.wait_for_image(classes.samples(5)[4])


@pytest.mark.parametrize(
    ("fragment", "caption"),
    [
        ("#z=walk*19*1*43", "sample 19 to sample 1, 43 %"),
        ("#z=sum*3*walk*0*1*50*9", "sample 3 − (sample 0 to sample 1, 50 %) + sample 9"),
        ("#z=walk&p=0.25&from=7", "sample 7 to sample 1, 25 %"),
        ("#z=sum&plus=3&minus=5&also=9", "sample 3 − sample 5 + sample 9"),
        ("#z=~" + base64.urlsafe_b64encode(np.ones(12, "<f4").tobytes()).decode().rstrip("="), "latent "),
    ],
)
def test_link_restores_the_origin_of_an_image(plain, fragment, caption):
    plain.open(fragment)
    assert plain.caption().startswith(caption)
    shown = plain.caption()
    plain.browser.wait(lambda driver: driver.execute_script("return location.hash.includes('z=')"))
    plain.driver.refresh()
    plain.wait_until_ready()
    assert plain.caption() == shown
    # Still the interpolation or the sum of the slots, if it was.
    assert plain.driver.execute_script("return location.hash") == fragment


def test_long_origin_is_replaced_by_the_latent(plain):
    for _ in range(8):
        plain.element("#sum").click()
        for slot in ("plus", "minus"):
            plain.element(f"#slot-{slot}").click()
        # A slot that is not a part of the current image.
        plain.move("position", 0.5)
    name = plain.element("#slot-plus").get_attribute("title")
    assert "latent" in name
    assert len(name) < 200
    assert len(plain.run("{ return location.hash; }")) < 1000


@pytest.mark.parametrize(
    "fragment",
    [
        *("#z=64", "#z=-1", "#z=~AAAA", "#z=~%%%", "#z=walk*1*2", "#z=sum*1*2*3*4", "#z=move*1*9:1"),
        *("#z=" + 20_000 * "walk*", "#d=9:1,x:2,1:NaN,:", "#z=9&d=1:x", "#t=x&p=&class=dog"),
        *("#z=9&class=dog", "#%E0%A4%A&to=1e3", "#z=9&from="),
    ],
)
def test_damaged_link_shows_sample_0_and_says_so(plain, fragment):
    plain.open(fragment)
    plain.wait_for_image(plain.samples(1))
    assert plain.caption() == "sample 0"
    assert plain.element("#status").text == "This link is damaged or belongs to another page. You see sample 0."
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


def test_file_is_below_30_megabytes(plain):
    assert plain.file.stat().st_size < 30_000_000
