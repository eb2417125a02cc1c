"""Out of fold: who answers has not seen who asks, chooses nothing on who asks, and is not trained twice."""

from __future__ import annotations

import io
import json
import multiprocessing
import zipfile
from collections import Counter

import numpy as np
import pytest
import torch

from ecm_edge import metrics, targets
from ecm_edge.base.errors import CandidateError, DatasetError, OutputError
from ecm_edge.base.files import locked
from ecm_edge.candidate import candidate
from ecm_edge.candidate.training_config import TrainingConfig
from ecm_edge.data import splits
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.merge import merge
from ecm_edge.data.synthetic import synthesise
from ecm_edge.search import train_one
from ecm_edge.training import crossval, epochs, fold_networks, out_of_fold, train
from ecm_edge.training.mapped import mapped_samples
from ecm_edge.training.out_of_fold import MARGINS, CrossValidationRecord
from ecm_edge.training.out_of_fold import NETWORKS as NETWORKS_FILE

from .folds import relabelled
from .tiny import data, run

TARGET = targets.load("loongson-2k0500")
PARAMS = {"channels": 4, "depth": 2, "kernel": 5, "stride": 4}
NETWORKS = 6  # of three folds: three pairs, three by itself


def config(dataset, **training):
    options = TrainingConfig.model_validate({"epochs": 2, "batch_size": 16, "keep": "last", **training})
    return candidate.configure(dataset, splits.holdout(dataset, seed=0), "separable", PARAMS, options, 0)


def validated(dataset, *, folds=3, workers=1, made=None, **options):
    return crossval.cross_validate(made or config(dataset), dataset, TARGET, folds=folds, workers=workers, **options)


