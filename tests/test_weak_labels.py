"""Labels that cannot be trusted or are not there: quiet windows, doubted labels, segments without one."""

import numpy as np
import pytest
import torch

from ecm_edge.base.errors import CandidateError, DatasetError
from ecm_edge.candidate import candidate
from ecm_edge.candidate.training_config import TrainingConfig
from ecm_edge.data import splits
from ecm_edge.data.dataset import Description, SegmentBlock, Source, open_dataset
from ecm_edge.data.dataset_writer import write_dataset
from ecm_edge.training import batches, distill, train
from ecm_edge.training.data import NOT_TAUGHT, Teaching
from ecm_edge.training.losses import labelled
from ecm_edge.training.train_rows import quiet_rows, trained_rows

from .test_train import TEACHER, UNDISTURBED, Says, configured
from .tiny import run

CPU = torch.device("cpu")
YES, NO = Says(0.0, 1000.0), Says(1000.0, 0.0)


@pytest.fixture(scope="module")
def loaded(dataset):
    return train.load_data(dataset, splits.holdout(dataset, seed=0))


@pytest.fixture(scope="module")
def half_labelled(dataset, tmp_path_factory):
    """The synthetic segments, every third of which has lost its rhythm and so its label."""
    rows = np.arange(len(dataset.labels))
    rhythms = ["" if row % 3 == 2 else dataset.header.rhythms[dataset.table["rhythm"][row]] for row in rows]
    episodes = [str(number) for number in dataset.table["episode"]]
    block = SegmentBlock(
        dataset.samples, dataset.names(rows), dataset.subject_names(rows), rhythms, episodes, [""] * len(rows)
    )
    description = Description(
        **{name: getattr(dataset.header, name) for name in ("sampling_rate_hz", "samples_per_segment", "unit")},
        blank="drop",
        synthetic=True,
        source=Source(format="test"),
    )
    folder = tmp_path_factory.mktemp("data") / "half"
    write_dataset(folder, description, [block])
    return open_dataset(folder)


def with_data(loaded, **fields):
    return type(loaded)(**{**loaded.__dict__, **fields})


