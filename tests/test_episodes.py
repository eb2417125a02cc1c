"""Windows become episodes: rules worked by hand, files read back, and what is refused."""

from __future__ import annotations

import doctest
import json
import warnings
from dataclasses import replace

import numpy as np
import pytest

from ecm_edge.base.errors import EcmEdgeError, OutputError, RecordingError
from ecm_edge.data.recordings.formats import FORMATS
from ecm_edge.data.recordings.options import Options
from ecm_edge.data.recordings.windows import Recording, Span
from ecm_edge.data.rhythms import RhythmRules
from ecm_edge.evaluate import episodes as found_episodes
from ecm_edge.evaluate import predict
from ecm_edge.evaluate.answering import Answers
from ecm_edge.evaluate.episodes import Reference, Rule, check_rule, detect, notes, own_time
from ecm_edge.forms import onnx_model
from ecm_edge.metrics import episodes as metrics_episodes
from ecm_edge.report import episodes as report_episodes
from ecm_edge.report.episodes import write_episodes
from tests import tiny
from tests.one_sample import OPTIONS, RATE_HZ, TASK, write

RULES = RhythmRules.of(TASK)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.onnx"
    onnx_model.save(tiny.model(), path)
    return path


def found(margins, *, hop_s=1.0, spans=(), reference=None, **rule):
    """The episodes of windows of 1 s; None is a window that cannot be used."""
    values = np.array([np.nan if margin is None else margin for margin in margins], np.float32)
    starts_s = np.arange(len(values)) * hop_s
    length = round((starts_s[-1] + 1) * RATE_HZ)
    recording = Recording("r", "S1", length, RATE_HZ, spans, lambda a, b: np.zeros(b - a), unit="mV")
    answers = Answers(recording, starts_s, values, ["" if np.isfinite(value) else "flat" for value in values])
    return detect(answers, TASK, Rule(hop_s=hop_s, **rule), reference)


def times(record):
    return [(one.onset_s, one.end_s) for one in record.episodes]


def test_positive_windows_side_by_side_are_an_episode():
    record = found([-1, 1, 2, -1, 0, -1])
    assert times(record) == [(1, 3), (4, 5)]  # a margin of 0 is positive
    assert [one.mean_score for one in record.episodes] == [1.5, 0]
    assert (record.positive_s, record.analysed_s, record.burden, record.longest_s) == (3, 6, 0.5, 2)


def test_overlapping_windows_count_no_time_twice():
    record = found([-1, 1, 1, 1, -1], hop_s=0.25)
    # centres at 0.5, 0.75 … 1.5: windows 1 to 3 own 0.625 to 1.375 of the 2 s
    assert times(record) == [(0.625, 1.375)]
    assert record.analysed == [(0, 2)]
    assert times(found([1, -1], hop_s=0.25)) == [(0, 0.625)]  # the first reaches to its own start
    assert times(found([-1, 1], hop_s=0.25)) == [(0.625, 1.25)]


def test_a_gap_ends_an_episode_and_is_not_analysed():
    record = found([1, 1, None, 1, -1])
    assert times(record) == [(0, 2), (3, 4)]
    assert record.analysed == [(0, 2), (3, 5)]
    assert (record.analysed_s, record.burden, record.windows, record.answered) == (4, 0.75, 5, 4)


def test_a_lost_window_whose_time_others_cover_is_no_gap():
    record = found([1, None, 1, 1], hop_s=0.25)
    assert times(record) == record.analysed == [(0, 1.75)]
    gap = found([1, None, None, None, None, 1], hop_s=0.25)
    assert times(gap) == gap.analysed == [(0, 1), (1.25, 2.25)]


def test_hysteresis_begins_high_and_ends_low():
    margins = [0.5, 2, 0.5, -0.5, -2, 0.5, -0.5, 2]
    assert times(found(margins, begin_at=1, end_below=-1)) == [(1, 4), (7, 8)]
    assert times(found(margins)) == [(0, 3), (5, 6), (7, 8)]


def test_after_a_gap_an_episode_has_to_begin_again():
    assert times(found([2, 0, None, 0, 2], begin_at=1, end_below=-1)) == [(0, 2), (4, 5)]


def test_short_episodes_are_dropped():
    record = found([1, -1, 1, 1, -1, 1], min_duration_s=2)
    assert times(record) == [(2, 4)]
    assert (record.positive_s, record.burden) == (2, pytest.approx(1 / 3))


def test_where_nothing_is_analysed_nothing_is_claimed():
    record = found([None, None])
    assert (record.burden, record.longest_s, record.analysed_s, record.episodes) == (None, None, 0, [])
    assert notes(record, TASK) == [(0, "(NOISE")]


def test_rhythm_notes_hold_until_the_next_one():
    record = found([-1, 1, None, -1, 1])
    assert notes(record, TASK) == [(0, "(N"), (1, "(AFIB"), (2, "(NOISE"), (3, "(N"), (4, "(AFIB")]


