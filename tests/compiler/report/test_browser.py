"""The page in Chromium: clicked, read by keyboard, on a phone, in the dark, on paper, and without JavaScript."""

import base64
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.backends.c.needs import command

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)

LEAST_CONTRAST = 4.5
"""Between text and what is behind it (WCAG 2.2, success criterion 1.4.3)."""

CONTRASTS = """
const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const behind = (node) => {
  const box = node.closest("svg") && node.parentNode.querySelector(":scope > rect.box");
  if (box) return parse(getComputedStyle(box).fill);
  for (let one = node; one; one = one.parentElement) {
    const found = parse(getComputedStyle(one).backgroundColor);
    if (found.length < 4 || found[3] > 0) return found;
  }
  return [255, 255, 255];
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
  if (!text || node.closest("script, style, title") || !node.checkVisibility()) continue;
  const style = getComputedStyle(node);
  const own = light(parse(node.closest("svg") ? style.fill : style.color));
  const blocks = node.closest(".memory .label") ? [...document.querySelectorAll(".memory rect:not(.peak)")] : [];
  const grounds = blocks.length ? blocks.map((one) => parse(getComputedStyle(one).fill)) : [behind(node)];
  for (const ground of grounds.map(light)) {
    found.push([(Math.max(own, ground) + 0.05) / (Math.min(own, ground) + 0.05), text.slice(0, 40)]);
  }
}
return found;
"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = command("chromium", "chromium")
    driver = command("chromedriver", "chromium-driver")
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    browser = Chrome(options=options, service=Service(driver))
    yield browser
    browser.quit()


@pytest.fixture
def page(chromium: Chrome, compiled: Path) -> Chrome:
    """The browser with the page of digits in it, on a screen."""
    screen(chromium, 1280)
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    chromium.get((compiled / "report.html").as_uri())
    return chromium


def screen(browser: Chrome, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def shown(browser: Chrome) -> list[str]:
    """The names of the layers that are told of at the moment."""
    cards = browser.find_elements(By.CSS_SELECTOR, ".layer")
    return [card.find_element(By.TAG_NAME, "h3").text for card in cards if card.is_displayed()]


def box(browser: Chrome, name: str) -> WebElement:
    (found,) = browser.find_elements(By.XPATH, f"//*[@id='picture']//*[@class='name' and text()='{name}']/..")
    return found


def focused(browser: Chrome) -> Any:
    return browser.execute_script("return document.activeElement.getAttribute('href') || document.activeElement.id")


def test_a_click_on_a_layer_shows_what_is_known_of_it(page: Chrome) -> None:
    assert len(shown(page)) == 1
    for name in ("residual1.conv", "pool"):
        target = box(page, name)
        page.execute_script("arguments[0].scrollIntoView({block: 'center'})", target)
        ActionChains(page).move_to_element(target).click().perform()
        assert shown(page) == [name]
        (current,) = page.find_elements(By.CSS_SELECTOR, "#picture [aria-current]")
        assert name in (current.get_attribute("aria-label") or "")
    ActionChains(page).move_to_element(box(page, "residual1.conv")).click().perform()
    (card,) = [one for one in page.find_elements(By.CSS_SELECTOR, ".layer") if one.is_displayed()]
    for needle in ("4 bits each", "multiply-accumulates", "Kernel", "Signal to noise after each pass", "dB"):
        assert needle in card.text
    histograms = card.find_elements(By.CSS_SELECTOR, "svg.plot")
    assert len(histograms) == 2
    assert all(one.size["width"] > 150 and one.find_elements(By.CSS_SELECTOR, "path.real") for one in histograms)


def test_the_table_leads_to_layers_too(page: Chrome) -> None:
    link = page.find_element(By.CSS_SELECTOR, "#row-4 a")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
    link.click()
    assert shown(page) == [link.get_attribute("textContent")]


def test_layers_are_read_by_keyboard(page: Chrome) -> None:
    page.execute_script("document.querySelector('#picture a').focus()")
    assert focused(page) == "#layer-0"
    ActionChains(page).send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN).perform()
    assert focused(page) == "#layer-2"
    assert shown(page) == ["pointwise.conv"]
    ActionChains(page).send_keys(Keys.ENTER).perform()
    assert focused(page) == "layer-2"
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    assert focused(page) == "#layer-2"


def test_everything_that_takes_the_focus_has_a_name(page: Chrome) -> None:
    tree = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    takes = [
        node
        for node in tree
        if any(p["name"] == "focusable" and p["value"].get("value") for p in node.get("properties", []))
    ]
    assert len(takes) > 20
    for node in takes:
        if node["role"]["value"] not in ("RootWebArea", "generic"):
            assert node["name"]["value"].strip(), node
    levels = [
        next(p["value"]["value"] for p in node["properties"] if p["name"] == "level")
        for node in tree
        if node.get("role", {}).get("value") == "heading"
    ]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(page: Chrome, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    found = page.execute_script(CONTRASTS)
    assert len(found) > 200
    assert [one for one in found if one[0] < LEAST_CONTRAST] == []
    back = page.execute_script("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(back) < 3 * 64) == (scheme == "dark")


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_no_screen_is_too_narrow(page: Chrome, width: int) -> None:
    screen(page, width)
    # Where there is room for a scroll bar, it may take some.
    assert width - 20 <= page.execute_script("return document.documentElement.scrollWidth") <= width
    if width == 390:
        target = box(page, "depthwise.conv")
        page.execute_script("arguments[0].scrollIntoView({block: 'center'})", target)
        ActionChains(page).move_to_element(target).click().perform()
        (card,) = [one for one in page.find_elements(By.CSS_SELECTOR, ".layer") if one.is_displayed()]
        assert page.execute_script("return arguments[0].getBoundingClientRect().top < innerHeight", card)


def test_paper_has_the_pictures_and_the_worst_layers(page: Chrome, compiled: Path) -> None:
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    worst = page.find_elements(By.CSS_SELECTOR, ".layer.worst h3")
    assert worst
    assert shown(page) == [one.text for one in worst]
    assert not page.find_element(By.TAG_NAME, "nav").is_displayed()
    paper = page.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert base64.b64decode(paper["data"]).startswith(b"%PDF")


def test_nothing_is_fetched(page: Chrome) -> None:
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0


def test_without_javascript_boxes_lead_to_their_layers(page: Chrome) -> None:
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    page.refresh()
    names = [one.text for one in page.find_elements(By.CSS_SELECTOR, ".layer h3")]
    assert shown(page) == names
    assert len(names) == len(page.find_elements(By.CSS_SELECTOR, "#picture a"))
    ActionChains(page).move_to_element(box(page, "stem.conv")).click().perform()
    assert page.current_url.endswith("#layer-0")
