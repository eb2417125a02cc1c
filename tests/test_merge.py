"""Data sets put together: sources are kept, names stand once, and what does not agree is refused or told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ecm_edge import tasks
from ecm_edge.base.errors import DatasetError, OutputError
from ecm_edge.data import info, splits
from ecm_edge.data.audit import audit
from ecm_edge.data.dataset import (
    SAMPLES_FILE,
    Description,
    LeftOut,
    Note,
    SegmentBlock,
    Source,
    check_content,
    open_dataset,
)
from ecm_edge.data.dataset_writer import write_dataset
from ecm_edge.data.merge import MergeRecord, merge
from ecm_edge.data.merge.agreement import MergeRules
from ecm_edge.data.synthetic import synthesise
from ecm_edge.evaluate.score import score_model
from ecm_edge.forms import onnx_model
from ecm_edge.metrics import Scores

from . import tiny
from .tiny import run, run_for_output

T = 8


def make(folder, *rows, first=1.0, split="", notes=(), leads=None, left_out=(), **changes):
    """A data set of (subject, rhythm) rows, two of them an episode; sample values count up from `first`."""
    subjects, rhythms = zip(*rows, strict=True)
    samples = (np.arange(len(rows) * T, dtype=np.float32) + np.float32(first)).reshape(-1, T)
    names = [f"{subject}-{rhythm}-{k}" for k, (subject, rhythm) in enumerate(rows)]
    episodes = [f"{k // 2}" for k in range(len(rows))]
    block = SegmentBlock(samples, names, subjects, rhythms, episodes, [split] * len(rows), left_out=left_out)
    fields = {"sampling_rate_hz": 250, "samples_per_segment": T, "unit": "mV", "source": Source(format="test")}
    write_dataset(folder, Description(**fields | changes), [block], notes=notes, leads=leads)
    return open_dataset(folder)


def pair(folder, **changes):
    """Two sets with the subject S1 in both, 3 and 2 segments; `changes` are of the second one."""
    one = make(folder / "one", ("S2", "AFIB"), ("S2", "N"), ("S1", "N"))
    return [one, make(folder / "two", *changes.pop("rows", [("S1", "AFIB"), ("S7", "O")]), first=100, **changes)]


def merged(folder, sets, **rules):
    record = merge(sets, folder / "all", MergeRules(**rules))
    return record, open_dataset(folder / "all")


def found(problem):
    return f"{problem.value.rule}: {problem.value.found}. {problem.value.hint}"


def test_segments_keep_their_samples_and_their_source(tmp_path):
    one, two = pair(tmp_path)
    _, data = merged(tmp_path, [one, two])
    rows = np.arange(5)
    assert np.array_equal(data.samples, np.concatenate([one.samples, two.samples]))
    assert data.source_names(rows) == ["one"] * 3 + ["two"] * 2
    assert data.subject_names(rows) == ["S2", "S2", "S1", "two:S1", "S7"]
    assert data.names(rows) == [*one.names(rows[:3]), *two.names(rows[:2])]
    assert data.table["episode"].tolist() == [0, 0, 1, 2, 2]
    assert data.labels.tolist() == [1, 0, 0, 1, 0]
    check_content(data)


def test_a_set_that_was_not_merged_has_one_source_without_a_name(tmp_path):
    one, _ = pair(tmp_path)
    assert one.source_names(np.arange(3)) == [""] * 3
    assert info.counts(one).sources == []


def test_the_header_says_where_each_subject_is_from(tmp_path):
    one, two = pair(tmp_path)
    record, data = merged(tmp_path, [one, two])
    first, second = data.header.sources
    assert (first.name, first.content_sha256, first.subjects, first.renamed) == (
        *("one", one.header.content_sha256),
        *(["S1", "S2"], {}),
    )
    assert (second.subjects, second.renamed) == (["two:S1", "S7"], {"two:S1": "S1"})
    assert record.renamed == {"two:S1": "S1"}
    assert "1 subjects renamed, since an earlier set has their names: S1 is two:S1" in {n.text for n in record.notes}
    assert [(s.source, s.segments, s.subjects, s.labels["positive"]) for s in record.sources] == [
        *[("one", 3, 2, 1), ("two", 2, 2, 1)],
    ]


def test_sources_enter_the_content_hash_of_a_merged_set(tmp_path):
    _, data = merged(tmp_path, pair(tmp_path))
    path = tmp_path / "all" / "dataset.json"
    header = json.loads(path.read_text())
    header["sources"][0]["subjects"], header["sources"][1]["subjects"] = [], data.header.subjects
    path.write_text(json.dumps(header))
    with pytest.raises(DatasetError, match=r"dataset\.json of .* changed"):
        open_dataset(tmp_path / "all")


def test_merging_a_merged_set_keeps_its_sources(tmp_path):
    inner = merged(tmp_path, pair(tmp_path))[1]
    third = make(tmp_path / "one-more" / "one", ("S1", "AFIB"), ("two:S1", "N"), first=200)
    record = merge([inner, third], tmp_path / "outer")
    data = open_dataset(tmp_path / "outer")
    assert [source.name for source in data.header.sources] == ["one", "two", "one-2"]
    assert data.header.sources[1].renamed == {"two:S1": "S1"}
    assert data.header.sources[2].renamed == {"one-2:S1": "S1", "one-2:two:S1": "two:S1"}
    assert [s.content_sha256 for s in record.sources][2] == third.header.content_sha256
    assert data.table["episode"].tolist() == [0, 0, 1, 2, 2, 3, 3]


def test_what_the_sets_have_to_tell_is_kept_with_its_source(tmp_path):
    notes, left_out = [Note(name="r1", text="gap")], [LeftOut(name="r2", reason="flat", windows=3)]
    sets = pair(tmp_path, notes=notes, left_out=left_out, leads={"II": 4})
    data = merged(tmp_path, sets)[1]
    assert Note(name="two/r1", text="gap") in data.header.notes
    assert data.header.left_out == [LeftOut(name="two/r2", reason="flat", windows=3)]
    assert data.header.leads == {"II": 4}


def test_positive_rhythms_have_to_agree(tmp_path):
    sets = pair(tmp_path, rows=[("S1", "A"), ("S7", "N")], positive_rhythms=["A"])
    with pytest.raises(DatasetError) as problem:
        merged(tmp_path, sets)
    assert "AFIB in one, A in two" in found(problem)
    assert "--map A=AFIB" in found(problem)
    assert "--positive A,AFIB" in found(problem)
    record, data = merged(tmp_path, sets, mapping=(("A", "AFIB"),))
    assert (data.header.positive_rhythms, data.header.task.positive) == (["AFIB"], ["AFIB"])
    assert data.header.rhythms == ["AFIB", "N"]
    assert data.labels.tolist() == [1, 0, 0, 1, 0]
    assert [(r.rhythm, r.written_as, r.segments, r.subjects) for r in record.labels] == [
        *[("AFIB", ["A", "AFIB"], 2, 2), ("N", ["N"], 3, 3)],
    ]


def test_a_rhythm_that_becomes_positive_is_told(tmp_path):
    record, data = merged(tmp_path, pair(tmp_path), positive=("AFIB", "O"))
    assert data.labels.tolist() == [1, 0, 0, 1, 1]
    assert Note(name="two", text="the rhythm O was negative there and is positive here") in record.notes


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ({"positive": ("AFBI",)}, "'AFBI', not among AFIB, N, O"),
        ({"mapping": (("X", "AFIB"),)}, "'X', not among"),
        ({"mapping": (("O", "AFBI"),)}, "'AFBI', not among"),
        ({"mapping": (("O", "N"), ("O", "AFIB"))}, "'O' twice"),
        ({"unit": "mV"}, "--unit is for sets without a unit"),
    ],
)
def test_a_rule_that_names_nothing_is_refused(tmp_path, rules, text):
    with pytest.raises(DatasetError) as problem:
        merged(tmp_path, pair(tmp_path), **rules)
    assert text in found(problem)
    assert not (tmp_path / "all").exists()


def test_units_have_to_agree_or_be_stated(tmp_path):
    sets = pair(tmp_path, unit="unstated")
    with pytest.raises(DatasetError) as problem:
        merged(tmp_path, sets)
    assert "mV in one, unstated in two" in found(problem)
    assert "--unit mV" in found(problem)
    with pytest.raises(DatasetError, match="mV in one, uV in two"):
        merged(tmp_path, sets, unit="uV")
    record, data = merged(tmp_path, sets, unit="mV")
    assert data.header.unit == "mV"
    assert Note(name="two", text="unit unstated there, mV here") in record.notes
    assert merge(sets, tmp_path / "open", MergeRules(unit="unstated")).unit == "unstated"


def test_two_units_are_never_one(tmp_path):
    with pytest.raises(DatasetError, match="again in the unit of the other"):
        merged(tmp_path, pair(tmp_path, unit="uV"))


def test_the_rule_of_blank_rhythms_has_to_agree_where_there_are_some(tmp_path):
    sets = [make(tmp_path / "one", ("S1", ""), ("S2", "AFIB"))]
    sets.append(make(tmp_path / "two", ("S3", ""), ("S4", "N"), first=100, blank="drop"))
    with pytest.raises(DatasetError, match="negative in one, drop in two"):
        merged(tmp_path, sets)
    record, data = merged(tmp_path, sets, blank="negative")
    assert data.labels.tolist() == [0, 1, 0, 0]
    assert Note(name="two", text="the rhythm (blank) was no label there and is negative here") in record.notes
    without = make(tmp_path / "three", ("S5", "N"), first=200, blank="drop")
    assert merge([sets[0], without], tmp_path / "more").blank == "negative"


def test_one_synthetic_set_marks_the_whole(tmp_path):
    record, data = merged(tmp_path, pair(tmp_path, synthetic=True))
    assert data.header.synthetic
    assert Note(name="one", text="not synthetic, in a set that is marked synthetic for another one") in record.notes


def test_fixed_splits_are_kept_where_all_sets_have_them(tmp_path):
    sets = [make(tmp_path / name, (f"S{k}", "N"), first=9 * k, split=part, splits=["train", "test"][::order])
            for k, (name, part, order) in enumerate((("a", "train", 1), ("b", "test", -1)))]  # fmt: skip
    data = merged(tmp_path, sets)[1]
    assert (data.header.splits, data.table["split"].tolist()) == (["train", "test"], [0, 1])
    record = merge([sets[0], make(tmp_path / "c", ("S5", "N"), first=99)], tmp_path / "without")
    assert record.splits == {}
    assert any(note.name == "a" and "its fixed splits are not kept" in note.text for note in record.notes)


def test_duplicates_across_sets_are_told_or_dropped(tmp_path):
    one, _ = pair(tmp_path)
    again = make(tmp_path / "again", ("P1", "AFIB"), ("P1", "AFIB"), ("P2", "N"), ("P3", "N"))
    record, data = merged(tmp_path, [one, again])
    assert [(d.subject, d.first_subject, d.segments, d.other_label) for d in record.duplicates] == [
        *[("P1", "S2", 2, 1), ("P2", "S1", 1, 0)],
    ]
    assert data.header.segments == 7
    assert Note(name="again", text="3 segments have the samples of segments of one; they are kept") in record.notes
    assert audit(data).verdict == "FAIL"
    record = merge([one, again], tmp_path / "dropped", MergeRules(drop_duplicates=True))
    data = open_dataset(tmp_path / "dropped")
    assert data.header.subjects == ["P3", "S1", "S2"]
    assert data.header.sources[1].subjects == ["P3"]
    assert data.samples[3].tolist() == again.samples[3].tolist()
    assert [(one.name, one.windows) for one in data.header.left_out] == [("again/P1", 2), ("again/P2", 1)]


def test_a_set_without_a_segment_of_its_own_is_refused(tmp_path):
    one = make(tmp_path / "one", ("S1", "N"))
    with pytest.raises(DatasetError, match="none in two"):
        merged(tmp_path, [one, make(tmp_path / "two", ("P1", "N"))], drop_duplicates=True)
    assert not (tmp_path / "all").exists()


def test_copies_within_one_set_are_not_of_the_merge(tmp_path):
    one, two = pair(tmp_path)
    copy = SegmentBlock(np.ones((2, T), np.float32), ["a", "b"], ["X", "Y"], ["N", "N"], ["0", "1"], ["", ""])
    write_dataset(tmp_path / "twice", Description.model_validate(one.header.model_dump(include=FIELDS)), [copy])
    assert merged(tmp_path, [two, open_dataset(tmp_path / "twice")])[0].duplicates == []


FIELDS = set(Description.model_fields)


def test_one_set_alone_twice_or_inside_another_is_refused(tmp_path):
    one, two = pair(tmp_path)
    with pytest.raises(DatasetError, match="two data sets or more"):
        merged(tmp_path, [one])
    with pytest.raises(DatasetError, match="each data set is merged once"):
        merged(tmp_path, [one, one])
    both = merged(tmp_path, [one, two])[1]
    with pytest.raises(DatasetError, match="name the sets that it was merged from"):
        merge([both, one], tmp_path / "outer")
    assert not (tmp_path / "outer").exists()


def test_segments_of_another_form_are_refused(tmp_path):
    one = pair(tmp_path)[0]
    longer = tasks.default().model_copy(update={"window_s": 10.0, "name": "af-10s"})
    unfiltered = tasks.default().model_copy(update={"band_hz": None})
    for number, (changes, text) in enumerate(
        [
            ({"sampling_rate_hz": 200}, "8 samples at 200 Hz"),
            ({"task": longer}, "10 s, 0.5-40 Hz"),
            ({"task": unfiltered}, "no band"),
        ]
    ):
        with pytest.raises(DatasetError, match=text):
            merged(tmp_path, [one, make(tmp_path / f"other{number}", ("S9", "N"), first=99, **changes)])


def test_a_damaged_set_and_an_output_that_is_there_leave_nothing(tmp_path):
    one, two = pair(tmp_path)
    with pytest.raises(OutputError, match="exists"):
        merge([one, two], tmp_path / "two")
    assert open_dataset(tmp_path / "two").header.segments == 2
    with (tmp_path / "two" / SAMPLES_FILE).open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x41")
    with pytest.raises(DatasetError, match="changed"):
        merged(tmp_path, [one, open_dataset(tmp_path / "two")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_the_command_tells_what_it_did(tmp_path, capsys):
    pair(tmp_path)
    make(tmp_path / "again", ("P1", "AFIB"), ("P2", "N"), ("P2", "N"), ("P3", "N"))
    sets = [tmp_path / name for name in ("one", "two", "again")]
    assert run(["data", "merge", *sets, "-o", tmp_path / "all"]) == 0
    out, err = capsys.readouterr()
    assert "9 segments of 7 subjects" in out
    assert "note: two: 1 subjects renamed" in err
    assert "duplicates: P1 of again = S2 of one: 1 segments" in err
    assert "warning: one recording may come to lie in training and in test: --drop-duplicates" in err
    code, out = run_for_output("data", "info", tmp_path / "all")
    assert code == 0
    assert sum(line.split()[:1] == ["again"] for line in out.splitlines()) == 1
    code, out = run_for_output("data", "merge", *sets, "-o", tmp_path / "more", "--drop-duplicates", "--json")
    assert (code, MergeRecord.model_validate_json(out).segments) == (0, 6)
    assert run(["data", "merge", sets[0], "-o", tmp_path / "none"]) == 2
    assert run(["data", "merge", sets[0], tmp_path / "nothing", "-o", tmp_path / "none"]) == 2
    assert not (tmp_path / "none").exists()


def sources_of(data, subjects):
    return [data.header.sources[data.sources[data.header.subjects.index(name)]].name for name in subjects]


@pytest.fixture
def mixed(tmp_path):
    """12 and 6 subjects of two sources."""
    for seed, subjects in (("1", 12), ("2", 6)):
        synthesise(tmp_path / f"s{seed}", subjects=subjects, seed=int(seed), segments_per_subject=4)
    return merged(tmp_path, [open_dataset(tmp_path / "s1"), open_dataset(tmp_path / "s2")])[1]


def test_every_fold_and_part_is_mixed_alike_by_source(mixed):
    assignment = splits.assign_folds(mixed, count=3, seed=0)
    for number in range(3):
        names = sources_of(mixed, assignment.subjects(number))
        assert (names.count("s1"), names.count("s2")) == (4, 2)
    held = splits.holdout(mixed, seed=0, validation_share=1 / 6, test_share=1 / 3)
    names = sources_of(mixed, held.test)
    assert (names.count("s1"), names.count("s2")) == (4, 2)


def test_a_candidate_is_trained_on_a_merged_set_and_scored_by_source(mixed, tmp_path):
    options = ["--family", "separable", "--set", "channels=4", "--set", "depth=1", "--set", "kernel=5"]
    options += ["--set", "stride=4", "--set", "training.epochs=1", "--target", "loongson-2k0500"]
    out = tmp_path / "c"
    assert run(["train", "--data", mixed.folder, *options, "-o", out]) in {0, 1}
    record = json.loads((out / "candidate.json").read_text())
    assert record["source_sha256"] == mixed.header.source_sha256
    assert run(["export", out, "--data", mixed.folder]) == 0
    scores = score_model(out, mixed, subjects="all").scores
    assert [(one.source, one.subjects, one.segments) for one in scores.by_source] == [("s1", 12, 48), ("s2", 6, 24)]
    whole = scores.confusion.model_dump()
    assert whole == {key: sum(getattr(one.confusion, key) for one in scores.by_source) for key in whole}
    own = score_model(out, open_dataset(tmp_path / "s2"), subjects="all")
    assert own.scores.by_source == []
    assert own.scores.g == scores.by_source[1].g
    each = [one.calibration for one in scores.by_source]
    brier = sum(one.calibration.brier.value * one.segments for one in scores.by_source) / scores.segments
    assert scores.calibration.brier.value == pytest.approx(brier)
    assert own.scores.calibration == each[1] != each[0]
    before = {key: value for key, value in scores.model_dump().items() if key != "by_source"}
    assert Scores.model_validate(before).by_source == []


def test_a_model_of_a_source_has_seen_the_merged_set_and_the_other_way_round(tmp_path):
    one = tiny.graded(tmp_path / "one")
    two = tiny.data(tmp_path / "two", {"S0": [("AFIB", [5]), ("N", [-7])], "P": [("AFIB", [3]), ("N", [-9])]})
    both = merged(tmp_path, [one, two])[1]
    of_one, of_both = tmp_path / "one.onnx", tmp_path / "both.onnx"
    onnx_model.save(tiny.model(dataset_sha256=one.header.content_sha256), of_one)
    facts = {"dataset_sha256": both.header.content_sha256, "source_sha256": ",".join(both.header.source_sha256)}
    onnx_model.save(tiny.model(**facts), of_both)
    assert score_model(of_one, both).trained_on is None
    assert score_model(of_one, two).trained_on == []
    assert score_model(of_both, two).trained_on is None
    of_two = tiny.make_candidate(tmp_path / "c", two, train=("S0",), validation=(), test=("P",))
    assert score_model(of_two, both, subjects="all").trained_on == ["two:S0"]
    of_all = tiny.make_candidate(tmp_path / "d", both, train=("S0",), validation=(), test=("two:S0",))
    assert score_model(of_all, both).trained_on == []


def test_subjects_of_duplicates_are_shown_and_never_acted_upon(tmp_path, capsys):
    make(tmp_path / "a", ("S1", "AFIB"), ("S2", "N"))
    make(tmp_path / "b", ("\x1b[2JS3", "AFIB"), ("S4", "N"), ("S4", "N"))
    assert run(["data", "merge", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "c"]) == 0
    told = capsys.readouterr().err
    assert "\\x1b[2JS3 of b" in told
    assert "\x1b" not in told