def test_every_moment_belongs_to_one_window():
    rng = np.random.default_rng(0)
    for _ in range(100):
        starts_s = np.sort(rng.choice(200, rng.integers(1, 60), replace=False)) * 0.25
        cells = own_time(starts_s, 5.0)
        assert (cells[:, 0] < cells[:, 1]).all()
        assert (cells[1:, 0] >= cells[:-1, 1]).all()
        covered = np.zeros(300, bool)
        for start_s in starts_s:
            covered[int(start_s * 4) : int(start_s * 4) + 20] = True
        assert np.diff(cells).sum() == covered.sum() / 4
        middles = np.flatnonzero(covered) / 4 + 0.125
        owner = np.searchsorted(cells[:, 0], middles, side="right") - 1
        nearest = np.abs(middles[:, None] - (starts_s + 2.5)).min(axis=1)
        assert np.allclose(np.abs(middles - starts_s[owner] - 2.5), nearest)


def test_the_reference_is_the_recordings_own_rhythms():
    spans = [Span(0, 2, "N"), Span(2, 4, "AFIB"), Span(4, 6, "AFL"), Span(6, np.inf, "N")]
    margins = [-1, -1, 1, 1, 1, 1, -1, -1]
    plain = found(margins, spans=spans, reference=Reference(RULES, start_s=0))
    assert plain.reference == [(2, 4)]
    assert plain.figures.duration_positive_predictivity == 0.5
    assert plain.figures.burden_error == 0.25
    excluded = found(margins, spans=spans, reference=Reference(RULES, ("AFL",), start_s=1))
    assert excluded.figures.duration_positive_predictivity == 1
    assert excluded.counts.analysed_s == 5
    assert excluded.figures.burden_error == 0


def test_a_code_that_is_not_known_stops_the_comparison():
    with pytest.raises(RecordingError, match=r"'AF' in r\. Nothing was written\. Near AFIB: write --map AF=AFIB"):
        found([1], spans=[Span(0, 1, "AF")], reference=Reference(RULES))
    mapped = replace(RULES, mapping=(("AF", "AFIB"),))
    assert found([1], spans=[Span(0, 1, "AF")], reference=Reference(mapped)).reference == [(0, 1)]
    assert found([1], spans=[Span(0, 1, "")], reference=Reference(RULES)).reference == []


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule(hop_s=1.5), "--hop"),
        (Rule(hop_s=0.01), "at least 0.02 s"),
        (Rule(hop_s=1, begin_at=0, end_below=1), "--end-below"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule, words):
    with pytest.raises(EcmEdgeError, match=words):
        check_rule(rule, TASK)


@pytest.fixture
def records(tmp_path):
    """A folder of two WFDB records with rhythms, the second with a flat second."""
    folder = tmp_path / "in"
    folder.mkdir()
    every = [("a", [1, 1, -1, -1], 2), ("b", [-1, "flat", 1, 1, 1], 3)]
    made = []
    for name, margins, change_s in every:
        recording = FORMATS["csv"].open_one(write(tmp_path / f"{name}.csv", margins), OPTIONS, TASK)
        rhythms = ["AFIB", "N"] if name == "a" else ["N", "AFIB"]
        spans = [Span(0, change_s, rhythms[0]), Span(change_s, len(margins), rhythms[1])]
        made.append(replace(recording, name=name, spans=spans))
    FORMATS["wfdb"].write(folder, made, TASK)
    return folder


def test_the_folder_of_files(model, records, tmp_path):
    out = tmp_path / "out"
    record = write_episodes(model, records, out, task=TASK, reference=Reference(RULES, start_s=0))
    assert sorted(path.name for path in out.iterdir()) == [
        *("a.ecm", "a.html", "b.ecm", "b.html", "episodes.csv", "episodes.json")
    ]
    assert (out / "episodes.csv").read_text().splitlines() == [
        "name,subject,onset_s,end_s,duration_s,mean_score",
        "a,a,0.000,2.000,2.000,1.0000",
        "b,b,2.000,5.000,3.000,1.0000",
    ]
    assert json.loads((out / "episodes.json").read_text()) == record.model_dump(mode="json")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of pandas, in wfdb
        import wfdb

        read = wfdb.rdann(str(out / "b"), "ecm")
    assert (read.sample.tolist(), read.aux_note, read.fs) == ([0, 8, 16], ["(N", "(NOISE", "(AFIB"], RATE_HZ)
    assert [one.burden for one in record.recordings] == [0.5, 0.75]
    assert [(one.name, one.reason, one.windows) for one in record.left_out] == [
        ("b", "flat: every sample is the same", 1)
    ]


