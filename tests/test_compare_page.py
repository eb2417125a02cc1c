"""The page of a comparison: what it says, what it escapes; and both registry pages in a real browser."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from ecm_edge.candidate import candidate
from ecm_edge.evaluate.score import score_model
from ecm_edge.registry import registry
from ecm_edge.registry.promote import promote
from ecm_edge.report import history
from ecm_edge.report.compare import compare_models
from ecm_edge.report.compare.page import render
from ecm_edge.report.compare.records import NotCompared, Setting
from tests import browser as chrome
from tests import report_records, tiny

BAD = "<script>alert(1)<script>"
SYNTHETIC = "SYNTHETIC DATA"


class Elements(HTMLParser):
    """The tags of a page, and the ends of the intervals that are drawn on it."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.styles = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.styles += [value for key, value in attrs if key == "style"]


def folders(at, names):
    """A data set of subjects with hostile names, and candidates that miss one tenth of the AF more each."""
    subjects = {f"S{s}": [("AFIB", [1.0 if k <= s else -1.0 for k in range(8)]), ("N", [-1.0] * 8)] for s in range(5)}
    data = tiny.data(at / f"data {BAD}", {**subjects, BAD: [("AFIB", [-1.0] * 4 + [1.0] * 4), ("N", [-1.0] * 8)]})
    made = []
    for column, name in enumerate(names):
        folder = tiny.ready(at / name, data, column=column, test=("S3", "S4", BAD))
        report_records.training(candidate.load_config(folder)).save(folder / candidate.TRAINING)
        report_records.firmware(folder)
        made.append(folder)
    return data, made


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A comparison of three candidates, one with a hostile name, and its page."""
    at = tmp_path_factory.mktemp("compare")
    data, made = folders(at, ["first", "second", f"third {BAD.replace('/', '')}"])
    out = at / "page.html"
    return compare_models(made, data, target=tiny.TARGET, out=out), out


def test_the_page_shows_every_part(compared):
    record, out = compared
    html = out.read_text(encoding="utf-8")
    for part in ("models", "accuracy", "cost", "layers", "parity", "configuration", "missing", "provenance"):
        assert f'<section id="{part}">' in html
        assert f'href="#{part}"' in html
    assert SYNTHETIC in html
    assert len(record.accuracy) == 2
    assert html.count("By subject: the 3 of 3 subjects") == 2
    assert "are due to the network, at even odds" in html
    assert "260</td>" in html  # instructions on record
    assert "first</th>" in html


def test_texts_of_the_records_are_escaped(compared):
    record, out = compared
    html = out.read_text(encoding="utf-8")
    assert html.count("&lt;script&gt;alert(1)") > 5
    hostile = record.model_copy(
        update={
            "settings": [Setting(name=BAD, values=[BAD, None, 1])],
            "not_compared": [NotCompared(model="A", what=BAD, reason=BAD)],
            "notes": [BAD],
            "board": BAD,
            "label": BAD,
        }
    )
    for page in (html, render(hostile)):
        assert "<script" not in page
        assert "script" not in Elements(page).tags


def test_the_page_is_bounded(compared):
    record, _ = compared
    many = record.model_copy(
        update={
            "settings": [Setting(name=f"s{i}", values=[1, 2, 3]) for i in range(5000)],
            "not_compared": [NotCompared(model="A", what="cost", reason="so " * 100_000)],
        }
    )
    html = render(many)
    assert "The first 200 of 5,000 rows" in html
    assert len(html) < 300_000


def test_intervals_are_drawn_within_their_cells(compared):
    _, out = compared
    ends = [
        float(part.split(":")[1].rstrip("%"))
        for style in Elements(out.read_text(encoding="utf-8")).styles
        for part in style.split(";")
        if part
    ]
    assert len(ends) > 20
    assert all(-0.01 <= end <= 100.01 for end in ends)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with chrome.chromium(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture(scope="module")
def timeline(tmp_path_factory):
    """The page of a registry with a promotion, a refusal and a rollback."""
    at = tmp_path_factory.mktemp("history")
    data = tiny.graded(at / "data")
    for column in (2, 1, 3):
        folder = tiny.ready(at / f"misses-{column}", data, column=column)
        score_model(folder, data, target=tiny.TARGET).save(folder / candidate.SCORE)
        promote(folder, data, tiny.TARGET, at / "registry")
    registry.rollback(at / "registry" / tiny.TARGET.name, "2025-01-31T12:00:00Z")
    history.write_history(registry.whole_history(at / "registry"), at / "registry", at / "page.html")
    return at / "page.html"


@pytest.mark.parametrize("name", ["compared", "timeline"])
def test_the_pages_in_a_browser(driver, request, name):
    """axe-core has no objection at any width, light and dark; nothing is loaded, and the page is never wider."""
    made = request.getfixturevalue(name)
    page = made[1] if isinstance(made, tuple) else made
    driver.get(page.as_uri())
    for width in chrome.WIDTHS:
        for scheme in chrome.SCHEMES:
            chrome.show(driver, width, scheme)
            assert chrome.violations(driver) == []
            assert chrome.page_width(driver) <= width
    assert chrome.complaints(driver) == []
    assert chrome.requests(driver) == [page.as_uri()]
