"""The page in a real browser: a silent console, no request, every figure drawn, nothing that axe-core objects to."""

from __future__ import annotations

import pytest

from ecm_edge import report
from tests import browser
from tests import report_records as made

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
    at = tmp_path_factory.mktemp("browser")
    data = made.dataset(at / "data")
    with browser.chromium(at) as driver:
        report.write_report(made.run(at / "run", data), data, at / "report.html")
        driver.get((at / "report.html").as_uri())
        yield driver


def test_the_console_is_silent(page):
    assert browser.complaints(page) == []


def test_nothing_but_the_page_is_requested(page):
    assert browser.requests(page) == [page.current_url]


def test_every_figure_is_drawn(page):
    browser.show(page, 1280)
    figures = page.execute_script(DRAWN)
    assert len(figures) == 17
    for figure in figures:
        assert min(figure["width"], figure["height"]) > 20
        assert figure["paths"] >= 3
        assert figure["caption"] > 10


@pytest.mark.parametrize("width", [360, 1280, 2560])
def test_the_page_fits_every_width(page, width):
    browser.show(page, width)
    assert browser.page_width(page) <= width


@pytest.mark.parametrize("scheme", browser.SCHEMES)
@pytest.mark.parametrize("width", browser.WIDTHS)
def test_axe_has_no_objection(page, width, scheme):
    browser.show(page, width, scheme)
    assert browser.violations(page) == []


def test_only_tables_that_say_so_scroll_sideways(page):
    browser.show(page, 1280)
    assert browser.scrolling(page) == []
    browser.show(page, 768)
    assert [name for name in browser.scrolling(page) if not name.startswith("wide scrolls:")] == []
    browser.show(page, 380)  # tables are cards
    assert browser.scrolling(page) == []


def test_the_page_prints_on_few_sheets(page):
    assert 2 <= browser.printed_pages(page) <= 8


def test_the_page_says_what_it_is(page):
    assert page.title == "PASS · run/0001 · ecm-edge report"
    assert "SYNTHETIC DATA" in page.find_element("tag name", "body").text
