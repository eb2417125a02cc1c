"""Promotion where the two candidates were made from different data sets that share a source."""

from __future__ import annotations

import numpy as np
import pytest

from ecm_edge.base.errors import CandidateError
from ecm_edge.base.records import Verdict
from ecm_edge.candidate import candidate
from ecm_edge.data import splits
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.merge import merge
from ecm_edge.data.merge.agreement import MergeRules
from ecm_edge.registry import registry
from ecm_edge.registry.decision import PromoteRecord
from ecm_edge.registry.entries import Manifest
from ecm_edge.registry.promote import promote
from ecm_edge.training import out_of_fold
from ecm_edge.training.out_of_fold import CrossValidationRecord
from tests import tiny
from tests.folds import write_folds
from tests.test_promote import failed, gate, trained_at

NAME = tiny.TARGET.name
T = tiny.T


def answers(folder, names, wrong, *, first=0.0):
    """Subjects of ten AF and ten other segments; column k is wrong in wrong[k] tenths of the AF, other columns never.

    `first` makes the samples those of no other data set.
    """
    generator = np.random.default_rng(0)

    def rows(positive):
        order = generator.permutation(10)
        sign = 1 if positive else -1
        missed = [[positive and order[i] < k for k in (*wrong, *[0] * (T - len(wrong)))] for i in range(10)]
        return [[-sign if miss else sign * (1 + first) for miss in row] for row in missed]

    subjects = {
        name: [*(("AFIB", row) for row in rows(positive=True)), *(("N", row) for row in rows(positive=False))]
        for name in names
    }
    return tiny.data(folder, subjects, synthetic=False)


@pytest.fixture
def af(tmp_path):
    """Columns 1, 2, 3 miss one, two, three tenths of the AF."""
    return answers(tmp_path / "af", ["S0", "S1", "S2", "S3"], [0, 1, 2, 3])


@pytest.fixture
def other(tmp_path):
    """More subjects, one with a name of `af`; column 1 misses nine tenths of the AF."""
    return answers(tmp_path / "other", ["S0", *(f"P{i}" for i in range(8))], [0, 9, 0, 0], first=0.5)


def merged(folder, *sets, **rules):
    merge(sets, folder, MergeRules(**rules))
    return open_dataset(folder)


def refitted(folder, dataset, out_of_fold, *, threshold=0.5, assignment=None):
    """A candidate of all subjects, ready; out of fold the column `out_of_fold` answers."""
    everyone = dataset.header.subjects
    made = tiny.ready(folder, dataset, train=everyone, validation=(), test=())
    tiny.write_verify(made, dataset, segments=dataset.header.segments)
    trained_at(made, threshold)
    return write_folds(made, dataset, out_of_fold, threshold=threshold, assignment=assignment)


def decide(tmp_path, folder, dataset, **options):
    return promote(folder, dataset, tiny.TARGET, tmp_path / "registry", **options)


def entry(tmp_path, record):
    return Manifest.load(tmp_path / "registry" / NAME / "entries" / record.entry / "manifest.json")


@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize(("column", "refused"), [(1, []), (2, ["score"]), (3, ["score"])])
def test_a_candidate_of_a_merged_set_meets_an_incumbent_of_one_source(tmp_path, af, other, order, column, refused):
    decide(tmp_path, refitted(tmp_path / "first", af, 2), af)
    both = merged(tmp_path / "both", *((af, other) if order == "first" else (other, af)))
    record = decide(tmp_path, refitted(tmp_path / "second", both, column), both, source="af")
    assert failed(record) == refused
    renamed = ["S1", "S2", "S3", "af:S0"] if order == "last" else ["S0", "S1", "S2", "S3"]
    assert (record.comparison.subjects, record.comparison.segments) == (renamed, 80)
    assert (record.source, record.comparison.source, record.comparison.basis) == ("af", "af", "out_of_fold")
    assert record.comparison.others["accuracy"].value == pytest.approx(0.05 * (2 - column))
    assert "4 subjects out of fold of af" in gate(record, "score").detail
    assert gate(record, "claim").detail.endswith("over 4 subjects, 4 with AF, of af, out of fold")
    if not refused:
        manifest = entry(tmp_path, record)
        assert (manifest.source, manifest.source_sha256) == ("af", af.header.content_sha256)
        assert record.entry == "100-90"  # of af alone: column 1 misses nine tenths of the other source's AF
        assert "on 4 subjects of af" in registry.incumbent(tmp_path / "registry" / NAME).reason


