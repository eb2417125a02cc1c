"""The page in a real browser: no message on its console, no request, every figure drawn."""

from __future__ import annotations

import json
import shutil

import pytest

from ecm_edge import report
from tests import report_records as made

FLAGS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
)

DRAWN = """
return [...document.querySelectorAll('figure')].map(figure => {
  const svg = figure.querySelector('svg'), box = svg.getBoundingClientRect();
  const shown = [...svg.querySelectorAll('path')].filter(path => {
    const style = getComputedStyle(path), size = path.getBoundingClientRect();
    const inked = style.stroke !== 'none' || style.fill !== 'none';
    return inked && style.visibility === 'visible' && size.width + size.height > 0;
  });
  return {width: box.width, height: box.height, paths: shown.length, caption: figure.innerText.trim().length};
});
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A run's report, open in Chromium."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not chromedriver:
        pytest.skip("chromium and chromedriver are not installed (apt-get install chromium chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    at = tmp_path_factory.mktemp("browser")
    data = made.dataset(at / "data")
    report.write_report(made.run(at / "run", data), data, at / "report.html")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"user-data-dir={at / 'profile'}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    try:
        driver.get((at / "report.html").as_uri())
        yield driver
    finally:
        driver.quit()


def test_the_console_is_silent(page):
    messages = [entry["message"] for entry in page.get_log("browser")]
    # Chromium's own first tab (chrome://…) complains of the network where there is none.
    assert [message for message in messages if not message.startswith("chrome://")] == []


def test_nothing_but_the_page_is_requested(page):
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    sent = [m["params"] for m in events if m["method"] == "Network.requestWillBeSent"]
    urls = [request["request"]["url"] for request in sent if request["documentURL"] == page.current_url]
    assert [url for url in urls if not url.startswith("data:")] == [page.current_url]


def test_every_figure_is_drawn(page):
    figures = page.execute_script(DRAWN)
    assert len(figures) == 14
    for figure in figures:
        assert min(figure["width"], figure["height"]) > 20
        assert figure["paths"] >= 3
        assert figure["caption"] > 10


@pytest.mark.parametrize("width", [360, 1280, 2560])
def test_the_page_fits_every_width(page, width):
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_the_page_says_what_it_is(page):
    assert page.title == "PASS · run/0001 · ecm-edge report"
    assert "SYNTHETIC DATA" in page.find_element("tag name", "body").text
