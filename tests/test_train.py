"""Training: deterministic, early stopping by its rules, a threshold folded in, checkpoints without pickle."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ecm_edge import metrics
from ecm_edge.base.errors import CandidateError, DatasetError
from ecm_edge.candidate import candidate
from ecm_edge.candidate.networks import batch_last, fastest
from ecm_edge.candidate.training_config import TrainingConfig
from ecm_edge.data import splits
from ecm_edge.training import batches, epochs, train
from ecm_edge.training.by_source import mean_over_sources
from ecm_edge.training.data import NOT_TAUGHT, Teaching
from ecm_edge.training.threshold_in_bias import fold_threshold

from .tiny import data

TEACHER = {
    "family": "separable",
    "network": {"channels": 4, "depth": 2, "kernel": 5, "stride": 4},
    "training": {"epochs": 1, "batch_size": 16, "keep": "last"},
}

UNDISTURBED = {"sign_flip": 0, "gain": 0, "noise": 0, "shift": 0}
LEARNS = {"epochs": 12, "learning_rate": 3e-2, "keep": "last", "augmentation": UNDISTURBED}
"""What brings the loss below 0.45 from any seed: to between 0.31 and 0.51 of the first epoch's, for three seeds."""


def configured(dataset, seed=0, split=None, **training):
    """A very small net's configuration."""
    how = TrainingConfig.model_validate({"epochs": 2, "batch_size": 16, **training})
    params = {"channels": 4, "depth": 2, "kernel": 5, "stride": 4}
    return candidate.configure(dataset, split or splits.holdout(dataset, seed=0), "separable", params, how, seed)


@pytest.fixture(scope="module")
def loaded(dataset):
    return train.load_data(dataset, splits.holdout(dataset, seed=0))


def test_the_same_seed_gives_the_same_weights(dataset, loaded):
    first, second = (train.fit(configured(dataset), loaded).network.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_seed_gives_other_weights(dataset, loaded):
    first, second = (train.fit(configured(dataset, seed), loaded).network.state_dict() for seed in (0, 1))
    assert not all(torch.equal(first[name], second[name]) for name in first)


def test_training_learns(dataset, loaded):
    record = train.fit(configured(dataset, **LEARNS), loaded).record
    assert record.epochs[-1].train_loss < 0.8 * record.epochs[0].train_loss


def test_the_best_epoch_is_the_one_of_least_validation_loss(dataset, loaded):
    record = train.fit(configured(dataset, epochs=6, patience=6), loaded).record
    assert record.best.validation_loss == min(epoch.validation_loss for epoch in record.epochs)


def test_patience(dataset, loaded):
    record = train.fit(configured(dataset, epochs=40, patience=1, learning_rate=0.2), loaded).record
    assert record.stopped == "patience"
    assert len(record.epochs) == record.best.epoch + 1


def test_the_gap_rule(dataset, loaded):
    record = train.fit(configured(dataset, epochs=40, patience=40, gap_limit=1e-9, learning_rate=0.05), loaded).record
    last = record.epochs[-1]
    assert record.stopped == "gap"
    assert last.validation_loss - last.train_loss > 1e-9


def test_pruning_stops_after_the_epoch(dataset, loaded):
    record = train.fit(configured(dataset, epochs=9), loaded, should_stop=lambda epoch: epoch.epoch == 1).record
    assert (record.stopped, len(record.epochs)) == ("pruned", 1)


@pytest.mark.parametrize(
    "option",
    [
        {"weight_average": "ema"},
        {"schedule": "plateau"},
        {"loss": "focal"},
        {"data_share": 0.5},
        {"label_smoothing": 0.1},
        {"mixup": 1.0},
        {"augmentation": {"disturbance": 0.5}},
        {"augmentation": {"recut": True}},
    ],
)
def test_options_change_the_weights(dataset, loaded, option):
    plain, other = (train.fit(configured(dataset, **o), loaded).network.state_dict() for o in ({}, option))
    assert not all(torch.equal(plain[name], other[name]) for name in plain)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"loss": "focal"}, {"loss": "focal", "focus": 1.0}),
        ({"weight_average": "ema"}, {"weight_average": "ema", "average_decay": 0.1}),
        ({"augmentation": {"recut": True}}, {"augmentation": {"recut": True, "tempo": 0.2}}),
    ],
)
def test_what_belongs_to_an_option_changes_the_weights_too(dataset, loaded, first, second):
    one, other = (train.fit(configured(dataset, **how), loaded).network.state_dict() for how in (first, second))
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_keeping_the_last_epoch_nothing_stops_early(dataset, loaded):
    how = {"epochs": 4, "patience": 1, "gap_limit": 1e-9, "learning_rate": 0.2}
    record = train.fit(configured(dataset, keep="last", **how), loaded).record
    assert (record.stopped, record.best.epoch, len(record.epochs)) == ("finished", 4, 4)
    assert record.best.f1 is not None
    assert train.fit(configured(dataset, **how), loaded).record.stopped in {"patience", "gap"}