@pytest.fixture(scope="module")
def known(dataset):
    return validated(dataset)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Subjects enough for validation subjects of both kinds in a third of them."""
    folder = tmp_path_factory.mktemp("wide") / "data"
    synthesise(folder, subjects=24, seed=3, segments_per_subject=6)
    return open_dataset(folder)


def same(one, other):
    return np.array_equal(one.before, other.before) and np.array_equal(one.after, other.after)


def by_fold(found, dataset):
    """(n,) the fold of each labelled row."""
    names = dataset.subject_names(dataset.rows_of(dataset.header.subjects))
    return np.array([found.record.assignment.folds[name] for name in names])


def test_every_subject_is_answered_once_and_at_the_threshold_of_its_fold(known, dataset):
    record, fold = known.record, by_fold(known, dataset)
    assert record.scores.segments == int(np.sum(dataset.labels >= 0))
    assert sorted(name for fold in record.folds for name in fold.subjects) == sorted(dataset.header.subjects)
    assert [f.segments for f in record.folds] == np.bincount(fold).tolist()
    taken_off = np.array([f.threshold for f in record.folds], np.float32)[fold]
    assert np.array_equal(known.after, known.before - taken_off)
    assert record.networks == NETWORKS


@pytest.mark.parametrize(("rule", "threshold"), [("by_beta", -np.log(TARGET.score.beta)), ("even_odds", 0)])
def test_a_threshold_that_looks_at_no_answer_takes_no_pairs(known, dataset, rule, threshold):
    found = validated(dataset, made=config(dataset, threshold=rule))
    assert found.record.networks == len(found.record.folds)
    assert np.array_equal(found.before, known.before)
    assert {fold.threshold for fold in found.record.folds} == {found.record.threshold} == {threshold}


def test_the_threshold_of_all_is_chosen_on_the_margins_before(known, dataset):
    rows = dataset.rows_of(dataset.header.subjects)
    labels, subjects = dataset.labels[rows], dataset.subject_names(rows)
    assert known.record.threshold == metrics.choose_threshold(labels, known.before, subjects, TARGET.score)


def test_no_row_of_a_fold_has_a_part_in_its_threshold(known, dataset):
    rows, fold = dataset.rows_of(dataset.header.subjects), by_fold(known, dataset)
    labels, subjects = dataset.labels[rows], np.array(dataset.subject_names(rows))
    margins = np.random.default_rng(0).standard_normal((3, len(rows))).astype(np.float32) + labels

    def chosen(labels, margins):
        return crossval.fold_thresholds("chosen", labels, margins, subjects, fold, TARGET.score)

    truth = chosen(labels, margins)
    lied = chosen(np.where(fold == 1, 1 - labels, labels), margins)
    assert [a == b for a, b in zip(truth, lied, strict=True)] == [False, True, False]
    moved = chosen(labels, margins + np.array([0, 0, 1], np.float32)[:, np.newaxis])
    assert [a == b for a, b in zip(truth, moved, strict=True)] == [True, True, False]


TEACHER = {"family": "separable", "network": PARAMS, "training": {"epochs": 1, "batch_size": 16, "keep": "last"}}


@pytest.mark.parametrize(
    ("count", "training"),
    [(3, {}), (3, {"keep": "best"}), (4, {"teacher": TEACHER, "distill": 0.5, "doubted": "drop"})],
    ids=["last epoch", "best epoch", "with a teacher"],
)
def test_nothing_in_a_fold_depends_on_the_labels_of_who_is_in_it(wide, tmp_path, count, training):
    truth = validated(wide, folds=count, made=config(wide, **training))
    assignment, fold = truth.record.assignment, by_fold(truth, wide)
    lied = relabelled(tmp_path / "lied", wide, assignment.subjects(1))
    assert (lied.labels != wide.labels).sum() == truth.record.folds[1].segments
    folds = assignment.model_copy(update={"dataset_sha256": lied.header.content_sha256})
    other = validated(lied, folds=folds, made=config(lied, **training))
    before, after = truth.record.folds, other.record.folds
    assert before[1].threshold == after[1].threshold
    assert np.array_equal(truth.after[fold == 1], other.after[fold == 1])
    assert not np.array_equal(truth.before[fold != 1], other.before[fold != 1])  # whose networks have seen the lie
    assert all(before[f].threshold != after[f].threshold for f in range(count) if f != 1)


def test_teachers_come_first_and_each_once(wide, tmp_path):
    done = []
    made = config(wide, teacher=TEACHER, distill=0.5, doubted="drop")
    found = validated(wide, folds=4, made=made, work=tmp_path, on_network=done.append)
    alone = [(t.is_teacher, len(t.left_out)) for t in done]
    # to be followed: without a fold, and without two; to doubt: without the one that it answers for besides
    assert Counter(alone) == {(True, 1): 4, (True, 2): 6, (True, 3): 4, (False, 2): 6, (False, 1): 4}
    assert [t.is_teacher for t in done] == [True] * 14 + [False] * 10
    assert not same(found, validated(wide, folds=4))


def test_an_ensemble_teaches_those_trained_without_the_same_folds(wide, tmp_path):
    done = []
    made = config(wide, teacher={**TEACHER, "count": 2}, distill=1.0, threshold="even_odds")
    found = validated(wide, folds=4, made=made, work=tmp_path, on_network=done.append)
    assert Counter((t.is_teacher, t.left_out) for t in done) == {
        (is_teacher, (fold,)): 2 if is_teacher else 1 for fold in range(4) for is_teacher in (True, False)
    }
    assert [t.is_teacher for t in done] == [True] * 8 + [False] * 4
    assert not same(found, validated(wide, folds=4, made=config(wide, threshold="even_odds")))


def test_who_answers_was_trained_without_who_asks(wide, monkeypatch):
    asked = []

    def fit(made, data, **options):
        asked.append(made.split)
        return train_fit(made, data, **options)

    train_fit = train.fit
    monkeypatch.setattr(train, "fit", fit)
    found = validated(wide, made=config(wide, keep="best"))
    folds = found.record.assignment
    without = [{folds.folds[name] for name in split.test} for split in asked]
    assert sorted(map(sorted, without)) == [[0], [0, 1], [0, 2], [1], [1, 2], [2]]
    for split, numbers in zip(asked, without, strict=True):
        used = {folds.folds[name] for name in [*split.train, *split.validation]}
        assert used == {0, 1, 2} - numbers
        assert len(split.validation) > 0


def test_an_interrupt_loses_nothing_that_was_finished(dataset, known, tmp_path, monkeypatch):
    def stop(network):
        if network.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        validated(dataset, work=tmp_path, on_network=stop)
    trained = []
    fit = train.fit
    monkeypatch.setattr(train, "fit", lambda *given, **options: trained.append(1) or fit(*given, **options))
    done = []
    assert same(validated(dataset, work=tmp_path, on_network=done.append), known)
    assert len(trained) == NETWORKS - 2
    assert [(network.number, network.total) for network in done] == [(n, NETWORKS) for n in range(1, NETWORKS + 1)]
    assert same(validated(dataset, work=tmp_path), known)
    assert len(trained) == NETWORKS - 2


def test_answers_of_another_configuration_are_not_used(dataset, known, tmp_path):
    validated(dataset, work=tmp_path)
    assert not same(validated(dataset, made=config(dataset, epochs=1), work=tmp_path), known)
    for path in tmp_path.rglob("*.npz"):
        path.write_bytes(b"not an array")
    assert same(validated(dataset, work=tmp_path), known)


def test_another_rule_for_the_threshold_trains_no_network_again(dataset, tmp_path, monkeypatch):
    before = validated(dataset, made=config(dataset, threshold="even_odds"), work=tmp_path)
    monkeypatch.setattr(train, "fit", lambda *_, **__: pytest.fail("a network was trained again"))
    after = validated(dataset, made=config(dataset, threshold="by_beta"), work=tmp_path)
    assert np.array_equal(before.before, after.before)
    np.testing.assert_allclose(after.after, before.after + np.log(2), rtol=0, atol=1e-6)


def test_one_process_at_a_time(dataset, tmp_path):
    validated(dataset, work=tmp_path)
    with locked(tmp_path), pytest.raises(OutputError, match="one process at a time"):
        validated(dataset, work=tmp_path)


def test_processes_side_by_side_change_nothing(dataset, known):
    assert same(validated(dataset, workers=2), known)
    assert multiprocessing.active_children() == []


def test_an_interrupt_ends_the_processes(dataset, tmp_path):
    def stop(_network):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        validated(dataset, workers=2, work=tmp_path, on_network=stop)
    assert multiprocessing.active_children() == []
    assert 0 < len(list(tmp_path.rglob("*.npz"))) < NETWORKS


def test_an_error_in_a_process_is_the_same_error(dataset):
    broken = config(dataset)
    broken = broken.model_copy(update={"network": {**broken.network, "kernel": 0}})
    with pytest.raises(Exception, match="kernel") as alone:
        validated(dataset, made=broken)
    with pytest.raises(type(alone.value), match="kernel"):
        validated(dataset, made=broken, workers=2)


def test_folds_of_another_data_set_are_refused(dataset):
    folds = splits.assign_folds(dataset, count=3, seed=0).model_copy(update={"dataset_sha256": "0" * 64})
    with pytest.raises(DatasetError, match="folds go with the data set"):
        validated(dataset, folds=folds)


def test_what_is_saved_is_what_is_loaded(dataset, known, tmp_path):
    known.save(tmp_path)
    loaded = out_of_fold.load(tmp_path, config(dataset), dataset)
    assert same(loaded, known)
    assert loaded.record == known.record


@pytest.fixture
def saved(known, tmp_path):
    known.save(tmp_path)
    return tmp_path


def test_margins_that_changed_are_refused(dataset, saved):
    other = out_of_fold.from_bytes((saved / MARGINS).read_bytes())
    (saved / MARGINS).write_bytes(out_of_fold.to_bytes(before=other["before"], after=other["before"]))
    with pytest.raises(CandidateError, match="stays as it was written"):
        out_of_fold.load(saved, config(dataset), dataset)
    (saved / MARGINS).unlink()
    with pytest.raises(CandidateError, match="stays as it was written"):
        out_of_fold.load(saved, config(dataset), dataset)


def answers_of_folds(networks, found, dataset):
    """(n,) what the kept networks answer to the labelled rows of their folds."""
    samples = mapped_samples(dataset, dataset.rows_of(dataset.header.subjects))
    scores = np.stack([epochs.predict(network, samples, torch.device("cpu")).numpy() for network in networks])
    return np.choose(by_fold(found, dataset), scores[:, :, 1] - scores[:, :, 0])


@pytest.mark.parametrize("keep", ["last", "best"])
def test_the_networks_of_the_folds_are_kept_and_answer_as_they_did(wide, tmp_path, keep):
    made = config(wide, keep=keep)
    found = validated(wide, made=made)
    found.save(tmp_path)
    networks = fold_networks.load(tmp_path, made, CrossValidationRecord.load(tmp_path / "folds.json"))
    np.testing.assert_allclose(answers_of_folds(networks, found, wide), found.before, rtol=1e-4, atol=1e-5)
    assert not np.allclose(answers_of_folds(networks[::-1], found, wide), found.before, atol=1e-3)


def test_the_networks_of_an_earlier_run_are_kept_too(dataset, known, tmp_path):
    validated(dataset, work=tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == len(known.record.folds)
    assert validated(dataset, work=tmp_path).networks == known.networks
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(b"no network")
    assert validated(dataset, work=tmp_path).networks == known.networks


def test_networks_that_changed_or_were_not_kept_are_refused(dataset, known, saved):
    (saved / NETWORKS_FILE).write_bytes(known.networks[:-4] + b"....")
    with pytest.raises(CandidateError, match="stays as it was written"):
        fold_networks.load(saved, config(dataset), known.record)
    (saved / NETWORKS_FILE).unlink()
    with pytest.raises(CandidateError, match="changed or is gone"):
        fold_networks.load(saved, config(dataset), known.record)
    earlier = known.record.model_copy(update={"networks_sha256": None})
    with pytest.raises(CandidateError, match="Train again with --folds"):
        fold_networks.load(saved, config(dataset), earlier)


def test_networks_of_another_shape_are_refused(dataset, known, saved):
    other = config(dataset).model_copy(update={"network": {**PARAMS, "channels": 8}})
    with pytest.raises(CandidateError, match="fits the configuration"):
        fold_networks.load(saved, other, known.record)


@pytest.mark.parametrize("change", [lambda folds: folds[1:], lambda folds: folds[::-1], lambda _: []])
def test_a_record_has_every_fold_in_its_order(known, change):
    fields = known.record.model_dump()
    with pytest.raises(ValueError, match="folds are those from 0 to"):
        type(known.record).model_validate({**fields, "folds": change(fields["folds"])})


def test_what_holds_other_than_margins_is_as_if_it_held_nothing():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("before", b"no array")
    whole = np.zeros(3, np.int64)
    assert out_of_fold.from_bytes(stream.getvalue()) == out_of_fold.from_bytes(out_of_fold.to_bytes(before=whole)) == {}


def test_figures_of_another_configuration_or_data_set_are_refused(dataset, saved, tmp_path):
    with pytest.raises(CandidateError, match="is of the configuration"):
        out_of_fold.load(saved, config(dataset, epochs=1), dataset)
    other = relabelled(tmp_path / "other", dataset, ["P1"])
    with pytest.raises(CandidateError, match="the data set it was made from"):
        out_of_fold.load(saved, config(dataset), other)
    with pytest.raises(CandidateError, match="come from a cross-validation"):
        out_of_fold.load(tmp_path / "nothing", config(dataset), dataset)


def refit(dataset, out, **options):
    return train_one.train_candidate(
        out, config(dataset), dataset, TARGET, folds=3, refit=True, **{"workers": 1, **options}
    )


def test_a_refit_has_seen_everyone_and_answers_at_the_threshold_of_the_folds(dataset, tmp_path, known):
    result = refit(dataset, tmp_path / "c")
    made = candidate.load_config(tmp_path / "c")
    assert made.split == splits.everyone(dataset)
    assert (result.training.train_subjects, result.training.validation_subjects) == (12, 0)
    assert result.training.best.threshold == result.folds.threshold == known.record.threshold
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c"]
    assert same(out_of_fold.load(tmp_path / "c", made, dataset), known)  # its split is not that of `known`

    raw = train.fit(made, train.load_data(dataset, made.split), rule=TARGET.score).network
    samples = torch.from_numpy(np.array(dataset.samples)).unsqueeze(1)
    ours, plain = (epochs.predict(net, samples, torch.device("cpu")).numpy() for net in (
        candidate.load_network(tmp_path / "c"), raw
    ))  # fmt: skip
    moved = (plain[:, 1] - plain[:, 0]) - (ours[:, 1] - ours[:, 0])
    assert moved == pytest.approx(result.folds.threshold, abs=1e-5)


def test_the_configuration_of_a_refit_is_refitted(dataset, tmp_path, known):
    everyone = config(dataset).model_copy(update={"split": splits.everyone(dataset)})
    result = train_one.train_candidate(tmp_path / "c", everyone, dataset, TARGET, folds=3, workers=1)
    assert result.training.best.threshold == known.record.threshold != 0
    with pytest.raises(CandidateError, match="takes its threshold from a cross-validation"):
        train_one.train_candidate(tmp_path / "d", everyone, dataset, TARGET)


def test_an_interrupted_refit_goes_on_and_leaves_nothing_behind(dataset, tmp_path):
    def stop(network):
        if network.number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refit(dataset, tmp_path / "c", on_network=stop)
    assert [path.name for path in tmp_path.iterdir()] == [".c.folds"]
    assert len(list(tmp_path.rglob("*.npz"))) == 3
    refit(dataset, tmp_path / "c")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_refit_chooses_no_epoch_and_needs_folds(dataset, tmp_path):
    best = config(dataset, keep="best")
    with pytest.raises(CandidateError, match=r"keeps the last; found training.keep = best"):
        train_one.train_candidate(tmp_path / "c", best, dataset, TARGET, folds=3, refit=True)
    with pytest.raises(CandidateError, match="threshold from a cross-validation"):
        train_one.train_candidate(tmp_path / "c", config(dataset), dataset, TARGET, refit=True)
    assert list(tmp_path.iterdir()) == []


NETWORK = ["--family", "separable", "--set", "channels=4", "--set", "depth=2", "--set", "kernel=5", "--set", "stride=4"]


def test_the_command_takes_a_file_of_folds(dataset, tmp_path, capsys):
    folds = tmp_path / "f.json"
    assert run(["data", "folds", dataset.folder, "--count", 3, "--seed", 7, "-o", folds]) == 0
    capsys.readouterr()
    arguments = ["train", "--data", dataset.folder, "--target", TARGET.name, "--workers", 1, "--folds", folds, *NETWORK]
    last = ["--set", "training.keep=last", "--set", "training.epochs=1", "--set", "training.batch_size=32"]
    assert run([*arguments, *last, "--refit", "-o", tmp_path / "c", "--json"]) == 0
    said = capsys.readouterr()
    record = CrossValidationRecord.model_validate(json.loads(said.out)["folds"])
    assert record.assignment == splits.assign_folds(dataset, count=3, seed=7)
    assert record == CrossValidationRecord.load(tmp_path / "c" / "folds.json")
    assert "network   6 of 6, trained without fold 2" in said.err
    assert run(["train", "--data", dataset.folder, "--target", TARGET.name, "--like", tmp_path / "c", "-o",
                tmp_path / "again", "--folds", folds, "--refit", "--workers", 1]) == 0  # fmt: skip
    assert "the last, trained on 12 subjects; threshold" in capsys.readouterr().out
    again = CrossValidationRecord.load(tmp_path / "again" / "folds.json")
    assert again.margins_sha256 == record.margins_sha256
    assert run([*arguments, "--refit", "-o", tmp_path / "d"]) == 2
    assert "Say --set training.keep=last" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--refit"], "--refit takes its threshold from a cross-validation"),
        (["--folds", "2"], "2 is not in the range x>=3"),
        (["--folds", "nowhere.json"], "no file at nowhere.json"),
        (["--folds=--5"], "no file at --5"),
        (["--folds", "3", "--workers", "0"], "--workers"),
    ],
)
def test_options_that_do_not_go_together(dataset, tmp_path, capsys, options, message):
    arguments = ["train", "--data", dataset.folder, "--target", TARGET.name, "-o", tmp_path / "c", *options]
    assert run(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_file_of_folds_of_another_data_set_exits_with_2(dataset, tmp_path, capsys):
    splits.assign_folds(dataset, count=3, seed=0).model_copy(update={"dataset_sha256": "0" * 64}).save(tmp_path / "f")
    arguments = ["train", "--data", dataset.folder, "--target", TARGET.name, "-o", tmp_path / "c", "--folds"]
    assert run([*arguments, tmp_path / "f", *NETWORK]) == 2
    assert "folds go with the data set" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Two sources, `one` of 24 and `two` of 9 subjects."""
    folder = tmp_path_factory.mktemp("both")
    for name, subjects, seed in (("one", 24, 3), ("two", 9, 4)):
        synthesise(folder / name, subjects=subjects, seed=seed, segments_per_subject=6)
    merge([open_dataset(folder / "one"), open_dataset(folder / "two")], folder / "both")
    return open_dataset(folder / "both")


