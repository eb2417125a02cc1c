"""The page itself: what it prints, what it escapes, and that it loads nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from ecm_edge import metrics, report
from ecm_edge.candidate import candidate
from ecm_edge.evaluate.score import ScoreRecord, score_model
from ecm_edge.firmware.time_notes import time_notes
from ecm_edge.report import charts, score_charts
from tests import report_records as made
from tests import tiny


class Elements(HTMLParser):
    """Every tag with its attributes, and how many are open at the end."""

    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def of(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def written(tmp_path, path, data, **options):
    report.write_report(path, data, tmp_path / "report.html", **options)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """The page of a run with everything in it."""
    at = tmp_path_factory.mktemp("page")
    data = made.dataset(at / "data")
    return written(at, made.run(at / "run", data), data)


def test_the_page_loads_nothing(html):
    links = [v for _, a in Elements(html).tags for k, v in a.items() if k in {"href", "src", "xlink:href", "srcset"}]
    elsewhere = [link for link in links if not link.startswith(("#", "data:"))]
    assert elsewhere == ["./report.search.html"]  # a link to follow, which loads nothing
    assert not re.findall(r"@import|url\((?!#)", html)
    assert Elements(html).of("script") == []


def test_names_are_escaped(html):
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;-N-5" in html  # a file name under an ECG
    assert html.count("$x_1") > 1  # and in the chart, not as mathematics


def test_ids_are_unique(html):
    ids = [attributes["id"] for _, attributes in Elements(html).tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 100


def test_every_reference_has_its_target(html):
    ids = {attributes["id"] for _, attributes in Elements(html).tags if "id" in attributes}
    wanted = set(re.findall(r'(?:href="|url\()#([^")]+)', html))
    assert wanted
    assert wanted <= ids


def test_every_figure_has_a_drawing_and_a_caption(html):
    figures = re.findall(r"<figure.*?</figure>", html, re.DOTALL)
    # subjects, ROC, precision, reliability, rhythms, losses, epochs, front; three of the board; three of each mistake
    assert len(figures) == 8 + 3 + 6
    assert all(
        'role="img" aria-label="' in figure and "<path" in figure and "<figcaption>" in figure for figure in figures
    )


def test_synthetic_data_are_shouted_about(tmp_path, html):
    data = made.dataset(tmp_path / "real", synthetic=False)
    assert '<div class="synthetic" role="alert">' in html
    assert "SYNTHETIC DATA" not in written(tmp_path, made.bare(tmp_path / "c", data), data)


@pytest.mark.parametrize(
    "text",
    [
        "A 5 s flag is not a diagnosis.",
        "None of these subjects was trained or tuned on.",
        "3 missed, 3 false alarms",
        "simplified→int8",
        "0.999999",
        "31.5 dB",
        "too many MACs",
        "260 in all.",
        "The arena of 40 bytes",
        "16.25",
        "The probability is that of the scores before the threshold was taken off.",
        "margin <b>−3</b>",
        "no registry was given",
    ],
)
def test_the_page_says(html, text):
    assert text in html


def test_what_has_not_run_is_printed(tmp_path):
    data = made.dataset(tmp_path / "data")
    html = written(tmp_path, made.bare(tmp_path / "c", data), data)
    for verb in ("train", "export", "quantize", "verify", "firmware build", "bench", "score"):
        assert f"ecm-edge {verb} " in html
    assert "not as part of a run" in html
    assert html.count("○ NOT RUN") > 10


def test_the_boards_gates_and_sections_are_shown(html):
    board = html[html.index('<section id="board">') : html.index('<section id="latency">')]
    assert re.search(r"unaligned accesses</th>\s*<td class=\"text\"[^>]*><span class=\"badge pass\">✓ PASS", board)
    for text in ("text: code", "arena: all activations", "emulated</span>", "estimated</span>", "measured</span>"):
        assert text in board
    assert "&lt;h0&gt;" in board
    assert "firmware/float32/loongson-2k0500.elf" in board


def test_an_image_that_was_not_counted_says_why(tmp_path):
    data = made.dataset(tmp_path / "data")
    folder = made.full(tmp_path / "c", data)
    made.firmware(folder, reason="qemu-loongarch64 is not installed")
    html = written(tmp_path, folder, data)
    board = html[html.index('<section id="board">') : html.index('<section id="latency">')]
    assert "Qemu-loongarch64 is not installed." in board
    assert "○ NOT RUN" in board
    assert "Instructions were not counted" in board


def test_an_image_of_another_model_is_noticed(tmp_path):
    data = made.dataset(tmp_path / "data")
    folder = made.full(tmp_path / "c", data)
    (folder / "firmware" / "int8" / f"{tiny.TARGET.name}.elf").write_bytes(b"another")
    html = written(tmp_path, folder, data)
    assert "changed since: firmware/int8/loongson-2k0500.elf" in html


def test_a_quantisation_without_a_ranking_says_how_to_get_one(tmp_path):
    data = made.dataset(tmp_path / "data")
    folder = made.full(tmp_path / "c", data)
    made.quantised(ranked=False).save(folder / candidate.QUANTIZE)
    assert "Quantised without a ranking of layers" in written(tmp_path, folder, data)


def test_a_budget_that_is_broken_is_drawn_over_its_bar(tmp_path):
    data = made.dataset(tmp_path / "data")
    tight = tiny.TARGET.model_copy(update={"budget": tiny.TARGET.budget.model_copy(update={"macs": 1})})
    html = written(tmp_path, tiny.make_candidate(tmp_path / "c", data, target=tight, test=["S5"]), data)
    assert '<div class="bar over"><i style="width:100.00%">' in html
    assert "✗ FAIL" in html


def test_scores_of_one_subject_have_no_interval(tmp_path):
    data = made.dataset(tmp_path / "data")
    folder = tiny.make_candidate(tmp_path / "c", data, test=["S5"])
    tiny.run(["score", folder, "--data", data.folder, "--target", tiny.TARGET.name, "--json"])
    assert "one subject: no interval can be given" in written(tmp_path, folder, data)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("被験者", "被験者"),
        ("🫀", "🫀"),
        ("$", "$"),
        ("a&b", "a&amp;b"),
        ("x" * 15, "x" * 15),
        ("x" * 60, "x" * 14 + "…"),
    ],
)
def test_a_chart_takes_any_name(name, shown, tmp_path):
    data = tiny.data(tmp_path / "d", {name: [("AFIB", [1.0]), ("N", [-1.0])]})
    scores = score_model(tiny.make_candidate(tmp_path / "c", data, test=[name]), data).scores
    assert f">{shown}<" in score_charts.subjects_chart(scores)


def test_the_reliability_curve_leaves_out_what_has_no_segment():
    odds = np.log([0.05 / 0.95, 0.45 / 0.55, 0.95 / 0.05])
    drawn = score_charts.reliability_chart(metrics.calibrate([0, 1, 1], odds, ["A", "B", "C"]))
    curve = re.search(r'<path d="([^"]*)" style="fill: none; stroke: var\(--blue\)', drawn)[1]
    assert len(re.findall(r"[ML] ", curve)) == 3


def test_a_chart_of_one_epoch_is_drawn(tmp_path):
    record = made.training(tiny.config(made.dataset(tmp_path / "data")))
    one = record.model_copy(update={"epochs": record.epochs[:1]})
    assert charts.losses_chart(one).startswith("<svg")


def test_the_top_has_the_three_figures_and_leads_to_what_failed(tmp_path):
    data = made.dataset(tmp_path / "data")
    tight = tiny.TARGET.model_copy(update={"budget": tiny.TARGET.budget.model_copy(update={"macs": 1})})
    html = written(tmp_path, tiny.make_candidate(tmp_path / "c", data, target=tight, test=["S5"]), data)
    top = html[html.index("<header>") : html.index("</header>")]
    assert '<a href="#gate-0">Budgets of the board: macs</a>: 16 MAC, at most 1 MAC' in top
    assert "<b>1600 %</b> <span>of the tightest budget, MACs</span>" in top
    assert "No subject was scored." in top
    assert "Nothing was compared." in top


def test_score_stands_before_gates_and_what_passed_is_folded(html):
    assert html.index('<section id="score">') < html.index('<section id="verdicts">')
    folded = html[html.index("<details><summary>27 gates passed") :]
    assert "unaligned accesses" in folded[: folded.index("</details>")]


def test_a_cell_is_told_the_heading_of_its_column(html):
    for row in re.findall(r"<tr>.*?</tr>", html[html.index("By rhythm") : html.index("The board's score")], re.DOTALL)[
        1:
    ]:
        assert re.findall('data-label="([^"]*)"', row)[:3] == ["subjects", "segments", "called AF"]


def test_int8_that_is_slower_is_explained(tmp_path):
    data = made.dataset(tmp_path / "data")
    folder = made.full(tmp_path / "c", data)
    record = made.firmware(folder)
    slow = record.forms[1].latency_ms.model_copy(update={"low_ms": 0.001, "mean_ms": 0.009, "high_ms": 0.01})
    forms = [record.forms[0], record.forms[1].model_copy(update={"latency_ms": slow, "instructions_per_mac": 30.5})]
    notes = time_notes(forms)
    assert notes[0].startswith("int8 is slower than float32 on this core (30.50 instructions a MAC against 16.25)")
    assert notes[1].startswith("the interval of int8 is lopsided")
    assert time_notes(record.forms) == []


def test_the_axis_begins_where_the_data_do(tmp_path):
    rows = [("AFIB", [1.0])] * 9 + [("AFIB", [-1.0])] + [("N", [-1.0])] * 10
    data = tiny.data(tmp_path / "d", dict.fromkeys(["S3", "S4"], rows))
    drawn = score_charts.subjects_chart(
        score_model(tiny.make_candidate(tmp_path / "c", data, test=["S3", "S4"]), data).scores
    )
    ticks = [float(text) for text in re.findall(r">(\d\.\d+)</text>", drawn)]
    assert min(ticks) >= 0.88  # the least figure is a sensitivity of 0.9


def test_a_segment_has_a_mark_and_the_parts_that_spoke_for_its_answer(html):
    mistakes = html[html.index('<section id="mistakes">') : html.index('<section id="verdicts">')]
    assert ">1 mV</text>" in mistakes or ">2 mV</text>" in mistakes
    assert mistakes.count('class="mark"') == 6


@pytest.mark.parametrize(
    ("counts", "large"),
    [
        ((9, 99, 0, 0), "Calls everything AF"),
        ((0, 0, 9, 4), "Calls nothing AF"),
        ((34, 102, 1, 0), "Hardly better than a guess"),
    ],
)
def test_a_figure_that_misleads_does_not_stand_large(tmp_path, counts, large):
    data = made.dataset(tmp_path / "data")
    folder = made.full(tmp_path / "c", data)
    score = ScoreRecord.load(folder / candidate.SCORE)
    confusion = score.scores.confusion.model_copy(update=dict(zip(("tp", "fp", "tn", "fn"), counts, strict=True)))
    scores = score.scores.model_copy(update={"confusion": confusion})
    score.model_copy(update={"scores": scores, "warnings": ["hardly better"]}).save(folder / candidate.SCORE)
    page = written(tmp_path, folder, data)
    card = page[page.index('<a href="#score">Accuracy</a>') : page.index("Cost</a>")]
    assert re.search(r'<b class="bad">(.*?)</b>', card)[1] == large
    assert '<p class="warning"><span class="badge fail">! WARNING</span> hardly better.</p>' in card
