"""Pages in a real browser: Chromium without a window, as wide and as dark as a test asks, judged by axe-core.

A module starts one browser for all of its tests, as it takes seconds:

    @pytest.fixture(scope="module")
    def browser(tmp_path_factory):
        with chromium(tmp_path_factory.mktemp("browser")) as driver:
            yield driver
"""

from __future__ import annotations

import base64
import json
import re
import shutil
from contextlib import contextmanager
from importlib import resources

import pytest

WIDTHS = (1280, 768, 380)
"""A laptop, a tablet and a phone, in CSS pixels."""

SCHEMES = ("light", "dark")

_FLAGS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
)

_SLOW_S = 300  # axe takes a second for a long page, and many where cores are shared

_SCROLLING = """
return [...document.querySelectorAll('main *, header *, footer *')].filter(element => {
  const style = getComputedStyle(element);
  const open = element.checkVisibility({contentVisibilityAuto: true});
  return open && ['auto', 'scroll'].includes(style.overflowX) && element.scrollWidth > element.clientWidth + 1;
}).map(element => element.className + ': ' + element.innerText.slice(0, 60));
"""


@contextmanager
def chromium(folder):
    """A Chromium that logs its console and its requests, with its profile below `folder`; skips where there is none."""
    binary, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not chromedriver:
        pytest.skip("chromium and chromedriver are not installed (apt-get install chromium chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*_FLAGS, f"user-data-dir={folder / 'profile'}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    driver.set_script_timeout(_SLOW_S)
    try:
        yield driver
    finally:
        driver.quit()


def show(driver, width, scheme="light"):
    """Show the open page at a width in CSS pixels, in one of `SCHEMES`."""
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def violations(driver):
    """What axe-core objects to on the open page as it is shown: rule, help and the first places, one text each."""
    if not driver.execute_script("return typeof axe === 'object'"):
        driver.execute_script(resources.files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    found = driver.execute_async_script(
        "const done = arguments[0]; axe.run({resultTypes: ['violations']}).then(r => done(r.violations))"
    )
    return [
        f"{one['id']}: {one['help']}: {', '.join(str(node['target']) for node in one['nodes'][:5])}" for one in found
    ]


def scrolling(driver):
    """The elements of the open page whose content is wider than they are, by class and first words."""
    return driver.execute_script(_SCROLLING)


def page_width(driver):
    """How wide the open page is, in CSS pixels: above the window's width it scrolls sideways."""
    return driver.execute_script("return document.documentElement.scrollWidth")


def requests(driver):
    """Every address that the open page has asked for, but for data in the page itself."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = [m["params"] for m in events if m["method"] == "Network.requestWillBeSent"]
    urls = [request["request"]["url"] for request in sent if request["documentURL"] == driver.current_url]
    return [url for url in urls if not url.startswith("data:")]


def complaints(driver):
    """The messages on the console; Chromium's own first tab (chrome://…) complains where there is no network."""
    messages = [entry["message"] for entry in driver.get_log("browser")]
    return [message for message in messages if not message.startswith("chrome://")]


def printed_pages(driver):
    """How many pages of A4 the open page takes in print."""
    printed = driver.execute_cdp_cmd(
        "Page.printToPDF",
        {"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": True, "printBackground": True},
    )
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", base64.b64decode(printed["data"])))