def test_a_constant_learning_rate_warms_up_and_stays(dataset, loaded):
    record = train.fit(configured(dataset, schedule="constant", keep="last", epochs=4), loaded).record
    first, *rest = (epoch.learning_rate for epoch in record.epochs)
    assert first < rest[0] == rest[-1] == configured(dataset).training.learning_rate


def without_validation(dataset):
    split = splits.holdout(dataset, seed=0)
    return splits.Split(train=split.train, validation=[], test=split.test)


@pytest.mark.parametrize("average", ["none", "ema"])
def test_without_validation_subjects_the_weights_are_the_same_and_no_threshold_is_folded_in(
    dataset, loaded, average, tmp_path
):
    split = without_validation(dataset)
    config = configured(dataset, split=split, keep="last", weight_average=average)
    trained = train.fit(config, train.load_data(dataset, split))
    last = trained.record.best
    assert (last.threshold, last.validation_loss, last.f1, last.fbeta_mean, last.g) == (0, None, None, None, None)
    assert trained.record.validation_segments == 0
    with_validation = train.fit(configured(dataset, keep="last", weight_average=average), loaded)
    theirs = fold_threshold(trained.network, with_validation.record.best.threshold, loaded.train_samples[:1])
    ours = with_validation.network.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.state_dict().items())
    train.save_trained(tmp_path, config, trained)
    assert train.TrainingRecord.load(tmp_path / candidate.TRAINING) == trained.record


@pytest.mark.parametrize("option", [{}, {"keep": "last", "schedule": "plateau"}])
def test_what_needs_validation_subjects_says_so(dataset, option):
    split = without_validation(dataset)
    with pytest.raises(CandidateError, match="need validation subjects"):
        train.fit(configured(dataset, split=split, **option), train.load_data(dataset, split))


def test_a_share_of_the_data_is_counted(dataset, loaded):
    record = train.fit(configured(dataset, data_share=0.5, epochs=1), loaded).record
    assert 0 < record.train_segments < 0.7 * len(loaded.train_labels)


class Says(nn.Module):
    """A teacher that gives every segment the same scores, and keeps what it was asked."""

    def __init__(self, *scores: float) -> None:
        super().__init__()
        self.scores, self.asked = torch.tensor(scores), []

    def forward(self, x):
        self.asked.append(x)
        return self.scores.expand(len(x), 2)