def by_source(dataset, **uses):
    return splits.assign_folds_by_source(dataset, count=3, seed=0, **uses)


def in_source(dataset, name, rows):
    return np.array(dataset.source_names(rows)) == name


def fitted(monkeypatch):
    """The splits of all networks that are trained from here on, with the configurations' epochs."""
    asked, fit = [], train.fit

    def noted(made, data, **options):
        asked.append(made.split)
        return fit(made, data, **options)

    monkeypatch.setattr(train, "fit", noted)
    return asked


def test_a_source_in_training_only_teaches_every_network_and_is_not_answered(both, monkeypatch):
    always, asked = set(both.header.sources[1].subjects), fitted(monkeypatch)
    made = config(both, teacher=TEACHER, distill=0.5, doubted="drop", threshold="even_odds")
    found = validated(both, folds=by_source(both, train_only=["two"]), made=made)
    students = [split for split in asked if split.test]
    assert [always < set(split.train) for split in students] == [True] * 3
    rows = out_of_fold.answered_rows(both, found.record.assignment)
    assert len(rows) == len(found.after) == found.record.scores.segments
    assert set(both.source_names(rows)) == {"one"}
    judges = [split for split in asked if not split.test and not always < set(split.train)]
    assert len(judges) == 9  # of each student, those that have not seen a third of `two`
    seen = [always & set(split.train) for split in judges]
    assert all(len(names) == 6 for names in seen)


