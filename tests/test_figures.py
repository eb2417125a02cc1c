"""Figures in documents are those of their records, in both directions."""

import json
import re

import pytest

from benchmarks import ablations, counts, figures, firmware, large, timed, two_hosts, workers
from benchmarks.recipes import table as recipes_table
from benchmarks.recipes.changes import recipes
from benchmarks.strategies import candidates, results
from ecm_edge import targets, tasks
from ecm_edge.registry import registry

BOARD = "loongson-2k0500"
SHELF = counts.SHELVES / BOARD
PAPER = "Data that do not fit into memory"
"""A section of bars and of an estimate on paper, held by a test of its own."""
TRAINING = ("Training on several sources", "Training recipes")
MISSED = {"the same, serial image, float32 weights", "the same, serial image, float16 weights"}
"""Bars of firmware's counts that are known to be missed."""

FIGURE = re.compile(
    r"\d[\d,.]*\s?(?:%|×|times\b|ms\b|s\b|µs\b|min\b|h\b|[KMG]i?B\b|B\b|segments/s\b|GFLOP|MACs?\b|instructions\b|points\b)"
    r"|\b0\.\d{2,}\b"
)
"""A number that somebody has measured or counted."""


@pytest.mark.parametrize("document", figures.TABLES)
def test_the_tables_of_a_document_are_those_of_its_records(document):
    assert (figures.ROOT / document).read_text() == figures.rendered(document), f"run: {figures.COMMAND}"


@pytest.mark.parametrize(
    ("document", "headings"),
    [
        ("README.md", ("ecm-edge", "Figures", "Boards")),
        ("data/reference/README.md", ("The models that ship", "Figures", "How an entry was made")),
        (
            "benchmarks/README.md",
            (
                "Benchmarks",
                "How figures are kept",
                "Times",
                "Firmware",
                "Many workers",
                "Search strategies",
                *TRAINING,
            ),
        ),
    ],
)
def test_prose_has_no_figure_of_its_own(document, headings):
    sections = re.split(r"^##? (.*)\n", figures.prose(document), flags=re.MULTILINE)
    by_heading = dict(zip(sections[1::2], sections[2::2], strict=True))
    for heading in headings:
        assert FIGURE.findall(re.sub(r"```.*?```", "", by_heading[heading], flags=re.DOTALL)) == [], heading
    if document == "benchmarks/README.md":
        assert set(by_heading) == {*headings, PAPER}


def test_the_estimate_on_paper_is_its_arithmetic():
    text = " ".join(figures.prose("benchmarks/README.md").split(f"## {PAPER}\n")[1].split("\n## ")[0].split())
    segments, window = 100_000_000, round(tasks.load("af-5s").window_s * 250)
    kept, names = 8 + 16 + 26 + 8 * 4, 150
    assert f"at 250 Hz are {segments * window * 4 / 1e9:.0f} GB on disk" in text
    assert f"a data set of {2_000_000 * window * 4 / 1e9:.0f} GB" in text
    assert f"A segment of 5 s is {window * 4 / 1000:.0f} kB" in text
    assert f"That is {segments * kept / 1e9:.1f} GB for a training" in text
    assert f"and {segments * (kept + names) / 1e9:.0f} GB while it starts" in text


@pytest.mark.parametrize(
    "text", ["2.1 times as fast", "49.7 KiB", "0.5 ms", "F1 (0.960)", "35 %", "312,750 instructions"]
)
def test_a_figure_is_seen(text):
    assert FIGURE.search(text)


def test_every_record_is_shown():
    names = {f"{name}.json" for name in timed.load_all()}
    names |= {"ablations.json"} if ablations.load() else set()
    names |= {"workers.json"} if workers.load() else set()
    names |= {path.name for path in (candidates.RECORD, results.RECORD, large.PATH, two_hosts.PATH) if path.is_file()}
    names |= {f"recipes-{each.date_utc[:10]}.json" for each in recipes_table.load_all()}
    assert {path.name for path in timed.FOLDER.iterdir()} == names


def test_the_bars_that_counts_miss_are_known():
    assert {row.what for row in firmware.rows(counts.load()) if not row.meets_bar} == MISSED


