"""Teachers: who doubts a label has not seen it, and nobody is trained twice for the same subjects."""

import itertools

import numpy as np
import pytest
import torch

from ecm_edge import targets
from ecm_edge.base.errors import CandidateError, DatasetError, OutputError
from ecm_edge.candidate import candidate, space
from ecm_edge.candidate.training_config import Teacher, TrainingConfig
from ecm_edge.data import splits
from ecm_edge.search import runs, search
from ecm_edge.training import distill, epochs, train
from ecm_edge.training.data import NOT_TAUGHT

from .tiny import run

TEACHER = Teacher(
    family="separable",
    network={"channels": 4, "depth": 2, "kernel": 5, "stride": 4},
    training=TrainingConfig(epochs=1, batch_size=16, keep="last"),
)


def student(dataset, split, **training):
    options = TrainingConfig(**{"epochs": 1, "batch_size": 16, "teacher": TEACHER, "doubted": "drop", **training})
    return candidate.configure(dataset, split, "separable", TEACHER.network, options, seed=0)


def distilled(dataset, split, count=2, **training):
    teacher = TEACHER.model_copy(update={"count": count})
    return student(dataset, split, teacher=teacher, doubted="keep", distill=1.0, **training)


def unseen(config, dataset, *where):
    return distill.teaching(config, dataset, *where).unseen


@pytest.fixture
def assigned(dataset):
    return splits.assign_folds(dataset, count=4, seed=0)


@pytest.fixture
def trained_on(monkeypatch):
    """The training subjects of every network that is trained, in order."""
    seen = []
    fit = train.fit

    def spy(config, data, **options):
        assert set(data.train_subjects) == set(config.split.train)
        seen.append(frozenset(config.split.train))
        return fit(config, data, **options)

    monkeypatch.setattr(train, "fit", spy)
    return seen


def agree(state, other):
    return all(torch.equal(value, other[name]) for name, value in state.items())


def left_out(assigned, *numbers):
    return splits.Split(
        train=sorted(set(assigned.folds) - set(assigned.subjects(*numbers))),
        validation=[],
        test=assigned.subjects(*numbers),
    )


def test_no_teacher_has_seen_whom_it_answers_for_nor_the_test_subjects(dataset, assigned, trained_on, tmp_path):
    split = left_out(assigned, 0)
    answers = unseen(student(dataset, split), dataset, tmp_path, assigned)
    assert trained_on == [frozenset(assigned.subjects(*({1, 2, 3} - {fold}))) for fold in (1, 2, 3)]
    rows = dataset.rows_of(split.train)
    assert answers.shape == (len(rows),)
    assert answers.dtype == torch.float32
    names = np.array(dataset.subject_names(rows))
    for fold, config in distill.out_of_fold_teachers(split.train, TEACHER, dataset, assigned).items():
        own = np.isin(names, assigned.subjects(fold))
        samples = torch.from_numpy(dataset.samples[rows[own]]).unsqueeze(1)
        said = epochs.predict(distill.trained(config, dataset, tmp_path), samples, torch.device("cpu"))
        assert torch.equal(answers[own], said.softmax(1)[:, 1])
    assert len(trained_on) == 3


def test_an_ensemble_is_trained_on_what_its_student_is_trained_on(dataset, assigned, trained_on, tmp_path):
    config = distilled(dataset, left_out(assigned, 0), count=3)
    teaching = distill.teaching(config, dataset, tmp_path, assigned)
    assert trained_on == [frozenset(config.split.train)] * 3
    assert teaching.unseen is None
    members = [dict(network.state_dict()) for network in teaching.ensemble]
    assert len(members) == 3
    assert not any(agree(*pair) for pair in itertools.combinations(members, 2))
    again = distill.teaching(config, dataset, tmp_path, assigned)
    assert len(trained_on) == 3
    assert all(agree(network.state_dict(), state) for network, state in zip(again.ensemble, members, strict=True))


def test_a_student_of_its_own_kind(dataset):
    config = student(dataset, splits.holdout(dataset, seed=0), epochs=7)
    taught = distill.taught_by_its_kind(config, 4)
    teacher = taught.training.teacher
    assert (teacher.family, teacher.network, teacher.count) == (config.family, config.network, 4)
    assert [member.seed for member in distill.ensemble(config, teacher, dataset)] == [1, 2, 3, 4]
    assert (teacher.training.epochs, teacher.training.keep, teacher.training.uses_teachers) == (7, "last", False)
    assert (taught.training.distill, taught.training.keep) == (1.0, config.training.keep)


