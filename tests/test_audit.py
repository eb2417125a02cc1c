"""The audit finds what was planted, and nothing in a clean data set."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from ecm_edge.data.audit import audit, predictions
from ecm_edge.data.audit.duplicates import duplicates, exact
from ecm_edge.data.audit.signals import marks
from ecm_edge.data.dataset import Description, SegmentBlock, Source, open_dataset
from ecm_edge.data.dataset_writer import write_dataset
from ecm_edge.data.synthetic import synthesise
from tests import tiny

T = 1250
repeats = sys.modules["ecm_edge.data.audit.duplicates"]  # the package has a function of this name


def make(folder, samples, *, subjects=None, rhythms=None, splits=None, blank="negative", **meaning):
    """A data set of (N, T); by default a subject each and rhythms in turn."""
    n = len(samples)
    block = SegmentBlock(
        np.asarray(samples, np.float32),
        [f"row{k}" for k in range(n)],
        subjects or [f"S{k}" for k in range(n)],
        rhythms or ["N", "AFIB"] * (n // 2),
        [f"e{k}" for k in range(n)],
        splits or [""] * n,
    )
    names = sorted(set(splits or []) - {""})
    fixed = {"sampling_rate_hz": 250, "samples_per_segment": T, "splits": names, "blank": blank, "unit": "mV"}
    write_dataset(folder, Description(**{**fixed, **meaning}, source=Source(format="test")), [block])
    return open_dataset(folder)


def noise(n, seed=0):
    return np.cumsum(np.random.default_rng(seed).normal(size=(n, T)), axis=1)


def verdicts(record):
    return {gate.name: (gate.verdict.value, gate.value) for gate in record.gates}


def findings(record):
    return {finding.kind: finding for finding in record.findings}


def test_a_clean_data_set_passes(dataset):
    record = audit(dataset)
    assert record.verdict == "PASS"
    assert record.synthetic
    assert record.out_of_fold_auc > 0.8
    assert not {"duplicates", "flat", "clipped", "blank rhythm"} & set(findings(record))


def test_exact_and_near_duplicates_are_found_and_lookalikes_are_not(tmp_path):
    samples = noise(6)
    samples[3] = samples[0]
    samples[4] = 2 * samples[1] + 7 + np.random.default_rng(1).normal(size=T) * samples[1].std() * 0.02
    samples[5] = samples[2] + np.random.default_rng(2).normal(size=T) * samples[2].std() * 0.2
    data = make(tmp_path / "d", samples)
    assert duplicates(data).tolist() == [[0, 3], [1, 4]]


def test_duplicates_across_subjects_and_labels_fail(tmp_path):
    samples = noise(4)
    samples[1] = samples[0]
    record = audit(make(tmp_path / "d", samples))
    assert verdicts(record)["duplicates across subjects"] == ("FAIL", 1)
    assert verdicts(record)["duplicates with two labels"] == ("FAIL", 1)
    assert record.gates[2].detail == "row0 = row1"
    assert record.verdict == "FAIL"


def test_duplicates_within_a_subject_are_a_finding_only(tmp_path):
    samples = noise(4)
    samples[2] = samples[0]
    record = audit(make(tmp_path / "d", samples, subjects=["S1", "S2", "S1", "S2"]))
    assert record.verdict == "PASS"
    assert findings(record)["duplicates"].examples == ["row2"]


def test_a_subject_in_two_fixed_splits_fails(tmp_path):
    data = make(tmp_path / "d", noise(4), subjects=["S1", "S2", "S1", "S3"], splits=["train", "train", "test", ""])
    record = audit(data)
    assert verdicts(record)["subjects in more than one split"] == ("FAIL", 1)
    assert record.gates[0].detail == "S1"


def test_a_duplicate_across_splits_fails(tmp_path):
    samples = noise(4)
    samples[2] = samples[0]
    record = audit(make(tmp_path / "d", samples, splits=["train", "train", "test", "test"]))
    assert verdicts(record)["duplicates across splits"] == ("FAIL", 1)


@pytest.mark.parametrize(
    ("subjects", "rhythms", "gate"),
    [(["S1"] * 4, None, "subjects with a label"), (None, ["AFIB"] * 4, "classes"), (None, ["N"] * 4, "classes")],
)
def test_one_subject_or_one_class_fails(tmp_path, subjects, rhythms, gate):
    record = audit(make(tmp_path / "d", noise(4), subjects=subjects, rhythms=rhythms))
    assert verdicts(record)[gate] == ("FAIL", 1)
    missing = {"AFIB": "no negative window", "N": "no positive window"}.get(rhythms[0] if rhythms else "", "")
    assert {one.name: one for one in record.gates}["classes"].detail.startswith(missing)
    assert record.out_of_fold_auc is None
    assert record.contradictions == []


def test_one_segment_can_be_audited(tmp_path):
    assert audit(make(tmp_path / "d", noise(1), rhythms=["N"])).verdict == "FAIL"


def test_equal_segments_are_found_as_by_comparing_all(tmp_path):
    rng = np.random.default_rng(5)
    samples = noise(40)[rng.integers(0, 40, 100)]
    samples[7, 3] = np.nextafter(samples[7, 3], np.inf)  # the same after rounding to float32
    data = make(tmp_path / "d", samples)
    rows = np.asarray(data.samples)
    expected = [int(np.flatnonzero((rows == row).all(axis=1))[0]) for row in rows]
    assert exact(data)[0].tolist() == expected
    assert exact(data)[1].tolist() == [row for row, first in enumerate(expected) if first != row]


def test_segments_with_the_same_number_are_still_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(repeats, "_numbers", lambda samples: np.zeros(len(samples), np.uint64))
    samples = noise(6)
    samples[4] = samples[1]
    assert exact(make(tmp_path / "d", samples))[1].tolist() == [4]


def test_marks_are_those_of_looking_at_every_second():
    rng = np.random.default_rng(6)
    samples = noise(300, seed=6).astype(np.float32)
    for row in samples[::2]:  # a piece of any length around the limits, at any place
        start, length = rng.integers(0, T - 300), rng.integers(240, 260)
        row[start : start + length] = row[start] + rng.uniform(0, 0.012) * np.ptp(row) * rng.random(length)
    flat, _ = marks(samples, 250.0)
    seen = samples[:, :-1]  # the last place of a window is not looked at
    windows = np.lib.stride_tricks.sliding_window_view(seen, 250, axis=1)
    limit = np.float32(0.01) * np.ptp(samples, axis=1)
    assert flat.tolist() == (np.ptp(windows, axis=2) <= limit[:, None]).any(axis=1).tolist()
    assert 20 < flat.sum() < 140


def test_labels_of_a_large_data_set_are_checked_in_a_part_of_it(dataset, monkeypatch):
    monkeypatch.setattr(predictions, "LOOKED_AT", 80)
    monkeypatch.setattr("ecm_edge.data.audit.LOOKED_AT", 80)
    record = audit(dataset)
    found = findings(record)["label not checked"]
    assert found.segments == dataset.header.segments - 80
    assert found.detail == "labels were checked in 80 segments, evenly over the data set"
    assert record.out_of_fold_auc > 0.5


class Counted(np.ndarray):
    """Samples that keep how many rows were read at a time."""

    most = 0

    def __getitem__(self, index):
        read = super().__getitem__(index)
        Counted.most = max(Counted.most, len(read))
        return np.asarray(read)


def test_an_audit_reads_a_block_at_a_time(dataset, monkeypatch):
    monkeypatch.setattr(repeats, "_BLOCK", 30)
    monkeypatch.setattr(repeats, "_SAMPLE", 30)
    counted = replace(dataset, samples=np.asarray(dataset.samples).view(Counted))
    assert audit(counted) == audit(dataset)
    assert dataset.header.segments > 100
    assert 0 < Counted.most <= 60  # 30 pairs, or the sample of the axes, rounded up


def test_a_second_without_change_is_flat_and_a_shorter_one_is_not():
    samples = noise(2)
    samples[0, 300:551] = samples[0, 300]
    samples[1, 300:540] = samples[1, 300]
    assert marks(samples, 250.0)[0].tolist() == [True, False]


def test_eight_samples_at_an_extreme_are_clipped_and_seven_are_not():
    samples = noise(3)
    samples[0, 300:308] = samples[0].max() + 1
    samples[1, 300:308] = samples[1].min() - 1
    samples[2, 300:307] = samples[2].max() + 1
    assert marks(samples, 250.0)[1].tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("unit", "scale", "kind", "detail"),
    [
        ("mV", 1, None, ""),
        ("mV", 1000, "amplitude", "span more than 2e+03 mV, where an ECG spans 0.1 to 10 mV"),
        ("mV", 0.01, "amplitude", "span more than 0.02 mV"),
        ("uV", 1000, None, ""),
        ("uV", 1, "amplitude", "where an ECG spans 100 to 10000 uV"),
        ("unstated", 1, "unit", "'unstated', which is no voltage"),
        ("ADC counts", 400, "unit", "span more than 800"),
    ],
)
def test_an_amplitude_that_is_none_of_an_ecg_is_a_finding(tmp_path, unit, scale, kind, detail):
    waves = np.sin(np.arange(T) / np.array([[7], [9], [11], [13]])) * scale
    record = audit(make(tmp_path / "d", waves, unit=unit))
    found = {name: one for name, one in findings(record).items() if name in {"amplitude", "unit"}}
    assert list(found) == [kind] * (kind is not None)
    assert not kind or (detail in found[kind].detail and found[kind].segments == 4)
    assert record.verdict == "PASS"


@pytest.mark.parametrize(("blank", "words"), [("negative", "counted as negative"), ("drop", "without a label")])
def test_blank_rhythms_are_a_finding(tmp_path, blank, words):
    record = audit(make(tmp_path / "d", noise(4), rhythms=["", "N", "AFIB", "N"], blank=blank))
    assert findings(record)["blank rhythm"].segments == 1
    assert words in findings(record)["blank rhythm"].detail


def test_mislabelled_subjects_are_contradicted(tmp_path):
    synthesise(tmp_path / "s", subjects=20, seed=1, segments_per_subject=20)
    good = open_dataset(tmp_path / "s")
    names = np.array(good.header.subjects)[good.table["subject"]]
    rhythms = np.array(good.header.rhythms)[good.table["rhythm"]]
    rhythms[names == "P2"] = ""  # a subject with AF only, its labels lost
    record = audit(make(tmp_path / "d", good.samples, subjects=list(names), rhythms=list(rhythms)))
    shares = {(one.subject, one.rhythm): one.share for one in record.contradictions}
    assert shares["P2", ""] > 0.5
    assert findings(record)["blank rhythm"].segments == 20


def test_a_rhythm_of_one_subject_is_a_finding(tmp_path):
    record = audit(make(tmp_path / "d", noise(4), rhythms=["N", "AFIB", "AFIB", "B"]))
    kinds = [one.detail for one in record.findings if one.kind == "rhythm of one subject"]
    assert kinds == ["B is seen in S3 only", "N is seen in S0 only"]


@pytest.mark.real_data
def test_the_contests_blank_labels_are_contradicted(tmp_path, real_data):
    names = np.array((real_data / "names.txt").read_text().split())
    rows = np.arange(0, len(names), 10)
    parts = [name.split("-") for name in names[rows]]
    samples = np.load(real_data / "segments.npy", mmap_mode="r")[rows] / 16384
    data = make(tmp_path / "d", samples, subjects=[p[0] for p in parts], rhythms=[p[1] for p in parts])
    record = audit(data)
    shares = {(one.subject, one.rhythm): one.share for one in record.contradictions}
    assert record.verdict == "PASS"
    assert shares["S47", ""] > 0.5


@pytest.mark.parametrize(("rhythm", "missing"), [("N", "positive"), ("AFIB", "negative")])
def test_a_missing_class_is_said_in_the_last_line(tmp_path, rhythm, missing):
    data = tiny.data(tmp_path / "data", {"A": [(rhythm, [1.0])], "B": [(rhythm, [2.0])]})
    code, out = tiny.run_for_output("data", "audit", data.folder)
    assert code == 1
    assert out.splitlines()[-1].startswith(f"no {missing} window: nothing can be learnt or scored")