def test_recipes_on_record_are_those_that_there_are():
    known = {recipe.name: recipe.change for recipe in recipes()}
    for comparison in recipes_table.load_all():
        assert comparison.lines[0].recipe == recipes()[0].name
        for line in comparison.lines:
            assert known[line.recipe] == line.change


def record(when, load):
    stats = {"min": 0.25, "median": 0.5, "rounds": 3, "max": 1.0}
    tests = {
        "test_data_import": {},
        "test_loadtxt_a_file": {},
        "test_overhead_of_a_trial": {"median_s": 1.5, "max_s": 4.5, "trials": 4, "proven": 2},
    }
    content = {
        "machine_info": {"cpu": {"brand_raw": "Some CPU", "count": 2}},
        "commit_info": {"id": "0123456789abcdef", "dirty": False},
        "datetime": when,
        "benchmarks": [
            {"name": name, "stats": stats, "extra_info": {**more, "kind": "text", "checked": True}}
            for name, more in tests.items()
        ],
    }
    return timed.of_json(content, "pytest", load)


def test_a_timed_figure_has_its_date_its_machine_and_its_bar():
    lines = timed.table({"import": record("2026-01-02T03:04:05", 3.14)}).splitlines()
    assert all("2026-01-02, Some CPU, 2 cores, load 3.1 (busy), `0123456`" in line for line in lines[2:4])
    assert lines[4] == ""
    assert lines[5].startswith("NOT RUN: `test_steps_of_tcn`, ")
    assert "median 1.5 s, at most 4.5 s, of 4 trials, 2 of them proven | ≤ 2 s, ≤ 4 s: **missed**" in lines[2]
    assert "250 ms; `numpy.loadtxt` alone 250 ms | – |" in lines[3]
    assert "(busy)" not in record("2026-01-02", 1.0).where()


def test_a_figure_of_large_data_has_its_bar(tmp_path, monkeypatch):
    line = {"segments": 2_000_000, "wall_s": 19.0, "cpu_s": 30.0, "anonymous_bytes": 1_500_000_000}
    lines = [
        {"what": "first_step", **line},
        {"what": "passes", **line, "pass": 4096, "mapped_cpu_s": 2.0, "memory_cpu_s": 1.7},
        {"what": "audit", **line, "anonymous_bytes": 2_100_000_000},
        {"what": "audit", **line, "segments": 1000, "wall_s": 301.0},
    ]
    monkeypatch.setattr(large, "PATH", tmp_path / "large.json")
    assert large.shown() == "NOT RUN."
    where = {"commit": None, "date_utc": "2026-01-02", "machine": "Some CPU", "cores": 2, "load_average": 0.5}
    large.Large.model_validate({**where, "lines": lines}).save(large.PATH)
    cells = [row.split(" | ")[-1] for row in large.shown().splitlines()[4:]]
    assert cells == [
        "≤ 20 s, ≤ 2 GB |",
        "≥ 0.9 of the pace from memory, ≤ 2 GB: **missed** |",
        "≤ 300 s, ≤ 2 GB: **missed** |",
        "– |",
    ]


def test_what_was_not_checked_is_not_recorded():
    unchecked = {"name": "test_data_import", "stats": {}, "extra_info": {}}
    for tests in ([unchecked], []):
        with pytest.raises(timed.NothingMeasuredError, match="not checked"):
            timed.of_json({"benchmarks": tests}, "pytest", 1.0)


def test_a_figure_that_no_line_shows_is_an_error():
    strange = record("2026-01-02", 1.0).model_copy(update={"figures": {"test_something": {}}})
    with pytest.raises(AssertionError, match="test_something"):
        timed.table({"import": strange})


def test_the_entries_that_the_models_page_names_are_those_of_the_shelf():
    event = registry.incumbent(SHELF)
    text = figures.prose("data/reference/README.md")
    assert set(re.findall(r"\b\d\d-\d\d\b", text)) == {event.replaces}


