"""The explorer on phones and on screens of several widths, by touch and by keyboard."""

import pytest
from browser import CHROMIUM, DRIVER
from projects import require_program
from selenium.webdriver.common.keys import Keys

pytestmark = [pytest.mark.slow, require_program("chromium", bool(CHROMIUM and DRIVER))]


@pytest.fixture
def phone(plain):
    plain.emulate(360, touch=True)
    plain.open()
    yield plain
    plain.emulate()


def test_card_of_the_current_image_keeps_its_height(phone):
    heights = [phone.element("#stage").size["height"]]
    phone.element("#link").click()
    phone.wait_for_message("send the file, too.")
    heights.append(phone.element("#stage").size["height"])
    phone.open("#z=sum*3*walk*0*1*50*9&d=0:1,1:1,2:1,3:1,4:1&t=0.7")
    heights.append(phone.element("#stage").size["height"])
    assert len(set(heights)) == 1
    assert heights[0] < 200
    play = phone.element("#play")
    width = play.size["width"]
    play.click()
    assert (play.text, play.size["width"]) == ("Pause", width)
    play.click()
    assert (play.text, play.size["width"]) == ("Play", width)


def test_phone_shows_words_for_fingers(phone):
    text = phone.browser.text()
    assert "Tap one" in text
    assert not {"click", "drag"} & set(text.lower().replace("-", " ").split())
    phone.emulate(1366)
    text = phone.browser.text()
    assert "Click one" in text
    assert "tap" not in text.lower().split()


def box_of(page, slider):
    """Scroll a slider to the middle; return its x, y and width."""
    return page.driver.execute_script(
        "const slider = document.getElementById(arguments[0]); slider.scrollIntoView({block: 'center'});"
        "const {x, y, width, height} = slider.getBoundingClientRect(); return [x, y + height / 2, width]",
        slider,
    )


def swipe(page, slider, across, down):
    """Move a finger over a slider in steps and lift it; return by how much the page scrolls."""
    x, y, width = box_of(page, slider)
    before = page.driver.execute_script("return scrollY")
    for step in range(16):
        at = {"x": x + 0.8 * width + across * step / 15, "y": y + down * step / 15}
        event = {"type": "touchMove" if step else "touchStart", "touchPoints": [at]}
        page.driver.execute_cdp_cmd("Input.dispatchTouchEvent", event)
    page.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    return page.driver.execute_script("return scrollY") - before


def test_swipe_over_a_slider_scrolls_and_does_not_change_it(phone):
    for slider, value in (("direction-4", "0.0"), ("truncation", "1.00")):
        assert swipe(phone, slider, 5, -150) > 50
        assert phone.element(f"#{slider}-value").text == value
        assert float(phone.element(f"#{slider}").get_attribute("value")) == float(value)
    assert phone.caption() == "sample 0"
    # Sideways, it is a drag.
    swipe(phone, "direction-4", -60, 0)
    assert phone.element("#direction-4-value").text != "0.0"
    # A tap sets the value.
    swipe(phone, "direction-5", 0, 0)
    phone.browser.wait(lambda _: float(phone.element("#direction-5-value").text) > 1.5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_shows_everything_without_sideways_scrolling(classes, scheme, tmp_path):
    classes.emulate(360, touch=True)
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
        classes.emulate()
        classes.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert width == 360
    assert wide == []
    level = int(colour.removeprefix("rgb(").split(",")[0])
    assert level > 200 if scheme == "light" else level < 60


@pytest.mark.parametrize(("width", "columns"), [(1366, 16), (1024, 8), (768, 8)])
def test_layout_at_the_widths_of_screens(plain, width, columns):
    plain.emulate(width)
    try:
        plain.open()
        found, missing, heights = plain.driver.execute_script(
            "const root = document.documentElement;"
            "return [getComputedStyle(document.getElementById('samples')).gridTemplateColumns.split(' ').length,"
            "root.scrollWidth - root.clientWidth,"
            "[...document.querySelectorAll('main button:not(.tile, .slot)')].map(one => one.offsetHeight)]"
        )
    finally:
        plain.emulate()
    assert (found, missing) == (columns, 0)
    # Not stretched.
    assert max(heights) < 45


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