def test_the_first_entry_of_a_merged_set_is_about_all_sources_or_the_one_that_is_named(tmp_path, af, other):
    both = merged(tmp_path / "both", af, other)
    whole = decide(tmp_path, refitted(tmp_path / "whole", both, 1), both)
    assert (whole.source, entry(tmp_path, whole).source) == (None, None)
    assert "of af and other together (--source names one)" in gate(whole, "claim").detail
    assert whole.entry != "100-90"
    named = promote(tmp_path / "whole", both, tiny.TARGET, tmp_path / "another", source="af")
    assert (named.source, named.entry) == ("af", "100-90")
    with pytest.raises(CandidateError, match=r"'cinc', not af or other"):
        decide(tmp_path, tmp_path / "whole", both, source="cinc")


def test_the_next_candidate_is_about_the_incumbents_source(tmp_path, af, other):
    both = merged(tmp_path / "both", af, other)
    decide(tmp_path, refitted(tmp_path / "first", both, 2), both, source="af")
    record = decide(tmp_path, refitted(tmp_path / "second", both, 1), both, source="af")
    assert (record.verdict, record.source, record.comparison.segments) == (Verdict.PASS, "af", 80)
    worse = decide(tmp_path, refitted(tmp_path / "third", both, 0), both, source="other")
    assert (worse.source, worse.comparison.segments) == ("other", 180)
    assert worse.comparison.others["f1"].value > 0.5


def test_a_source_that_the_incumbent_never_saw_counts_as_well(tmp_path, af, other):
    decide(tmp_path, refitted(tmp_path / "first", af, 3), af)
    both = merged(tmp_path / "both", af, other)
    worse = decide(tmp_path, refitted(tmp_path / "worse", both, 1), both)  # on `other` the incumbent is right itself
    assert failed(worse) == ["score"]
    assert "clearly worse on other" in gate(worse, "score").detail
    better = decide(tmp_path, refitted(tmp_path / "better", both, 2), both)
    (elsewhere,) = better.comparison.elsewhere
    assert (elsewhere.source, elsewhere.by_itself, elsewhere.subjects, elsewhere.segments) == ("other", True, 9, 180)
    assert (better.verdict, elsewhere.f1.value, elsewhere.specificity.value) == (Verdict.PASS, 0, 0)
    assert "pooled_points +0.000" in better.reason


def test_the_mean_over_sources_decides(tmp_path, af):
    other = answers(tmp_path / "other", [f"P{i}" for i in range(8)], [0, 0, 0, 0, 9], first=0.5)
    both = merged(tmp_path / "both", af, other)
    decide(tmp_path, refitted(tmp_path / "first", both, 4), both, source="af")
    record = decide(tmp_path, refitted(tmp_path / "second", both, 5), both)  # both are right on af
    (elsewhere,) = record.comparison.elsewhere
    assert (elsewhere.by_itself, elsewhere.f1.low > 0, record.comparison.difference.value) == (False, True, 0)
    # 144 of 160 positives were missed: Fβ 1 less 5 x 8 / (4 x 80 + 8), clipped at half, in 25 points
    assert elsewhere.difference.value == pytest.approx(25)
    assert (record.verdict, gate(record, "score").value) == (Verdict.PASS, pytest.approx(12.5))
    assert "+12.500 in the mean over sources" in gate(record, "score").detail


def test_a_source_in_training_only_is_not_compared(tmp_path, af, other):
    """The incumbent never saw that source, but what the challenger answers about it is not known."""
    decide(tmp_path, refitted(tmp_path / "first", af, 2), af)
    both = merged(tmp_path / "both", af, other)
    of_af = splits.assign_folds_by_source(both, count=3, seed=0, train_only=["other"])
    record = decide(tmp_path, refitted(tmp_path / "second", both, 1, assignment=of_af), both)
    assert (record.verdict, record.source, record.comparison.elsewhere) == (Verdict.PASS, "af", [])
    with pytest.raises(CandidateError, match="found none on other"):
        decide(tmp_path, tmp_path / "second", both, source="other")