def test_a_kind_that_needs_validation_does_not_teach(dataset):
    config = student(dataset, splits.holdout(dataset, seed=0), schedule="plateau")
    with pytest.raises(CandidateError, match="without validation"):
        distill.taught_by_its_kind(config, 2)


def test_a_damaged_teacher_is_trained_again(dataset, assigned, trained_on, tmp_path):
    config = distilled(dataset, left_out(assigned, 0))
    distill.teaching(config, dataset, tmp_path, assigned)
    damaged = min(tmp_path.iterdir())
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    distill.teaching(config, dataset, tmp_path, assigned)
    assert len(trained_on) == 3
    assert damaged.read_bytes() == whole


def test_what_is_prepared_is_all_that_teaching_needs(dataset, assigned, trained_on, tmp_path):
    config = student(dataset, left_out(assigned, 0), distill=0.5)
    teachers = distill.all_teachers([config, config], dataset, assigned)
    assert [teacher for teacher, _ in distill.train_all(teachers, dataset, tmp_path, workers=1)] == teachers
    assert len(trained_on) == 4
    teaching = distill.teaching(config, dataset, tmp_path, assigned)
    assert len(trained_on) == 4
    assert len(teaching.ensemble) == 1
    assert teaching.unseen is not None


def test_teachers_are_shared_between_the_folds_of_a_cross_validation(dataset, assigned, trained_on, tmp_path):
    for fold in range(assigned.count):
        config = student(dataset, left_out(assigned, fold))
        unseen(config, dataset, tmp_path, assigned)
    everyone = set(assigned.folds)
    pairs = {frozenset(everyone - set(assigned.subjects(*pair))) for pair in itertools.combinations(range(4), 2)}
    assert len(trained_on) == len(set(trained_on)) == 6
    assert set(trained_on) == pairs


def test_an_interrupted_run_goes_on_where_it_ended(dataset, assigned, trained_on, tmp_path):
    config = student(dataset, left_out(assigned, 0))
    first = unseen(config, dataset, tmp_path, assigned)
    lost = sorted(tmp_path.iterdir())
    assert len(lost) == 3
    lost[0].unlink()
    lost[1].write_bytes(b"half a file")
    assert torch.equal(unseen(config, dataset, tmp_path, assigned), first)
    assert len(trained_on) == 5


def test_another_recipe_is_another_teacher(dataset, assigned, trained_on, tmp_path):
    split = left_out(assigned, 0)
    unseen(student(dataset, split), dataset, tmp_path, assigned)
    other = TEACHER.model_copy(update={"seed": 2})
    unseen(student(dataset, split, teacher=other), dataset, tmp_path, assigned)
    assert len(trained_on) == 6


def test_without_an_assignment_the_subjects_are_divided_by_the_teachers_seed(dataset, trained_on, tmp_path):
    split = splits.holdout(dataset, seed=0)
    answers = unseen(student(dataset, split), dataset, tmp_path)
    assert len(answers) == len(dataset.rows_of(split.train))
    assert all(subjects < set(split.train) for subjects in trained_on)
    assert set().union(*(set(split.train) - subjects for subjects in trained_on)) == set(split.train)


def test_nobody_is_trained_where_nobody_listens(dataset, trained_on, tmp_path):
    split = splits.holdout(dataset, seed=0)
    for how in ({"teacher": None, "doubted": "keep"}, {"doubted": "keep"}):
        assert distill.teaching(student(dataset, split, **how), dataset, tmp_path) == NOT_TAUGHT
    assert trained_on == []


def test_training_subjects_of_one_fold_have_no_teacher(dataset, assigned, tmp_path):
    with pytest.raises(DatasetError, match="2 folds or more"):
        unseen(student(dataset, left_out(assigned, 0, 1, 2)), dataset, tmp_path, assigned)


def test_a_configuration_of_another_data_set_is_refused(dataset, tmp_path):
    config = student(dataset, splits.holdout(dataset, seed=0)).model_copy(update={"dataset_sha256": "0" * 64})
    with pytest.raises(CandidateError, match="goes with the data set"):
        unseen(config, dataset, tmp_path)


def test_a_cache_that_cannot_be_made_is_named(dataset, assigned, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="must be writable"):
        unseen(student(dataset, left_out(assigned, 0)), dataset, tmp_path / "file", assigned)


def test_without_a_folder_nothing_is_kept(dataset, assigned, trained_on, tmp_path):
    config = student(dataset, left_out(assigned, 0))
    kept = unseen(config, dataset, tmp_path, assigned)
    assert torch.equal(unseen(config, dataset, None, assigned), kept)
    assert len(trained_on) == 6


