"""The explorer in a real browser, opened from disk: its images and its controls."""

import base64
import time

import numpy as np
import pytest
import torch
from browser import CHROMIUM, DRIVER
from explorer_page import CLASSES, PLAIN, UNIFORM, differ, drag
from projects import require_program
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from kedro_dcgan.model.directions import find_directions
from kedro_dcgan.model.latents import combine, interpolate, shifted, truncate
from kedro_dcgan.model.sampling import sample_inputs

pytestmark = [pytest.mark.slow, require_program("chromium", bool(CHROMIUM and DRIVER))]


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
    assert plain.caption() == "sample 63"
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
    assert plain.caption() == f"sample 0, {found[2].name} +1.5"
    plain.move("direction-0", -2)
    moved = shifted(moved, found[0].vector, -2, PLAIN)
    plain.wait_for_image(moved)
    # The latents get shorter, down to half of their length.
    plain.move("truncation", 0.2)
    plain.wait_for_image(truncate(moved, 0.5, PLAIN))
    assert plain.caption() == f"sample 0, {found[0].name} −2.0, {found[2].name} +1.5, truncation 0.50"
    # The thumbnails, too.
    plain.wait_for_image(truncate(plain.samples(10)[9:], 0.5, PLAIN), "#sample-9 canvas")
    plain.element("#reset").click()
    plain.wait_for_image(start)
    plain.wait_for_image(plain.samples(10)[9:], "#sample-9 canvas")
    assert [plain.element(f"#{one}-value").text for one in ("direction-2", "truncation")] == ["0.0", "1.00"]


def test_sliders_show_the_images_at_their_ends(plain):
    found = find_directions(plain.network, 8)
    plain.move("direction-1", 1)
    moved = shifted(plain.samples(1), found[1].vector, 1, PLAIN)
    for number in (0, 7):
        row = f"#directions .row:nth-child({number + 1})"
        for selector, distance in (("label + canvas", -3), ("input + canvas", 3)):
            wanted = shifted(moved, found[number].vector, distance, PLAIN)
            plain.wait_for_image(wanted, f"{row} {selector}")
    # The direction of a slider counts from zero at its ends.
    wanted = shifted(plain.samples(1), found[1].vector, -3, PLAIN)
    plain.wait_for_image(wanted, "#directions .row:nth-child(2) label + canvas")
    # A track is filled from zero.
    low, high = plain.driver.execute_script(
        "return ['--low', '--high'].map(one => document.querySelector('#direction-1').style.getPropertyValue(one))"
    )
    assert (float(low), float(high)) == pytest.approx((0.5, 4 / 6))


def test_double_click_on_a_slider_sets_it_to_zero(plain):
    slider = plain.element("#direction-3")
    ActionChains(plain.driver).move_to_element_with_offset(slider, 40, 0).double_click().perform()
    plain.browser.wait(lambda _: plain.element("#direction-3-value").text == "0.0")
    ActionChains(plain.driver).move_to_element_with_offset(slider, 40, 0).click().perform()
    assert float(plain.element("#direction-3-value").text) > 0.5
    ActionChains(plain.driver).double_click().perform()
    assert plain.element("#direction-3-value").text == "0.0"
    plain.wait_for_image(plain.samples(1))


def test_class_applies_to_all_images(classes):
    classes.wait_for_image(classes.samples(1, 0))
    options = [option.text for option in classes.driver.find_elements("css selector", "#label option")]
    assert options == list(CLASSES.classes)
    classes.element("#label option:nth-child(3)").click()
    classes.wait_for_image(classes.samples(1, 2))
    classes.wait_for_image(classes.samples(30, 2)[29], "#sample-29 canvas")
    assert classes.caption() == "sample 0, class sea lion"


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
    assert page.caption() == "sample 39 − sample 22 + sample 11"
    # Slots can be dragged into other slots, and the current image follows.
    drag(page, "#slot-minus", "#slot-also")
    page.wait_for_image(rows[22], "#slot-also canvas")
    page.wait_for_image(combine(rows[39:], rows[22:23], rows[22:23], config))
    assert page.caption() == "sample 39 − sample 22 + sample 22"


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
    plain.element("#sum").send_keys(Keys.SPACE)
    plus, also = sample_in(plain, "plus"), sample_in(plain, "also")
    rows = plain.samples(64)
    plain.wait_for_image(combine(rows[plus][None], rows[17:18], rows[also][None], PLAIN))


def sample_in(page, slot):
    return page.driver.execute_script("return explorer.state()[arguments[0]].sample", slot)


@pytest.mark.parametrize("config", [PLAIN, UNIFORM], ids=["normal", "uniform"])
def test_arithmetic_starts_with_a_result_unlike_its_parts(pages, config):
    page = pages(config)
    numbers = [sample_in(page, slot) for slot in ("plus", "minus", "also")]
    assert len(set(numbers)) == 3
    rows = page.samples(64)[numbers]
    result = rows[0] - rows[1] + rows[2]
    # Of three random normal latents, the cosine is 1 / sqrt(3) in the mean.
    assert all(torch.cosine_similarity(result, rows[index], dim=0) < 0.35 for index in (0, 2))


def test_current_image_follows_the_slots_that_it_is_made_of(plain):
    rows = plain.samples(20)
    plain.move("position", 0.43)
    plain.wait_for_image(interpolate(rows[0], rows[1], 101, PLAIN)[43])
    drag(plain, "#sample-19", "#slot-from")
    plain.wait_for_image(interpolate(rows[19], rows[1], 101, PLAIN)[43])
    assert plain.caption() == "sample 19 to sample 1, 43 %"
    # Put into a slot, it stays what it is.
    plain.element("#slot-to").click()
    plain.wait_for_image(interpolate(rows[19], rows[1], 101, PLAIN)[43], "#slot-to canvas")
    plain.wait_for_image(interpolate(rows[19], rows[1], 101, PLAIN)[43])
    assert plain.caption() == "sample 19 to sample 1, 43 %"
    plain.move("position", 0.5)
    assert plain.caption() == "sample 19 to (sample 19 to sample 1, 43 %), 50 %"


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