def test_a_source_without_test_subjects_is_not_compared(tmp_path, af, other):
    decide(tmp_path, tiny.ready(tmp_path / "first", af, column=2, train=("S0",), validation=("S1",), test=("S2",)), af)
    both = merged(tmp_path / "both", af, other)
    parts = {"train": ("S0", "P0"), "validation": ("S1",), "test": ("S2", "S3")}
    record = decide(tmp_path, tiny.ready(tmp_path / "second", both, column=1, **parts), both)
    assert (record.source, record.comparison.subjects, record.comparison.elsewhere) == ("af", ["S2", "S3"], [])


def test_candidates_of_one_merged_set_are_compared_out_of_fold_on_every_source(tmp_path, af, other):
    both = merged(tmp_path / "both", af, other)
    decide(tmp_path, refitted(tmp_path / "first", both, 1), both, source="af")
    record = decide(tmp_path, refitted(tmp_path / "second", both, 2), both)  # worse on af, better on other
    assert record.comparison.elsewhere[0].f1.low > 0
    assert failed(record) == ["score"]
    assert gate(record, "score").value > 0
    assert "clearly worse on af" in gate(record, "score").detail


def test_candidates_of_two_merged_sets_meet_on_the_source_of_both(tmp_path, af, other):
    third = answers(tmp_path / "third", ["S0", "Q1"], [0, 5], first=0.25)
    mine, theirs = merged(tmp_path / "mine", other, af), merged(tmp_path / "theirs", third, af)
    decide(tmp_path, refitted(tmp_path / "first", theirs, 2), theirs)
    record = decide(tmp_path, refitted(tmp_path / "second", mine, 1), mine, source="af")
    assert (record.verdict, record.source, record.comparison.segments) == (Verdict.PASS, "af", 80)
    assert record.comparison.others["accuracy"].value == pytest.approx(0.05)


def test_a_candidate_of_one_source_meets_an_incumbent_of_a_merged_set(tmp_path, af, other):
    both = merged(tmp_path / "both", other, af)
    decide(tmp_path, refitted(tmp_path / "first", both, 2), both)
    record = decide(tmp_path, refitted(tmp_path / "second", af, 1), af)
    assert (record.verdict, record.source, record.comparison.segments) == (Verdict.PASS, None, 80)
    assert record.comparison.others["accuracy"].value == pytest.approx(0.05)


def test_rows_that_are_not_the_same_are_not_compared(tmp_path, af, other):
    decide(tmp_path, refitted(tmp_path / "first", af, 2), af)
    twin = merged(tmp_path / "twin", other, tiny.data(tmp_path / "af2", {"X": [("AFIB", [0.5]), ("N", [-0.5])]}))
    apart = decide(tmp_path, refitted(tmp_path / "apart", twin, 1), twin)
    assert "the incumbent was measured out of fold on another data set" in gate(apart, "score").detail
    relabelled = merged(tmp_path / "relabelled", af, other, positive=("N",))
    record = decide(tmp_path, refitted(tmp_path / "second", relabelled, 1), relabelled)
    assert (failed(record), record.comparison) == (["score"], None)
    assert "the incumbent was measured out of fold on other rows of af" in gate(record, "score").detail


def test_a_merge_that_dropped_rows_is_not_compared(tmp_path, af):
    copy = tiny.data(tmp_path / "copy", {"C": [("N", af.samples[10].tolist())], "D": [("AFIB", [9.0])]})
    decide(tmp_path, refitted(tmp_path / "first", af, 2), af)
    both = merged(tmp_path / "both", copy, af, drop_duplicates=True)
    record = decide(tmp_path, refitted(tmp_path / "second", both, 1), both)
    assert "other rows of af" in gate(record, "score").detail