def test_gross_and_averaged_figures(model, records, tmp_path):
    record = write_episodes(model, records, tmp_path / "out", task=TASK, reference=Reference(RULES, start_s=0))
    # a: reference 0-2, test 0-2; b: reference 3-5, test 2-5
    assert record.gross.duration_positive_predictivity == 0.8
    assert record.averaged.duration_positive_predictivity == pytest.approx((1 + 2 / 3) / 2)
    assert record.gross.duration_sensitivity == record.averaged.duration_sensitivity == 1
    assert (record.counts.reference_episodes, record.counts.analysed_s) == (2, 8)
    assert record.gross.burden_error == pytest.approx(5 / 8 - 4 / 8)
    assert record.averaged.burden_error == pytest.approx((0 + 0.25) / 2)


def test_a_comparison_that_begins_after_the_end_is_told(model, records, tmp_path):
    record = write_episodes(model, records, tmp_path / "out", task=TASK, reference=Reference(RULES))
    assert record.warnings == ["a, b: shorter than the 300 s after which the comparison begins: not compared (--start)"]
    assert record.gross.episode_sensitivity is None
    assert record.averaged.burden_error is None


def test_an_existing_folder_stays(model, records, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="out exists"):
        write_episodes(model, records, tmp_path / "out", task=TASK)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reference": Reference(RULES, ("AFLL",))}, "'AFLL'"),
        ({"reference": Reference(RULES, ("AFIB",))}, "not a positive one"),
        ({"options": Options(lead="V9")}, "it has no lead 'V9'"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(model, records, tmp_path, options, words):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RecordingError, match=words):
        write_episodes(model, records, tmp_path / "out", task=TASK, **options)
    assert sorted(tmp_path.iterdir()) == before


def test_a_reference_needs_rhythms(model, tmp_path):
    source = write(tmp_path / "r.csv", [1, -1])
    with pytest.raises(RecordingError, match=r"r\.csv: no rhythm is given"):
        write_episodes(model, source, tmp_path / "out", task=TASK, options=OPTIONS, reference=Reference(RULES))


def test_a_label_table_is_a_reference_for_one_file(model, tmp_path):
    source = write(tmp_path / "r.csv", [1, -1, 1])
    (tmp_path / "l.csv").write_text("file,subject,rhythm,onset_s,duration_s\nr.csv,S7,AFIB,0,1\n")
    options = replace(OPTIONS, labels=tmp_path / "l.csv")
    reference = Reference(RULES, start_s=0)
    record = write_episodes(model, source, tmp_path / "out", task=TASK, options=options, reference=reference)
    assert record.recordings[0].subject == "S7"
    assert "a part of it has no rhythm: there the reference counts as negative" in [one.text for one in record.notes]
    assert record.gross.duration_positive_predictivity == 0.5
    other = write(tmp_path / "other.csv", [1])
    with pytest.raises(RecordingError, match=r"no 'other\.csv' in"):
        write_episodes(model, other, tmp_path / "o2", task=TASK, options=options, reference=reference)


def test_a_data_set_has_no_episodes(model, tmp_path):
    data = tiny.data(tmp_path / "d", {"S1": [("AFIB", [0.5])]})
    with pytest.raises(RecordingError, match="ecm-edge predict"):
        write_episodes(model, data.folder, tmp_path / "out", task=TASK)


def test_files_of_the_same_name_are_refused(model, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a b.csv", "a_b.csv"):
        write(folder / name, [1])
    with pytest.raises(RecordingError, match="'a_b_csv' twice"):
        write_episodes(model, folder, tmp_path / "out", task=TASK, options=OPTIONS)


def test_the_command_line(tmp_path, capsys):
    shelf = "data/reference/loongson-2k0500/entries/96-90"
    given = ["episodes", shelf, "data/wfdb", "--reference", "--start", "10", "-x", "AFL"]
    assert tiny.run([*given, "-o", tmp_path / "out"]) == 0
    said = capsys.readouterr().out
    assert "EC57 from 0:00:10 on, AFL excluded" in said
    assert "gross" in said
    assert tiny.run([*given, "-o", tmp_path / "two", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["recordings"]) == 3
    assert tiny.run([*given, "-o", tmp_path / "out"]) == 2


@pytest.mark.parametrize("option", [("-x", "AFL"), ("--start", "0"), ("--map", "AF=AFIB"), ("--codes", "snomed")])
def test_an_option_of_the_reference_is_refused_without_one(option, tmp_path, capsys):
    shelf = "data/reference/loongson-2k0500/entries/96-90"
    assert tiny.run(["episodes", shelf, "data/wfdb", "-o", tmp_path / "out", *option]) == 2
    assert "with --reference only" in capsys.readouterr().err


@pytest.mark.parametrize("module", [metrics_episodes, found_episodes, predict, report_episodes])
def test_the_examples_of_the_docstrings(module):
    assert doctest.testmod(module).failed == 0
