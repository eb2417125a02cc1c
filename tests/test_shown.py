"""How records show themselves in Python: one line, a small HTML table, a pandas table, a drawing."""

import builtins
import doctest

import pytest
from matplotlib.figure import Figure

from ecm_edge.base import plots, shown
from ecm_edge.base.errors import EcmEdgeError
from ecm_edge.base.records import Gate, Interval, Record, Verdict, at_most
from ecm_edge.candidate import candidate
from ecm_edge.evaluate.bench import BenchRecord
from ecm_edge.evaluate.score import ScoreRecord
from ecm_edge.evaluate.verify.records import VerifyRecord
from ecm_edge.firmware.fit_records import FirmwareRecord
from ecm_edge.registry.registry import HistoryRecord
from ecm_edge.search.runs import SearchRecord
from ecm_edge.targets import load
from ecm_edge.training.train import TrainingRecord

from . import report_records

ATTACK = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """The records of a run and of its best candidate, by the name of their class."""
    folder = tmp_path_factory.mktemp("shown")
    run = report_records.run(folder / "run", report_records.dataset(folder / "d"))
    best = candidate.trial_folder(run, 1)
    kinds = {
        candidate.TRAINING: TrainingRecord,
        candidate.VERIFY: VerifyRecord,
        candidate.BENCH: BenchRecord,
        candidate.SCORE: ScoreRecord,
        candidate.FIRMWARE: FirmwareRecord,
    }
    loaded = [kind.load(best / name) for name, kind in kinds.items()]
    return {type(r).__name__: r for r in [*loaded, SearchRecord.load(run / candidate.RUN_SUMMARY)]}


def test_a_line_has_the_verdict_the_name_and_the_figure_that_matters(records):
    fitted = "<FirmwareRecord PASS target='loongson-2k0500' form='float32' flash_bytes=4,200 ram_bytes=5,100>"
    assert repr(records["FirmwareRecord"]) == fitted
    assert str(records["TrainingRecord"]) == "<TrainingRecord family='tiny' epoch=1 f1=0.8 stopped='patience'>"
    assert repr(Interval(value=0.97, low=0.9, high=1.0)) == "<Interval value=0.97 low=0.9 high=1>"


def test_every_line_fits(records):
    lines = [repr(record) for record in (*records.values(), load("nucleo-l432kc"), at_most("x" * 200, 2, 1, "y" * 90))]
    assert [line for line in lines if len(line) > 100 or "\n" in line] == []


def test_html_is_the_reports_table_and_escaped(records):
    page = records["ScoreRecord"]._repr_html_()
    assert "<th>subject</th><th>segments</th><th>sensitivity</th>" in page
    assert "<td>S5</td><td>6</td><td>0.6667</td>" in page
    assert ATTACK not in page
    assert "&lt;script&gt;" in page


def test_html_of_a_record_without_rows_is_its_line():
    empty = HistoryRecord(target="t", incumbent=None, events=[])
    assert empty._repr_html_() == "<p><code>&lt;HistoryRecord target=&#x27;t&#x27; events=0&gt;</code></p>"


class Long(Record):
    """Thirty intervals."""

    figures: list[Interval]


def test_a_long_table_is_cut_and_says_so():
    record = Long(figures=[Interval(value=float(n), low=0.0) for n in range(30)])
    page = record._repr_html_()
    assert page.count("<tr>") == 21
    assert "10 more rows" in page
    assert len(record.to_frame()) == 30


def test_frames(records):
    by_subject = records["ScoreRecord"].to_frame()
    assert by_subject["subject"].tolist() == ["$x_1", ATTACK, "S5"]
    assert by_subject["fbeta"].tolist() == [s.fbeta for s in records["ScoreRecord"].scores.by_subject]
    by_rhythm = records["ScoreRecord"].to_frame("by_rhythm").set_index("rhythm")
    assert by_rhythm.loc["AFIB", "called_positive"] == 6
    assert by_rhythm.loc["N", "interval"] == by_rhythm.loc["N", "specificity"] == 0.5
    assert records["SearchRecord"].to_frame()["macs"].tolist() == [100, 200, 300, 900]
    assert records["TrainingRecord"].to_frame()["train_loss"].tolist() == [0.6, 0.4]
    assert records["FirmwareRecord"].to_frame("layers")["instructions"].tolist() == [50, 200]
    assert records["FirmwareRecord"].to_frame("gates")["verdict"].tolist() == ["PASS", "PASS"]
    hops = records["VerifyRecord"].to_frame()
    assert hops["label_flips"].tolist()[0] == 1
    assert hops["parity.max_abs"].tolist()[0] == 3.7e-9
    assert records["BenchRecord"].to_frame()["latency_ms.median_ms"].tolist() == [1.0, 1.0]


def test_history_is_a_table():
    assert HistoryRecord(target="t", incumbent=None, events=[]).to_frame().empty


def test_an_unknown_table_is_refused_with_those_that_are_there(records):
    with pytest.raises(EcmEdgeError, match=r"tables by_subject, by_rhythm, by_source.*'rhythms'") as raised:
        records["ScoreRecord"].to_frame("rhythms")
    assert raised.value.hint
    with pytest.raises(EcmEdgeError, match="no table"):
        Interval(value=1.0).to_frame()


def test_without_pandas_the_command_that_installs_it_is_said(records, monkeypatch):
    whole = builtins.__import__

    def without_pandas(name, *arguments, **options):
        if name == "pandas":
            raise ImportError
        return whole(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    with pytest.raises(EcmEdgeError) as raised:
        records["ScoreRecord"].to_frame()
    assert 'pip install "ecm-edge[pandas]"' in raised.value.hint


DRAWN = {
    "TrainingRecord": ("epoch", ["training", "validation", "kept epoch"]),
    "ScoreRecord": ("", ["sensitivity", "specificity", "F2"]),
    "SearchRecord": ("MACs", ["front", "verified", "pruned", "best", "did not fit"]),
    "FirmwareRecord": ("thousand instructions", []),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawing_says_what_it_shows(records, name):
    figure = records[name].plot()
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_legend_handles_labels()[1]) == DRAWN[name]
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_the_drawings_hold_the_figures(records):
    layers = records["FirmwareRecord"].plot().axes[0]
    assert [bar.get_width() for bar in layers.patches] == [0.05, 0.2]
    assert [label.get_text() for label in layers.get_yticklabels()] == ["0_flatten", "1_matmul"]
    front = records["SearchRecord"].plot().axes[0].lines[0]
    assert (list(front.get_xdata()), list(front.get_ydata())) == ([100, 200], [40.0, 60.0])
    reliability = records["ScoreRecord"].scores.calibration.plot().axes[0]
    assert reliability.get_xlabel() == "predicted probability"


def test_a_verdict_in_a_row_is_its_text():
    record = Gated(verdict=Verdict.FAIL, gates=[at_most("n", 2, 1, "B")])
    assert next(shown.rows(record, "gates"))["verdict"] == "FAIL"
    assert repr(record) == "<Gated FAIL gates=1>"


class Gated(Record):
    """One gate."""

    verdict: Verdict
    gates: list[Gate]


@pytest.mark.parametrize("module", [shown, plots])
def test_the_examples_of_its_docstrings(module):
    results = doctest.testmod(module)
    assert results.failed == 0
    assert results.attempted > 0