def test_test_subjects_that_the_incumbent_knew_by_another_name_are_not_compared(tmp_path, af, other):
    decide(tmp_path, tiny.ready(tmp_path / "first", af, column=2, train=("S0",), validation=("S1",), test=("S2",)), af)
    both = merged(tmp_path / "both", other, af)
    parts = {"train": ("P0", "P1"), "validation": ("P2",), "test": ("af:S0", "S2", "P3")}
    record = decide(tmp_path, tiny.ready(tmp_path / "second", both, column=1, **parts), both)
    assert (record.source, record.comparison.basis, record.comparison.subjects) == ("af", "test", ["S2"])
    of_other = tiny.ready(tmp_path / "third", both, column=1, **parts | {"test": ("P3",)})
    with pytest.raises(CandidateError, match=r"'af', not other"):
        decide(tmp_path, of_other, both, source="af")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"margins_sha256": "0" * 64}, "stays as it was written"),
        ({"config_sha256": "0" * 64}, "the configuration and the data set beside it"),
        ({"scores": "of one row less"}, "for each of 79 segments"),
    ],
)
def test_margins_are_loaded_without_their_data_set_if_they_are_whole(tmp_path, af, change, message):
    folder = refitted(tmp_path / "first", af, 2)
    config, record = candidate.load_config(folder), CrossValidationRecord.load(folder / "folds.json")
    assert np.array_equal(out_of_fold.load_elsewhere(folder, config).after, af.samples[:, 2])
    if "scores" in change:
        change = {"scores": record.scores.model_copy(update={"segments": 79})}
    record.model_copy(update=change).save(folder / "folds.json")
    with pytest.raises(CandidateError, match=message):
        out_of_fold.load_elsewhere(folder, config)


def test_a_gain_has_a_part_of_the_network_and_one_of_the_threshold(tmp_path, af):
    """At even odds a threshold of 1.5 makes every answer AF, so that all recall is the threshold's undoing."""
    decide(tmp_path, refitted(tmp_path / "first", af, 3), af)
    record = decide(tmp_path, refitted(tmp_path / "second", af, 1, threshold=1.5), af)
    parts, whole = record.comparison.parts, record.comparison.difference
    none, three_tenths = 5 * 10 / (5 * 10 + 10), 5 * 7 / (5 * 7 + 4 * 3)  # Fβ: all called AF; three of ten missed
    one_tenth = 5 * 9 / (5 * 9 + 4)
    assert parts.network.value == pytest.approx(50 * (none - three_tenths))  # G is 0 on both sides
    assert whole.value == pytest.approx(50 * (one_tenth - three_tenths) + 15)
    assert parts.network.value + parts.threshold.value == pytest.approx(whole.value)
    assert parts.network.low == parts.network.high == pytest.approx(parts.network.value)  # subjects are alike
    said = (
        f"{parts.network.value:+.3f} ({parts.network.low:+.3f} … {parts.network.high:+.3f}) by the network at even odds"
    )
    assert said in gate(record, "score").detail
    assert said in record.reason
    event = registry.history(tmp_path / "registry" / NAME)[-1]
    assert (event.parts, event.source) == (parts, None)


def test_without_training_json_there_are_no_parts(tmp_path, af):
    split = {"train": ("S0",), "validation": ("S1",), "test": ("S2", "S3")}
    decide(tmp_path, tiny.ready(tmp_path / "first", af, column=2, **split), af)
    folder = tiny.ready(tmp_path / "second", af, column=1, **split)
    trained_at(folder, 0.5)
    assert decide(tmp_path, folder, af).comparison.parts is None  # of the incumbent no threshold is known
    better = tiny.ready(tmp_path / "third", af, column=0, **split)
    trained_at(better, -0.5)
    assert decide(tmp_path, better, af).comparison.parts.network.value > 0


def test_the_source_is_an_option_of_the_command(tmp_path, af, other, capsys):
    both = merged(tmp_path / "both", af, other)
    folder = refitted(tmp_path / "c", both, 1)
    arguments = ["promote", folder, "--data", both.folder, "--target", NAME, "--registry", tmp_path / "registry"]
    assert tiny.run([*arguments, "--source", "nowhere"]) == 2
    assert "'nowhere', not af or other" in capsys.readouterr().err
    assert tiny.run([*arguments, "--source", "af", "--json"]) == 0
    assert PromoteRecord.model_validate_json(capsys.readouterr().out).source == "af"
