"""Every table that a command prints, in a terminal of 80 columns: whole verdicts, and no line that is wider."""

# ruff: noqa: SLF001 - what is printed of a record; the commands themselves would have to make it

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from ecm_edge.cli import bench, firmware, fit, promote, quantize, robustness, score, search, verify
from ecm_edge.cli import cli as main
from ecm_edge.data.audit import audit
from ecm_edge.data.dataset import open_dataset
from ecm_edge.evaluate.bench import BenchRecord
from ecm_edge.evaluate.robustness import RobustnessRecord
from ecm_edge.evaluate.score import ScoreRecord
from ecm_edge.evaluate.verify.records import VerifyRecord
from ecm_edge.firmware.fit_records import FirmwareRecord
from ecm_edge.forms.quantize import QuantizeRecord
from ecm_edge.registry.promote import promote as decide
from ecm_edge.registry.remedies import Asked
from ecm_edge.search.runs import SearchRecord
from tests import report_records, tiny

REFERENCE = Path(__file__).parent.parent / "data" / "reference"
ENTRY = REFERENCE / "loongson-2k0500" / "entries" / "96-92"
RECORDS = {
    "bench": (BenchRecord, bench._render),
    "firmware": (FirmwareRecord, lambda record: firmware._render_images(record, ENTRY)),
    "quantize": (QuantizeRecord, quantize._render),
    "robustness": (RobustnessRecord, robustness._render),
    "score": (ScoreRecord, score._render),
    "verify": (VerifyRecord, verify._render),
}


@pytest.fixture(params=[80, 100])
def width(request, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(request.param))
    return request.param


@pytest.fixture
def run(tmp_path):
    """A run with every record, and its data set."""
    data = report_records.dataset(tmp_path / "data")
    return report_records.run(tmp_path / "run", data), data


def check(text, width):
    """Lines of tables are as wide as the terminal at most, and begin with no torn verdict."""
    lines = text.splitlines()
    rules = [index for index, line in enumerate(lines) if line.startswith(" ──")]
    assert rules, text
    for rule in rules:
        heading = next(at for at in range(rule - 1, -1, -1) if not lines[at].startswith("  "))
        end = next((at for at in range(rule, len(lines)) if not lines[at].strip()), len(lines))
        for line in lines[heading + 1 : end]:
            assert len(line) <= width, line
            assert not re.search(r"[A-Za-z]…", re.sub(r"[0-9a-f]{12}…", "", line)), line
    for word in re.findall(r"\b(?:PAS|FAI|NOT)\b|\bNOT RU\b", text.replace("NOT RUN", "")):
        pytest.fail(f"{word} in {text}")


@pytest.mark.parametrize("folder", ["candidate", "entry"])
@pytest.mark.parametrize("name", RECORDS)
def test_a_record_of_a_stage_is_whole(run, name, folder, width, capsys):
    path = (ENTRY if folder == "entry" else run[0] / "trials" / "0001") / f"{name}.json"
    if not path.is_file():
        assert (name, folder) == ("robustness", "candidate")
        return
    record, render = RECORDS[name]
    render(record.load(path))
    check(capsys.readouterr().out, width)


def test_the_forms_of_fit_are_whole(run, width, capsys):
    for folder in (ENTRY, run[0] / "trials" / "0001"):
        for form in FirmwareRecord.load(folder / "firmware.json").forms:
            fit.render_form(form, "loongson-2k0500")
            check(capsys.readouterr().out, width)


def test_the_trials_of_a_search_are_whole(run, width, capsys):
    search._show(SearchRecord.load(run[0] / "summary.json"), run[0])
    text = capsys.readouterr().out
    check(text, width)
    assert text.count("PASS on") == 2


@pytest.mark.parametrize("verbose", [True, False])
def test_a_decision_is_whole(tmp_path, width, verbose, capsys):
    data = tiny.graded(tmp_path / "data")
    folder = tiny.ready(tmp_path / "first", data)
    record = decide(folder, data, tiny.TARGET, tmp_path / "registry")
    other = tiny.ready(tmp_path / "other", data, median_ms=2.0)
    again = decide(other, data, tiny.TARGET, tmp_path / "registry")
    asked = Asked(folder, tmp_path / "data", tiny.TARGET.name, tmp_path / "registry")
    for one, what in ((record, "PASS"), (again, "FAIL")):
        promote._render(one, asked, verbose=verbose)
        text = capsys.readouterr().out
        assert text.startswith(f"{what}: ")
        assert ("--verbose lists" in " ".join(text.split())) == (not verbose)
        if verbose:
            check(text, width)


COMMANDS = {
    "targets": [],
    "tasks": [],
    "space": ["default"],
    "history": ["--target", "loongson-2k0500", "--registry", str(REFERENCE)],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_list_is_whole(name, width):
    result = CliRunner().invoke(main, [name, *COMMANDS[name]])
    assert result.exit_code == 0, result.output
    check(result.output, width)


def test_a_data_set_is_whole(run, width, tmp_path, capsys):
    from ecm_edge.cli._data_records import show_audit

    del run
    show_audit(audit(open_dataset(tmp_path / "data")))
    check(capsys.readouterr().out, width)
    result = CliRunner().invoke(main, ["data", "info", str(tmp_path / "data")])
    check(result.output, width)