def row(text, title):
    """The cells of a line of a table, its title aside."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {title} |")]
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]


def test_the_boards_that_their_page_shows_have_these_limits():
    text = (figures.ROOT / "ecm_edge" / "targets" / "README.md").read_text()
    (header,) = re.findall(r"^\| \| .*$", text, re.MULTILINE)
    boards = [targets.load(name) for name in re.findall(r"`([^`]+)`", header)]
    assert {*counts.BOARDS} < {board.name for board in boards}
    assert row(text, "budget: parameters / MACs") == [f"{b.budget.parameters:,} / {b.budget.macs:,}" for b in boards]
    kib = [[b.budget.flash_bytes / 1024, b.budget.ram_bytes / 1024] for b in boards]
    assert row(text, "budget: flash / RAM") == [f"{flash:g} KiB / {ram:g} KiB" for flash, ram in kib]
    assert row(text, "budget: latency") == [f"{b.budget.latency_ms:g} ms" for b in boards]
    af = targets.score_rule(boards[0], tasks.load("af-5s"))
    weights = (af.fbeta.weight, af.g.weight, af.latency_ms.weight, af.size_kib.weight)
    va = targets.score_rule(boards[1], tasks.load("va-5s"))
    va_weights = (va.fbeta_pooled.weight, va.latency_ms.weight, va.size_kib.weight)
    assert row(text, "score") == [
        "`af-5s`: {:g} Fn + {:g} Gn + {:g} Ln + {:g} Mn (IESD-2024)".format(*weights),
        "`va-5s`: {:g} Fβ + {:g} Ln + {:g} Mn (TinyML 2022)".format(*va_weights),
        *["none"] * 2,
    ]


@pytest.mark.parametrize("board", counts.BOARDS)
def test_the_thresholds_that_the_firmware_page_shows_are_the_targets(board):
    text, parity = (figures.ROOT / "firmware_check" / "README.md").read_text(), targets.load(board).parity
    float32, float16, int8 = parity.float32, parity.float16, parity.int8
    assert float32.label_flips == 0
    assert f"| no label flips, max_abs ≤ {float32.max_abs:.0e}, cos ≥ {float32.cos:g} |".replace("e-03", "e-3") in text
    assert f"| at most {float16.label_flips} label flips, max_abs ≤ {float16.max_abs:g} |" in text
    assert int8.f1_drop == int8.fbeta_drop
    assert f"F1 and mean Fβ drop by at most {int8.f1_drop:g}" in text
    assert f"at most {int8.max_lsb} LSB in every layer" in text


def triples(line):
    """The figures of each cell of a line of recipe.md's table, behind the run and its MACs."""
    cells = line.replace("*", "").strip("| ").split(" | ")[2:]
    return [[float(value) for value in cell.split(" / ")] for cell in cells]


@pytest.mark.parametrize("board", counts.BOARDS)
def test_the_recipes_table_has_what_the_entries_scored(board):
    lines = (counts.SHELVES / "recipe.md").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"| **{board}**"))
    entry = counts.incumbent(board)
    score = json.loads((entry / "score.json").read_text())
    (other,) = (
        source
        for source in json.loads((entry / "folds.json").read_text())["scores"]["by_source"]
        if source["source"] not in score["sources"]
    )
    even, at_threshold, elsewhere = triples(line)
    names = ("fbeta_mean", "g", "f1")
    assert even == [round(score["even_odds"][name]["value"], 3) for name in names]
    assert at_threshold == [round(score["scores"][name]["value"], 3) for name in names]
    assert elsewhere == [round(other[name]["value"], 3) for name in ("recall", "specificity")]


def test_what_the_recipe_says_of_the_gain_is_what_history_has():
    text = (counts.SHELVES / "recipe.md").read_text()
    points = re.search(r"detection_points ([+-][\d.]+)", registry.incumbent(SHELF).reason)[1]
    assert re.search(r"([+-][\d.]+) detection points", text)[1] == points


@pytest.mark.parametrize("board", counts.BOARDS)
def test_a_card_holds_the_recipe(board):
    text = (counts.SHELVES / "recipe.md").read_text()
    assert text in (counts.SHELVES / board / "MODEL_CARD.md").read_text()


def test_the_replays_are_of_the_table_on_record():
    found = results.load()
    if found is None:
        assert results.shown().startswith("NOT RUN")
    else:
        assert found.table_sha256 == results.sha256(candidates.Table.load(candidates.RECORD))