@pytest.mark.parametrize(
    "training",
    [{}, {"keep": "best"}, {"teacher": TEACHER, "distill": 0.5, "doubted": "drop", "threshold": "even_odds"}],
    ids=["last epoch", "best epoch", "with a teacher"],
)
def test_nothing_depends_on_the_labels_of_a_source_in_scores_only(both, tmp_path, training, monkeypatch):
    asked = fitted(monkeypatch)
    truth = validated(both, folds=by_source(both, score_only=["two"]), made=config(both, **training))
    away = set(both.header.sources[1].subjects)
    assert not any(away & {*split.train, *split.validation} for split in asked)
    rows = out_of_fold.answered_rows(both, truth.record.assignment)
    assert np.array_equal(rows, np.flatnonzero(both.labels >= 0))
    assert [(s.source, s.subjects) for s in truth.record.scores.by_source] == [("one", 24), ("two", 9)]
    lied = relabelled(tmp_path / "lied", both, away)
    folds = truth.record.assignment.model_copy(update={"dataset_sha256": lied.header.content_sha256})
    other = validated(lied, folds=folds, made=config(lied, **training))
    assert same(truth, other)
    assert other.record.threshold == truth.record.threshold
    assert other.record.scores.f1 != truth.record.scores.f1


def test_answers_of_some_subjects_are_saved_and_loaded(both, tmp_path):
    made = config(both, threshold="even_odds", epochs=1)
    found = validated(both, folds=by_source(both, train_only=["one"]), made=made)
    found.save(tmp_path)
    loaded = out_of_fold.load(tmp_path, made, both)
    assert same(loaded, found)
    assert loaded.record.assignment.train_only == ["one"]
    assert len(loaded.after) == in_source(both, "two", np.flatnonzero(both.labels >= 0)).sum()