TAUGHT = [
    *("training.teacher.family=separable", "training.teacher.network.channels=4", "training.teacher.network.depth=2"),
    *("training.teacher.network.kernel=5", "training.teacher.network.stride=4", "training.teacher.training.epochs=1"),
    *("training.teacher.training.batch_size=16", "training.teacher.training.keep=last", "training.distill=0.5"),
    "training.teacher.count=2",
    *("training.epochs=1", "training.batch_size=16", "channels=4", "depth=2", "kernel=5", "stride=4"),
]


def test_the_command_trains_a_teacher_and_then_its_student(dataset, trained_on, tmp_path, monkeypatch, capsys):
    taught = []
    fit = train.fit

    def spy(config, data, **options):
        taught.append(len(options.get("teaching", NOT_TAUGHT).ensemble))
        return fit(config, data, **options)

    monkeypatch.setattr(train, "fit", spy)
    assigned = [part for assignment in TAUGHT for part in ("--set", assignment)]
    asked = ["train", "--data", dataset.folder, "--target", "loongson-2k0500", "-o", tmp_path / "c"]
    assert run([*asked, "--family", "separable", *assigned]) == 0, capsys.readouterr().err
    made = candidate.load_config(tmp_path / "c")
    assert made.training.teacher.training == TEACHER.training
    assert made.training.distill == 0.5
    assert taught == [0, 0, 2]
    assert trained_on == [frozenset(made.split.train)] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["c"]  # the teachers' folder goes when all is done


OF_ITS_KIND = ["--family", "separable", *(part for assignment in TAUGHT[-4:] for part in ("--set", assignment))]


def test_the_command_takes_teachers_of_the_candidates_kind(dataset, trained_on, tmp_path, capsys):
    asked = ["train", "--data", dataset.folder, "--target", "loongson-2k0500", "-o", tmp_path / "c", *OF_ITS_KIND]
    assert run([*asked, "--set", "training.epochs=1", "--teachers", 2]) == 0
    said = capsys.readouterr().err
    assert "teacher   1 of 2, trained for the candidate itself" in said
    made = candidate.load_config(tmp_path / "c")
    assert trained_on == [frozenset(made.split.train)] * 3
    assert (made.training.teacher.count, made.training.distill) == (2, 1.0)


@pytest.mark.parametrize("other", ["training.distill=0.5", "training.doubted=drop", "training.teacher.count=2"])
def test_the_command_takes_its_teachers_from_one_place(dataset, tmp_path, capsys, other):
    asked = ["train", "--data", dataset.folder, "--target", "loongson-2k0500", "-o", tmp_path / "c", *OF_ITS_KIND]
    assert run([*asked, "--set", other, "--teachers", 2]) == 2
    assert "--teachers says all" in capsys.readouterr().err


@pytest.mark.parametrize(("seed", "teachers"), [(0, [1, 2, 3]), (1, [2, 3, 4]), (2, [1, 3, 4]), (4, [1, 2, 3])])
def test_nobody_is_taught_by_the_same_network(dataset, seed, teachers):
    config = student(dataset, splits.everyone(dataset)).model_copy(update={"seed": seed})
    teacher = TEACHER.model_copy(update={"count": 3})
    assert [member.seed for member in distill.ensemble(config, teacher, dataset)] == teachers


def test_a_run_shares_its_teachers_over_trials(dataset, trained_on, tmp_path):
    drawn = {**TEACHER.training.model_dump(exclude={"augmentation", "teacher"})}
    training = {"epochs": 1, "batch_size": 16, "distill": 0.5, "teacher.family": "separable"}
    training |= {f"teacher.network.{name}": value for name, value in TEACHER.network.items()}
    training |= {f"teacher.training.{name}": drawn[name] for name in ("epochs", "batch_size", "keep")}
    family = {"channels": {"choices": [4, 6]}, "depth": 2, "kernel": 5, "stride": 4}
    searched = space.Space(families={"separable": {"params": family}}, training=training)
    bare = targets.load("loongson-2k0500").model_copy(update={"firmware": None})
    settings = runs.default_settings(dataset, bare, searched, sampler="grid", pruner="none")
    runs.start(tmp_path / "run", settings)
    record = search.search(dataset, tmp_path / "run", search.Limits(trials=2))
    assert {trial.outcome for trial in record.trials} <= {"trained", "done"}
    assert all(trial.stage_seconds["teachers"] > 0 for trial in record.trials)
    students = frozenset(settings.split.train)
    assert trained_on == [students] * 4  # of seed 1 for the first trial, of seed 2 for the second, whose seed is 1
    assert len(list((tmp_path / "run" / runs.TEACHERS).iterdir())) == 2