def louder(loaded, factors):
    """The training part, all windows of one deviation, times these factors; passages of four windows."""
    samples = loaded.train_samples[:] / loaded.train_samples[:].std(2, keepdim=True)
    count = len(samples)
    gains = torch.ones(count)
    gains[: len(factors)] = torch.tensor(factors)
    return with_data(loaded, train_samples=samples * gains.view(-1, 1, 1), train_passages=np.arange(count) // 4)


def test_a_window_is_quiet_beside_those_of_its_passage(loaded):
    data = louder(loaded, [1, 1, 0.1, 1, *[0.1] * 4, 1, 0.3, 1, 5])
    assert np.flatnonzero(quiet_rows(data, 0.2)).tolist() == [2]  # a whole passage may be small
    assert np.flatnonzero(quiet_rows(data, 0.5)).tolist() == [2, 9]
    assert not quiet_rows(data, 0).any()


def test_the_median_of_a_passage_is_that_of_its_windows(loaded):
    """Of two windows it is their mean; rows of a passage need not be in the order of their deviation."""
    gains = [3, 1, 0.4, 2, 1, 0.2]
    data = louder(loaded, gains)
    data = with_data(data, train_passages=np.array([0] * 4 + [1] * 2 + [2] * (len(data.train_labels) - 6)))
    assert (np.median(gains[:4]), np.median(gains[4:6])) == (1.5, pytest.approx(0.6))
    for share, expected in ((0.5, [2, 5]), (0.3, [2]), (0.2, [])):
        assert np.flatnonzero(quiet_rows(data, share)).tolist() == expected


def test_quiet_windows_are_left_out_and_counted(dataset, loaded):
    data = louder(loaded, [1, 1, 0.1, 1, 0.1])
    config = configured(dataset, quiet_below=0.2, train_on_blank=True, epochs=1)
    record = train.fit(config, data).record
    assert record.left_out_quiet == 2
    assert record.train_segments == len(data.train_labels) - 2
    assert train.fit(configured(dataset, epochs=1), data).record.left_out_quiet == 0


def test_a_doubted_label_is_softened(dataset, loaded):
    answers = loaded.train_labels.float().clamp(0.1, 0.9)
    answers[:3] = (1 - loaded.train_labels[:3].float()).clamp(0.02, 0.98)
    config = configured(dataset, doubted="soften", teacher=TEACHER, train_on_blank=True, label_smoothing=0.2, epochs=1)
    chosen = trained_rows(loaded, config.training, 0, answers)
    assert len(chosen.rows) == len(answers)
    assert np.flatnonzero(chosen.softened).tolist() == [0, 1, 2]
    made = batches.Batches(config, loaded, Teaching(unseen=answers), CPU)
    targets = {
        (float(label), round(float(target), 4)) for _, *both in made for label, target in zip(*both, strict=True)
    }
    softened = {(float(loaded.train_labels[row]), round(float(answers[row]), 4)) for row in range(3)}
    assert targets == {(0.0, 0.1), (1.0, 0.9)} | softened
    assert train.fit(config, loaded, teaching=Teaching(unseen=answers)).record.softened_labels == 3


def test_softening_needs_the_answers_too(dataset, loaded):
    config = configured(dataset, doubted="soften", teacher=TEACHER)
    with pytest.raises(CandidateError, match="needs a teacher's answers"):
        train.fit(config, loaded)


def unlabelled(dataset, split, **how):
    how = {"distill": 1.0, "teacher": TEACHER, "unlabelled": True, "epochs": 1, "augmentation": UNDISTURBED, **how}
    return configured(dataset, split=split, **how)


@pytest.mark.parametrize("fields", [{}, {"teacher": TEACHER}, {"teacher": TEACHER, "doubted": "drop"}])
def test_who_has_no_label_needs_a_teacher(fields):
    with pytest.raises(ValueError, match="no target but that of distill"):
        TrainingConfig.model_validate({"unlabelled": True, **fields})


def test_segments_without_a_label_are_read_where_they_are_asked_for(half_labelled):
    split = splits.holdout(half_labelled, seed=0)
    without = train.load_data(half_labelled, split)
    data = train.load_data(half_labelled, split, unlabelled=True)
    count = len(data.train_labels)
    assert count == 12 * len(split.train)
    assert int((data.train_labels < 0).sum()) == count // 3
    assert len(without.train_labels) == count - count // 3
    known = data.train_labels >= 0
    assert torch.equal(data.train_samples[known], without.train_samples[:])
    assert set(data.train_subjects) == set(split.train)


def test_a_segment_without_a_label_is_taught_by_teachers_alone(half_labelled):
    """Their answer is its whole target, whatever their share in those of the others."""
    split = splits.holdout(half_labelled, seed=0)
    data = train.load_data(half_labelled, split, unlabelled=True)
    made = batches.Batches(unlabelled(half_labelled, split, distill=0.25), data, Teaching((YES,)), CPU)
    labels, targets = (torch.cat(values) for values in zip(*((own, told) for _, own, told in made), strict=True))
    for known, target in ((labels == 0, 0.25), (labels == 1, 1.0), (labels.isnan(), 1.0)):
        assert known.any()
        assert (targets[known] == target).all()
    mixed = batches.Batches(unlabelled(half_labelled, split, mixup=1.0), data, Teaching((YES,)), CPU)
    assert all((targets == 1).all() for _, _, targets in mixed)


def test_figures_are_of_labelled_segments(half_labelled):
    scores, labels = torch.arange(6.0).view(3, 2), torch.tensor([0.0, torch.nan, 0.3])
    assert [found.tolist() for found in labelled(scores, labels)] == [[[0, 1], [4, 5]], [0, pytest.approx(0.3)]]
    split = splits.holdout(half_labelled, seed=0)
    without = train.load_data(half_labelled, split)
    data = train.load_data(half_labelled, split, unlabelled=True)
    still = {"learning_rate": 1e-12, "batch_size": 1024}
    config = unlabelled(half_labelled, split, **still)
    record = train.fit(config, data, teaching=Teaching((YES,))).record
    assert (record.unlabelled_segments, record.train_segments) == (len(data.train_labels) // 3, len(data.train_labels))
    told = with_data(data, train_labels=torch.where(data.train_labels < 0, 0, data.train_labels))
    other = train.fit(configured(half_labelled, split=split, epochs=1, **still), told).record
    assert record.best.train_loss != pytest.approx(other.best.train_loss, rel=1e-3)
    asked = configured(half_labelled, split=split, distill=1.0, teacher=TEACHER, epochs=1)
    plain = train.fit(asked, data, teaching=Teaching((YES,)))
    fewer = train.fit(asked, without, teaching=Teaching((YES,)))
    assert plain.record.train_segments == fewer.record.train_segments
    assert plain.record.unlabelled_segments == 0
    theirs = fewer.network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in plain.network.state_dict().items())


def test_doubt_is_of_labelled_segments(half_labelled, tmp_path):
    split = splits.holdout(half_labelled, seed=0)
    config = unlabelled(half_labelled, split, doubted="soften", doubt_above=0.5, augmentation={"recut": True})
    data = train.load_data(half_labelled, split, unlabelled=True)
    teaching = distill.teaching(config, half_labelled, tmp_path)
    assert len(teaching.unseen) == int((data.train_labels >= 0).sum())
    record = train.fit(config, data, teaching=teaching).record
    assert record.unlabelled_segments == len(data.train_labels) // 3
    doubted = (teaching.unseen > 0.5).numpy() != (data.train_labels[data.train_labels >= 0] == 1).numpy()
    assert record.softened_labels == doubted.sum()


def test_only_unlabelled_segments_of_one_class_are_too_few(half_labelled):
    split = splits.holdout(half_labelled, seed=0)
    data = train.load_data(half_labelled, split, unlabelled=True)
    negative = with_data(data, train_labels=data.train_labels.clamp(max=0))
    with pytest.raises(DatasetError, match="0 positive of"):
        train.fit(unlabelled(half_labelled, split), negative, teaching=Teaching((YES,)))


def test_with_distill_of_1_a_label_has_no_part(dataset, loaded):
    """Also where a blank rhythm counts as negative and is trained on."""
    config = configured(dataset, distill=1.0, teacher=TEACHER, train_on_blank=True, keep="last")
    wrong = with_data(loaded, train_labels=1 - loaded.train_labels)
    teacher = train.fit(configured(dataset, seed=3), loaded).network
    one, other = (
        train.fit(config, data, teaching=Teaching((teacher,))).network.state_dict() for data in (loaded, wrong)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_without_teachers_there_are_no_unlabelled_rows(half_labelled):
    split = splits.holdout(half_labelled, seed=0)
    data = train.load_data(half_labelled, split, unlabelled=True)
    made = batches.Batches(configured(half_labelled, split=split), data, NOT_TAUGHT, CPU)
    assert made.unlabelled == 0
    assert not (data.train_labels[made.rows] < 0).any()


def test_softening_has_the_teachers_of_dropping(dataset):
    split = splits.holdout(dataset, seed=0)
    folds = splits.assign_folds(dataset, count=4, seed=0)
    drop, soften, keep = (
        distill.teachers_for(configured(dataset, split=split, doubted=how, teacher=TEACHER), dataset, folds)
        for how in ("drop", "soften", "keep")
    )
    assert drop == soften
    assert (len(drop), keep) == (len({folds.folds[name] for name in split.train}), [])


OF_ITS_KIND = ("--family", "separable", *(f"--set={one}" for one in ("channels=4", "depth=2", "kernel=5", "stride=4")))
SHORT = ("training.epochs=1", "training.batch_size=16", "training.quiet_below=0.01")


def test_the_command_says_how_many(half_labelled, tmp_path, capsys):
    sets = [f"--set={one}" for one in (*SHORT, "training.unlabelled=true")]
    asked = ["train", "--data", half_labelled.folder, "--target", "loongson-2k0500", "-o", tmp_path / "c"]
    assert run([*asked, *OF_ITS_KIND, *sets, "--teachers", 1]) == 0
    record, config = (
        train.TrainingRecord.load(tmp_path / "c" / candidate.TRAINING),
        candidate.load_config(tmp_path / "c"),
    )
    assert (config.training.unlabelled, config.training.teacher.training.unlabelled) == (True, False)
    counted = f"(of {record.train_segments} in training)"
    said = capsys.readouterr().out.splitlines()
    assert f"0 quiet windows were not trained on {counted}" in said
    assert record.unlabelled_segments > 0
    assert f"{record.unlabelled_segments} segments without a label were taught by the teachers alone {counted}" in said


def test_the_command_refuses_unlabelled_segments_without_teachers(half_labelled, tmp_path, capsys):
    asked = ["train", "--data", half_labelled.folder, "--target", "loongson-2k0500", "-o", tmp_path / "c"]
    assert run([*asked, *OF_ITS_KIND, "--set=training.unlabelled=true"]) == 2
    assert "unlabelled segments have no target but that of distill" in capsys.readouterr().err