def test_a_threshold_is_not_chosen_on_scores_only(both):
    folds = by_source(both, train_only=["one"], score_only=["two"])
    with pytest.raises(DatasetError, match=r"a threshold is chosen on subjects in folds.*folds of two alone"):
        validated(both, folds=folds)
    found = validated(both, folds=folds, made=config(both, threshold="even_odds", epochs=1))
    assert found.record.scores.subjects == 9


def test_a_threshold_is_chosen_on_both_classes_or_nothing_is_trained(tmp_path, monkeypatch):
    one = data(tmp_path / "one", {f"S{i}": [("AFIB", [i]), ("N", [-i])] for i in range(1, 5)})
    two = data(tmp_path / "two", {f"T{i}": [("N", [10 + i])] for i in range(6)})
    merge([one, two], tmp_path / "both")
    negative, asked = open_dataset(tmp_path / "both"), fitted(monkeypatch)
    folds = by_source(negative, train_only=["one"])
    with pytest.raises(DatasetError, match=r"both classes in the other folds; found 0 positive of 4 without fold 0"):
        validated(negative, folds=folds)
    assert asked == []


@pytest.mark.parametrize("refitted", [True, False])
def test_the_candidate_itself_keeps_to_the_use_of_the_sources(both, tmp_path, refitted):
    made, away = config(both, threshold="even_odds", epochs=1), set(both.header.sources[1].subjects)
    folds = by_source(both, score_only=["two"])
    train_one.train_candidate(tmp_path / "c", made, both, TARGET, folds=folds, refit=refitted, workers=1)
    split = candidate.load_config(tmp_path / "c").split
    assert not away & {*split.train, *split.validation}
    assert len(split.train) == (24 if refitted else len([name for name in made.split.train if name not in away]))
    assert (away < set(split.test)) is not refitted
    out_of_fold.load(tmp_path / "c", candidate.load_config(tmp_path / "c"), both)


def test_the_command_trains_by_a_file_of_folds_by_source_and_prints_each(both, tmp_path, capsys):
    folds = tmp_path / "f.json"
    assert run(["data", "folds", both.folder, "--count", 3, "--by-source", "-o", folds]) == 0
    fast = ["--set", "training.keep=last", "--set", "training.epochs=1", "--set", "training.threshold=even_odds"]
    arguments = ["train", "--data", both.folder, "--target", TARGET.name, "--workers", 1, "--folds", folds, *NETWORK]
    assert run([*arguments, *fast, "--refit", "-o", tmp_path / "c"]) == 0
    lines = capsys.readouterr().out.splitlines()[-3:]
    record = CrossValidationRecord.load(tmp_path / "c" / "folds.json")
    assert record.assignment == by_source(both)
    assert lines[0].startswith("out of fold over 33 subjects")
    for line, source, subjects in zip(lines[1:], record.scores.by_source, (24, 9), strict=True):
        assert line.startswith(f"  {source.source}, {subjects} subjects, ")
        assert line.endswith(f"specificity {source.specificity.value:.3f}")
