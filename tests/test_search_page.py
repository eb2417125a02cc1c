"""The page of a search: what it draws, what it says where there is too little, and that names stay escaped."""

from __future__ import annotations

import json
import re
from collections import Counter
from html.parser import HTMLParser

import pytest

from ecm_edge.base.records import Verdict
from ecm_edge.report import search_page
from ecm_edge.report.records import RunRecords
from ecm_edge.report.report_record import gather
from tests import browser
from tests import report_records as made

HOSTILE = "</script><img src=x onerror=alert(1)>"


class Tags(HTMLParser):
    """The names of all elements, as a browser reads them."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, _):
        self.found.append(tag)


def trials(count):
    """Trials of two families, one with a hostile name, and a parameter with a hostile name."""
    return [
        made.trial(
            number,
            macs=100 + 10 * number,
            objective=float(number * 7 % 11),
            outcome="done",
            verdict=Verdict.PASS,
        ).model_copy(update={"point": {"family": [HOSTILE, "tcn"][number % 2], f"training.{HOSTILE}": number % 5}})
        for number in range(count)
    ]


def page_of(at, count):
    """The record of a made run, with so many trials in place of its own."""
    data = made.dataset(at / "data")
    record = gather(made.run(at / "run", data), data)
    run = RunRecords(settings=record.run.settings, summary=made.summary(trials(count)))
    return search_page.render(record.model_copy(update={"run": run}), at / "a report #1.html")


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    return page_of(tmp_path_factory.mktemp("search"), 12)


@pytest.fixture(scope="module")
def opened(html, tmp_path_factory):
    at = tmp_path_factory.mktemp("browser")
    with browser.chromium(at) as driver:
        (at / "s.html").write_text(html, encoding="utf-8")
        driver.get((at / "s.html").as_uri())
        yield driver


def figures(html):
    found = re.findall(r'<script type="application/json" id="(\w+)-data">(.*?)</script>', html, re.DOTALL)
    return {name: json.loads(text) for name, text in found}


def test_all_three_figures_are_there(html):
    drawn = figures(html)
    assert list(drawn) == ["front", "parallel", "importances"]
    assert sum(len(trace["x"]) for trace in drawn["front"]["data"]) == 12
    assert sum(drawn["importances"]["data"][0]["x"]) == pytest.approx(1)


def test_no_name_gets_out_of_its_text(html):
    assert Counter(Tags(html).found)["script"] == 5  # plotly, three figures, and what draws them
    assert "img" not in Tags(html).found
    for figure in figures(html).values():
        assert "<img" not in json.dumps(figure)
        assert "&lt;img" in json.dumps(figure)


def test_the_report_is_linked_whatever_it_is_called(html):
    assert 'href="./a%20report%20%231.html"' in html


def test_too_few_trials_have_no_importances(tmp_path):
    few = page_of(tmp_path, 9)
    assert list(figures(few)) == ["front", "parallel"]
    assert "9 trials have an objective: too few to tell parameters apart; 10 are needed." in few


def test_a_search_without_an_objective_has_no_script(tmp_path):
    none = page_of(tmp_path, 0)
    assert none.count("No trial has an objective yet.") == 3
    assert "<script" not in none


def test_the_figures_are_drawn_without_a_request(opened):
    assert opened.execute_script("return document.querySelectorAll('.plot .main-svg').length") >= 3
    assert opened.execute_script("return document.querySelectorAll('img').length") == 0
    assert browser.complaints(opened) == []
    assert browser.requests(opened) == [opened.current_url]


@pytest.mark.parametrize("scheme", browser.SCHEMES)
@pytest.mark.parametrize("width", browser.WIDTHS)
def test_axe_has_no_objection(opened, width, scheme):
    browser.show(opened, width, scheme)
    assert browser.violations(opened) == []
    assert browser.page_width(opened) <= width
