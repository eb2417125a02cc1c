"""The history of a registry as a page, and a folder that is no registry."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest

from ecm_edge import api
from ecm_edge.base.errors import RegistryError
from ecm_edge.base.records import at_least, not_run
from ecm_edge.candidate import candidate
from ecm_edge.cli import schemas
from ecm_edge.evaluate.score import score_model
from ecm_edge.registry import registry
from ecm_edge.registry.promote import promote
from ecm_edge.report import history as pages
from ecm_edge.report.trend import Point, trend
from tests import tiny

NAME = tiny.TARGET.name
DATE = "2025-01-31T12:00:00Z"
REFERENCE = Path(__file__).parents[1] / "data" / "reference"


class Links(HTMLParser):
    """The links of a page, and its tags."""

    def __init__(self, html):
        super().__init__()
        self.links, self.tags = [], set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for key, value in attrs if key in {"href", "src"}]


@pytest.fixture
def shelf(tmp_path):
    """Two promotions, a refusal and a rollback; the entry 100-80 has no score on record."""
    data = tiny.graded(tmp_path / "data", synthetic=False)
    for column in (2, 1, 3):
        folder = tiny.ready(tmp_path / f"misses-{column}", data, column=column)
        if column != 2:
            score_model(folder, data, target=tiny.TARGET).save(folder / candidate.SCORE)
        promote(folder, data, tiny.TARGET, tmp_path / "registry")
    registry.rollback(tmp_path / "registry" / NAME, DATE)
    return tmp_path / "registry" / NAME


def written(shelf, out):
    pages.write_history(registry.whole_history(shelf.parent), shelf.parent, out)
    return out.read_text(encoding="utf-8")


def test_the_page_says_what_replaced_what_and_why(shelf, tmp_path):
    html = written(shelf, tmp_path / "page.html")
    text = " ".join(html.replace("<b>", "").replace("</b>", "").split())
    assert "the incumbent is 100-80, after 2 promoted, 1 refused and 1 rolled back" in text
    assert "100-90 replaced 100-80, from the candidate misses-1" in text
    assert "misses-3; 100-90 stayed" in text
    assert "✗ FAIL</span> score: −" in text  # the gate that the refusal is due to
    assert "100-80 is in use again" in text
    assert "Rolled back from 100-90." in text
    assert "SYNTHETIC" not in text
    order = [text.index(words) for words in ("is in use again", "stayed", "replaced", "the first one")]
    assert order == sorted(order)


def test_the_trend_has_what_is_on_record_and_names_what_is_not(shelf, tmp_path):
    html = written(shelf, tmp_path / "page.html")
    assert 'aria-label="mean Fβ: 100-80 –, 100-90 0.9184, 100-80 –"' in html
    assert 'aria-label="flash, B: 100-80 60,000, 100-90 60,000, 100-80 60,000"' in html
    assert "no file at" in html
    assert "score.json" in html


def test_every_board_of_a_registry_is_shown(tmp_path):
    record = registry.whole_history(REFERENCE)
    assert [one.target for one in record.shelves] == ["loongson-2k0500", "nucleo-l432kc"]
    pages.write_history(record, REFERENCE, tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    for one in record.shelves:
        assert f">{one.target}</h2>" in html
        assert f"Model card of {one.incumbent}" in html
    cards = [link for link in Links(html).links if link.endswith("MODEL_CARD.md")]
    assert [(tmp_path / link).resolve() for link in cards] == [
        (REFERENCE / one.target / "MODEL_CARD.md").resolve() for one in record.shelves
    ]


def test_a_card_of_another_entry_says_so(shelf, tmp_path):
    (shelf / "MODEL_CARD.md").write_text("# Model card: 55-44\n")
    assert "Model card of 55-44" in written(shelf, tmp_path / "page.html")
    (shelf / "MODEL_CARD.md").write_bytes(b"\xff" * 10_000)
    assert ">Model card</a>" in written(shelf, tmp_path / "page.html")


def test_hostile_texts_are_escaped(shelf, tmp_path):
    bad = "<script>alert(1)</script>"
    event = registry.history(shelf)[2].model_copy(
        update={
            "candidate": bad,
            "reason": f'{bad}" onload="x',
            "source": bad,
            "synthetic": True,
            "gates": [at_least(bad, 0, 1, bad, bad)],
        }
    )
    hostile = event.model_copy(
        update={"event": "promoted", "entry": "99-00", "replaces": "98-00", "candidate": f"{bad}&amp;"}
    )
    for each in (event, hostile):
        registry.log(shelf, each)
    (shelf / "MODEL_CARD.md").write_text(f"# Model card: {bad}\n")
    html = written(shelf, tmp_path / "a page's <name>.html")
    assert "<script" not in html
    assert "script" not in Links(html).tags
    assert html.count("&lt;script&gt;alert(1)") >= 6
    assert "&amp;amp;" in html
    assert "2 of these decisions rest on data made by a program" in html


def test_the_page_is_bounded(shelf, tmp_path):
    refused = registry.history(shelf)[2]
    wordy = refused.model_copy(
        update={"reason": "why " * 100_000, "gates": [not_run("gate", "so " * 10_000) for _ in range(100)]}
    )
    _of_an_earlier_version(shelf, [wordy, *[refused] * 300, *registry.history(shelf)])
    html = written(shelf, tmp_path / "page.html")
    assert html.count('<li class="refused">') + html.count('<li class="">') + html.count('<li class="back">') == 200
    assert "105 older decisions are not shown" in html
    (shelf / registry.INCUMBENT).unlink()
    _of_an_earlier_version(shelf, [wordy])
    assert len(written(shelf, tmp_path / "page.html")) < 200_000


def _of_an_earlier_version(shelf, events):
    """Write a history whose lines are not bound to each other."""
    unbound = [event.model_copy(update={"previous_sha256": None}) for event in events]
    (shelf / registry.HISTORY).write_text("".join(event.model_dump_json() + "\n" for event in unbound))
    (shelf / registry.LATEST).unlink(missing_ok=True)
    if (shelf / registry.INCUMBENT).exists():
        unbound[-1].save(shelf / registry.INCUMBENT)


def test_a_link_with_spaces_and_marks_is_quoted(shelf, tmp_path):
    moved = tmp_path / "a b#c"
    shutil.move(shelf.parent, moved)
    (moved / NAME / "MODEL_CARD.md").write_text("# Model card: 100-80\n")
    assert f'href="a%20b%23c/{NAME}/MODEL_CARD.md"' in written(moved / NAME, tmp_path / "page.html")


def test_a_trend_without_any_figure_is_not_drawn():
    assert trend("x", [Point("a", None), Point("b", None)], "x") is None
    assert "LineCollection" not in trend("x", [Point("a", 0.5)], "x")
    assert "LineCollection" in trend("x", [Point("a", 0.5, 0.5, 0.5)], "x")  # the interval


def test_a_trend_of_many_names_some_and_the_last():
    svg = trend("x", [Point(f"e{i}", float(i)) for i in range(20)], "x")
    assert len(re.findall(r">e\d+</text>", svg)) == 7
    assert ">e19</text>" in svg


@pytest.mark.parametrize("wrong", ["nothing", "empty", "file", "data", "shelf"])
def test_a_folder_that_is_no_registry_is_an_error(shelf, tmp_path, wrong):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    folder = shelf if wrong == "shelf" else tmp_path / wrong
    with pytest.raises(RegistryError, match="registry") as refused:
        registry.history_record(folder / NAME, NAME)
    assert ("is itself the shelf of" in refused.value.found) == (wrong == "shelf")
    with pytest.raises(RegistryError):
        registry.whole_history(folder)
    code, text = tiny.run_for_output("history", "--registry", folder, "--html", tmp_path / "page.html", "--json")
    assert (code, set(json.loads(text)["error"])) == (2, {"rule", "found", "hint"})
    assert not (tmp_path / "page.html").exists()


def test_a_board_that_the_registry_has_nothing_on_is_told_with_those_it_has(shelf, capsys):
    assert tiny.run(["history", "--registry", shelf.parent, "--target", "nucleo-l432kc"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"Nothing was decided for nucleo-l432kc yet. The registry has: {NAME}." in said


@pytest.mark.parametrize("option", ["--html", "--out", "-o"])
def test_the_command_writes_the_page_of_all_boards_or_of_one(shelf, tmp_path, option):
    code, text = tiny.run_for_output("history", "--registry", shelf.parent, option, tmp_path / "page.html")
    assert (code, text.strip().splitlines()[-1]) == (0, str(tmp_path / "page.html"))
    assert "History of registry" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("target", [(), ("--target", NAME)])
def test_the_json_is_one_object_of_the_schema(shelf, target):
    _, text = tiny.run_for_output("history", "--registry", shelf.parent, *target, "--json")
    jsonschema.validate(json.loads(text), schemas.schema("history"))
    assert ("shelves" in json.loads(text)) == (not target)


def test_the_api_writes_the_page_of_all_boards_or_of_one(shelf, tmp_path):
    assert api.history(str(shelf.parent), out=str(tmp_path / "all.html")).shelves[0].incumbent == "100-80"
    assert api.history(str(shelf.parent), NAME, out=tmp_path / "one.html").incumbent == "100-80"
    assert (tmp_path / "all.html").is_file()
    assert (tmp_path / "one.html").is_file()
