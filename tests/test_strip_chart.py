"""The strip chart: what it draws, where its links lead, and how it looks in a browser."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ecm_edge import tasks
from ecm_edge.base import provenance
from ecm_edge.data.dataset import UNSTATED
from ecm_edge.data.recordings.windows import Recording, Span
from ecm_edge.data.rhythms import RhythmRules
from ecm_edge.evaluate.answering import Answers
from ecm_edge.evaluate.episodes import EpisodesRecord, Reference, Rule, detect
from ecm_edge.report import strip_chart
from ecm_edge.report.timeline import LEFT, TOP, timeline
from tests import browser

TASK = tasks.default()
HOUR = 720  # windows


def page(margins, *, unit="mV", reference=None, synthetic=False):
    """The page of windows of 5 s with these margins; None is a window that cannot be used."""
    values = np.array([np.nan if margin is None else margin for margin in margins], np.float32)
    signal = np.random.default_rng(0).normal(0, 0.2, len(values) * TASK.samples_per_segment)
    spans = [Span(0, 300, "N"), Span(300, np.inf, "AFIB")]
    recording = Recording("r", "S1", len(signal), 250.0, spans, lambda a, b: signal[a:b], "II", unit)
    reasons = ["" if np.isfinite(value) else "flat: every sample is the same" for value in values]
    answers = Answers(recording, np.arange(len(values)) * 5.0, values, reasons)
    rule = Rule(hop_s=5)
    head = EpisodesRecord(
        model="m.onnx",
        model_sha256="0" * 64,
        form="float32",
        config_sha256=None,
        task=TASK.name,
        label=TASK.label,
        synthetic=synthetic,
        source="r",
        left_out=[],
        notes=[],
        warnings=[],
        seconds=0,
        provenance=provenance.collect(),
        out="out",
        rule=rule,
        recordings=[],
        excluded=["AFL"] if reference else None,
        start_s=300 if reference else None,
    )
    return strip_chart.render(head, detect(answers, TASK, rule, reference), answers, TASK)


def alternating(episodes, length=3):
    return [-1.0, *([1.0] * length + [-1.0]) * episodes]


def strips(html):
    return [int(number) for number in re.findall(r'<figure id="e(\d+)"', html)]


def test_every_link_leads_somewhere():
    html = page([*alternating(3), None, None, 1], reference=Reference(RhythmRules.of(TASK), ("AFL",)))
    places = set(re.findall(r'id="([\w-]+)"', html))
    links = re.findall(r'href="#([\w-]+)"', html)
    assert {"overview", "reference", "episodes", "strips", "method", "e1", "e4"} <= set(links) <= places
    assert strips(html) == [1, 2, 3, 4]
    assert "http" not in html.replace("http-equiv", "")


def test_strips_are_those_of_the_longest_episodes_and_the_rest_is_said():
    longer = alternating(strip_chart.MOST_STRIPS, length=2)
    html = page([*alternating(5, length=1), *longer])
    assert strips(html) == list(range(6, 6 + strip_chart.MOST_STRIPS))
    assert f"The {strip_chart.MOST_STRIPS} longest of {strip_chart.MOST_STRIPS + 5} episodes" in html
    assert html.count('<path class="trace"') == strip_chart.MOST_STRIPS


def test_a_long_table_is_cut_and_says_so():
    html = page(alternating(strip_chart.MOST_ROWS + 1, length=1))
    assert f"The first {strip_chart.MOST_ROWS} of {strip_chart.MOST_ROWS + 1}; episodes.csv has all of them" in html


def test_the_page_says_what_was_found():
    html = page([1, 1, -1, None])
    assert "AF burden <b>67 %</b>: 0:00:10 of 0:00:15 h analysed, in 1 episode." in html
    assert "0:00:05 h not analysed; 1 windows: flat: every sample is the same" in html
    assert "SYNTHETIC" not in html
    assert "SYNTHETIC DATA" in page([1], synthetic=True)


def test_a_page_without_episodes_or_without_analysed_time():
    assert "No episode, no strip." in page([-1, -1])
    assert "AF burden <b>–</b>" in page([None, None])


def test_of_an_unstated_unit_no_height_is_claimed():
    assert "does not state its unit" in page([1], unit=UNSTATED)
    assert "0.1 mV" in page([1])


@pytest.mark.parametrize(
    ("duration_s", "row_s", "rows"),
    [(40, 60, 1), (36 * 60, 60, 36), (36 * 60 + 1, 300, 8), (24 * 3600, 3600, 24), (14 * 86400, 43200, 28)],
)
def test_the_rows_of_the_timeline(duration_s, row_s, rows):
    frame = timeline(duration_s, 14)
    assert (frame.row_s, len(frame.labels), frame.height) == (row_s, rows, TOP + 14 * rows)


def test_bars_are_cut_at_rows_and_lie_on_a_grid():
    frame = timeline(7200, 14)  # rows of 300 s: 0.3 s a unit
    assert frame.row_s == 300
    assert frame.path([(0, 30)], 2, 8) == f"M{LEFT} {TOP + 2}h100v8h-100z"
    assert frame.path([(285, 315)], 2, 8) == f"M{LEFT + 950} {TOP + 2}h50v8h-50zM{LEFT} {TOP + 16}h50v8h-50z"
    assert frame.path([(0, 0.01)], 0, 1) == f"M{LEFT} {TOP}h1v1h-1z"
    many = [(k * 0.02, k * 0.02 + 0.01) for k in range(15000)]
    assert frame.path(many, 0, 1).count("M") == 1
    assert frame.path([], 0, 1) == ""


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A page with gaps, a reference and many episodes, open in Chromium."""
    at = tmp_path_factory.mktemp("browser")
    rng = np.random.default_rng(0)
    margins = [None if rng.random() < 0.05 else value for value in np.repeat(rng.normal(size=HOUR // 4), 8)]
    with browser.chromium(at) as driver:
        (at / "r.html").write_text(page(margins, reference=Reference(RhythmRules.of(TASK), ("AFL",))), encoding="utf-8")
        driver.get((at / "r.html").as_uri())
        yield driver


def test_the_console_is_silent(opened):
    assert browser.complaints(opened) == []


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_every_width(opened, width):
    browser.show(opened, width)
    assert browser.page_width(opened) <= width


@pytest.mark.parametrize("scheme", browser.SCHEMES)
@pytest.mark.parametrize("width", browser.WIDTHS)
def test_axe_has_no_objection(opened, width, scheme):
    browser.show(opened, width, scheme)
    assert browser.violations(opened) == []


def test_a_bar_leads_to_its_strip(opened):
    opened.execute_script("document.querySelector('.timeline a').dispatchEvent(new MouseEvent('click'))")
    target = opened.execute_script("return document.querySelector(':target').id")
    assert target == opened.execute_script("return document.querySelector('.strips figure').id")
    assert opened.execute_script("return document.querySelector(':target').getBoundingClientRect().top") < 900