class Liar(nn.Module):
    """Says the opposite of what a network says."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x).flip(1)


YES, NO = Says(0.0, 1000.0), Says(1000.0, 0.0)  # as sure as float32 can say


def taught(dataset, loaded, *teachers, **how):
    config = configured(dataset, teacher=TEACHER, **{"distill": 1.0, **how})
    return train.fit(config, loaded, teaching=Teaching(ensemble=teachers))


@pytest.mark.parametrize("option", [{"label_smoothing": 0.3}, {"distill": 1.0, "teacher": TEACHER}])
def test_the_recorded_loss_is_against_the_labels_alone(dataset, loaded, option):
    untaught = {"learning_rate": 1e-12, "epochs": 1}  # so that both are figures of the same weights
    plain, other = (
        train.fit(configured(dataset, **untaught, **how), loaded, teaching=Teaching((YES,))).record.best.train_loss
        for how in ({}, option)
    )
    assert other == pytest.approx(plain, rel=1e-6)


def test_a_student_learns_what_its_teacher_says(dataset, loaded):
    teacher = train.fit(configured(dataset, **LEARNS), loaded)
    student = taught(dataset, loaded, Liar(teacher.network), **LEARNS)
    assert teacher.record.best.train_loss < np.log(2) - 0.05
    assert student.record.best.train_loss > np.log(2)


def test_teachers_answer_with_the_mean_of_their_probabilities(dataset, loaded):
    apart, together = (taught(dataset, loaded, *who).network.state_dict() for who in ((YES, NO), (Says(1.0, 1.0),)))
    assert all(torch.equal(apart[name], together[name]) for name in apart)


def test_the_label_keeps_the_share_that_the_teachers_leave(dataset, loaded):
    all_theirs, half, none = (
        taught(dataset, loaded, YES, distill=share, epochs=6, learning_rate=1e-2, keep="last").record.best.train_loss
        for share in (1.0, 0.5, 0.0)
    )
    assert none < half < all_theirs


def test_teachers_are_asked_what_the_student_is(dataset, loaded, monkeypatch):
    teacher = Says(0.0, 0.0)
    monkeypatch.setattr(batches, "mix", lambda batch, targets, _: (torch.full_like(batch, 7.0), targets))
    taught(dataset, loaded, teacher, epochs=1, mixup=1.0)
    assert teacher.asked
    assert all((batch == 7.0).all() for batch in teacher.asked)


def test_teachers_that_nobody_listens_to_change_nothing(dataset, loaded):
    teaching = Teaching((YES,), torch.full((len(loaded.train_labels),), 0.5))
    first, second = (
        train.fit(configured(dataset), loaded, teaching=what).network.state_dict() for what in (NOT_TAUGHT, teaching)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_teachers_have_to_be_there(dataset, loaded):
    with pytest.raises(CandidateError, match="distill needs teachers"):
        train.fit(configured(dataset, distill=0.5, teacher=TEACHER), loaded)


@pytest.mark.parametrize("answers", [None, torch.zeros(3)])
def test_who_doubts_has_to_have_answered(dataset, loaded, answers):
    config = configured(dataset, doubted="drop", teacher=TEACHER)
    with pytest.raises(CandidateError, match="needs a teacher's answers"):
        train.fit(config, loaded, teaching=Teaching(unseen=answers))


def test_doubted_segments_are_not_trained_on(dataset, loaded):
    answers = loaded.train_labels.float().clamp(0.1, 0.9)
    answers[:5] = torch.tensor([0.97, 0.93, 0.04, 0.06, 0.5])
    contradicted = [i for i in range(5) if abs(answers[i] - (1 - int(loaded.train_labels[i]))) < 0.05]
    config = configured(dataset, doubted="drop", teacher=TEACHER, epochs=1, train_on_blank=True)
    record = train.fit(config, loaded, teaching=Teaching(unseen=answers)).record
    assert contradicted
    assert record.train_segments == len(answers) - len(contradicted)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"distill": 0.5}, "need a teacher"),
        ({"doubted": "drop"}, "need a teacher"),
        ({"teacher": {**TEACHER, "training": {}}}, "without validation"),
        ({"teacher": {**TEACHER, "training": {"keep": "last", "teacher": TEACHER}}}, "has no teacher"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig.model_validate(fields)


def as_it_is(function, **_):
    return function


def test_a_teacher_that_is_compiled_teaches_the_same(dataset, loaded, monkeypatch):
    config = configured(dataset, teacher=TEACHER, distill=1.0, keep="last")
    config = config.model_copy(update={"network": {**config.network, "dropout": 0.0}})
    teacher = train.fit(configured(dataset, seed=1), loaded).network
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    plain = train.fit(config, loaded, teaching=Teaching((teacher,)))
    monkeypatch.setenv(fastest.VARIABLE, "compiled")
    monkeypatch.setattr(batch_last, "can_compile", lambda: True)
    monkeypatch.setattr(batch_last, "_compiled", as_it_is)
    fast = train.fit(config, loaded, teaching=Teaching((teacher,)))
    assert fast.record.compiled
    assert fast.record.best.train_loss == pytest.approx(plain.record.best.train_loss, rel=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def failing(_function, **_):
    def fails(_):
        raise RuntimeError("g++ is out of order")

    return fails


@pytest.mark.parametrize(
    ("way", "compiler", "supported", "compile_", "found"),
    [
        ("compiled", True, True, as_it_is, ("batch_last", True, "compiled")),
        ("compiled", True, True, failing, ("batch_last", False, "eager")),
        ("compiled", False, True, as_it_is, ("batch_first", False, "plain")),
        ("compiled", True, False, as_it_is, ("batch_first", False, "plain")),
        ("", True, True, as_it_is, ("batch_first", False, "plain")),
    ],
)
def test_a_training_is_compiled_where_that_is_wanted_and_can_be_done(
    dataset, loaded, monkeypatch, way, compiler, supported, compile_, found
):
    monkeypatch.setenv(fastest.VARIABLE, way)
    monkeypatch.setattr(batch_last, "supports", lambda _: supported)
    monkeypatch.setattr(batch_last, "can_compile", lambda: compiler)
    monkeypatch.setattr(torch, "compile", compile_)
    record = train.fit(configured(dataset, epochs=1), loaded).record
    assert (record.layout, record.compiled, record.forward) == found
    assert ("compiling failed" in record.forward_because) == (compile_ is failing)


def test_a_diverging_training_is_a_clear_error(dataset, loaded):
    broken = replace(loaded, train_samples=torch.full_like(loaded.train_samples[:], float("nan")))
    with pytest.raises(CandidateError, match="finite losses"):
        train.fit(configured(dataset), broken)


def test_the_threshold_is_folded_into_what_is_saved(dataset, loaded, tmp_path):
    config = configured(dataset)
    trained = train.fit(config, loaded)
    train.save_trained(tmp_path, config, trained)
    scores = epochs.predict(candidate.load_network(tmp_path), loaded.validation_samples, torch.device("cpu"))
    f1 = metrics.f1(loaded.validation_labels, (scores[:, 1] - scores[:, 0]).numpy(), loaded.validation_subjects)
    assert f1 == pytest.approx(trained.record.best.f1, abs=0.02)  # folding rounds margins next to the threshold


def test_validation_figures_of_several_sources_are_means_over_them(dataset, loaded):
    config = configured(dataset, epochs=1, threshold="even_odds")
    sources = (loaded.validation_subjects == loaded.validation_subjects[0]).astype(int)
    best = train.fit(config, replace(loaded, validation_sources=sources)).record.best
    scores = epochs.predict(train.fit(config, loaded).network, loaded.validation_samples, torch.device("cpu"))
    margins = (scores[:, 1] - scores[:, 0]).numpy()
    each = [
        metrics.f1(loaded.validation_labels[own], margins[own], loaded.validation_subjects[own])
        for own in (sources == 0, sources == 1)
    ]
    assert best.f1 == pytest.approx(np.mean(each))
    assert each[0] != each[1]


def test_subjects_without_a_positive_segment_have_a_pooled_fbeta_and_no_part_in_g():
    labels = np.array([1, 0, 1, 0, 1, 0, 0], np.int8)  # two subjects of both classes, then three of one class each
    margins = np.array([1, -1, -1, -1, 1, 1, -1], np.float32)  # the second is missed, and the fourth called positive
    subjects, sources = np.array(["a", "a", "b", "b", "c", "d", "e"]), np.array([0, 0, 0, 0, 1, 1, 1])
    both = mean_over_sources(labels, margins, subjects, sources, (1.0, 0.9))
    assert both["fbeta_mean"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert both["g"] == 0.5
    alone = mean_over_sources(labels[4:], margins[4:], subjects[4:], sources[4:], (1.0, 0.9))
    assert (alone["fbeta_mean"], alone["g"]) == (1, 1)  # the contest's rule


def test_a_source_without_positive_segments_has_no_f1(dataset, loaded):
    config, labels = configured(dataset, epochs=1, threshold="even_odds"), loaded.validation_labels.copy()
    sources = (loaded.validation_subjects == loaded.validation_subjects[0]).astype(int)
    labels[sources == 1] = 0
    of_two = replace(loaded, validation_labels=labels, validation_sources=sources)
    others = {
        name: getattr(of_two, name)[sources == 0]
        for name in ("validation_samples", "validation_labels", "validation_subjects", "validation_sources")
    }
    best, alone = (train.fit(config, data).record.best for data in (of_two, replace(of_two, **others)))
    assert best.f1 == alone.f1
    assert best.fbeta_mean == alone.fbeta_mean


def test_an_epoch_has_a_batch(dataset, loaded):
    with pytest.raises(CandidateError, match=r"an epoch has a batch.*found sampling.segments 1, bag_windows 1"):
        train.fit(configured(dataset, sampling={"segments": 1}), loaded)
    with pytest.raises(ValueError, match="less than or equal to 10000000"):
        configured(dataset, sampling={"segments": 10**30})


def test_an_epoch_is_as_long_as_sampling_says(dataset, loaded):
    record = train.fit(configured(dataset, epochs=3, sampling={"segments": 50, "label": 1.0}), loaded).record
    assert record.windows_seen == 150


def test_epochs_are_written_for_spreadsheets(dataset, loaded, tmp_path):
    config = configured(dataset)
    train.save_trained(tmp_path, config, train.fit(config, loaded))
    rows = list(csv.DictReader((tmp_path / candidate.EPOCHS).read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x80\x04pickle."])
def test_a_broken_checkpoint_is_refused(dataset, loaded, tmp_path, content):
    config = configured(dataset)
    train.save_trained(tmp_path, config, train.fit(config, loaded))
    (tmp_path / candidate.CHECKPOINT).write_bytes(content)
    with pytest.raises(CandidateError, match="a checkpoint fits its configuration"):
        candidate.load_network(tmp_path)


def test_a_checkpoint_that_was_trained_for_another_configuration_is_refused(dataset, loaded, tmp_path):
    config = configured(dataset)
    train.save_trained(tmp_path, config, train.fit(config, loaded))
    config.model_copy(update={"seed": config.seed + 1}).save(tmp_path / candidate.CONFIG)
    with pytest.raises(CandidateError, match="was trained for the configuration beside it"):
        candidate.load_network(tmp_path)


def test_a_checkpoint_of_another_net_is_refused(dataset, loaded, tmp_path):
    config = configured(dataset)
    train.save_trained(tmp_path, config, train.fit(config, loaded))
    state = load_file(tmp_path / candidate.CHECKPOINT)
    state.popitem()
    save_file(state, tmp_path / candidate.CHECKPOINT)
    with pytest.raises(CandidateError, match="a checkpoint fits its configuration"):
        candidate.load_network(tmp_path)


def test_validation_of_one_class_is_refused(tmp_path):
    rows = {f"A{i}": [("AFIB", [1]), ("N", [-1])] for i in range(6)} | {"B0": [("N", [0])], "B1": [("N", [0])]}
    made = data(tmp_path / "d", rows)
    split = splits.Split(train=[f"A{i}" for i in range(6)], validation=["B0"], test=["B1"])
    with pytest.raises(DatasetError, match="validation needs positive and negative segments"):
        train.load_data(made, split)


def test_training_on_one_class_is_refused(tmp_path):
    rows = {f"A{i}": [("AFIB", [1]), ("", [-1])] for i in range(6)}
    made = data(tmp_path / "d", rows)
    loaded = train.load_data(made, splits.holdout(made, seed=0))
    with pytest.raises(DatasetError, match="positive and negative segments; found 4 positive of 4"):
        train.fit(configured(made), loaded)


def test_the_average_of_weights_follows_a_short_training():
    """The weight is k after step k; with the decay of a long training the average would be 2.8 after 20 steps."""
    torch.manual_seed(0)
    network = nn.Linear(1, 1, bias=False)
    average = epochs.average_of(network, TrainingConfig(weight_average="ema", average_decay=0.99))
    expected = 1.0
    for step in range(1, 21):
        with torch.no_grad():
            network.weight.fill_(step)
        average.update_parameters(network)
        decay = step / (9 + step) if step > 1 else 0.0
        expected = decay * expected + (1 - decay) * step
    assert average.module.weight.item() == pytest.approx(expected, rel=1e-6)
    assert expected > 17


def test_the_average_of_weights_is_as_slow_as_asked_in_a_long_training():
    torch.manual_seed(0)
    network = nn.Linear(1, 1, bias=False)
    average = epochs.average_of(network, TrainingConfig(weight_average="ema", average_decay=0.9))
    values = []
    for step in range(200):
        with torch.no_grad():
            network.weight.fill_(float(step >= 190))
        average.update_parameters(network)
        values.append(average.module.weight.item())
    assert values[-1] == pytest.approx(1 - 0.9**10, rel=1e-5)
