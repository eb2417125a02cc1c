"""The second phase: narrowest first, stopping at the first width that meets both bars."""

import pytest

from ecm_edge import targets
from ecm_edge.base.errors import CandidateError, SpaceError
from ecm_edge.candidate import candidate
from ecm_edge.candidate.training_config import TrainingConfig
from ecm_edge.data import splits
from ecm_edge.search import scale

from .test_search import fake, fake_proof

TARGET = targets.load("loongson-2k0500")
NET = {"channels": 4, "depth": 2, "kernel": 5, "widest": 8}


@pytest.fixture
def scaled(dataset, tmp_path, monkeypatch):
    """Scales a small net with faked trials whose objective is a hundredth of its width."""
    config = candidate.configure(dataset, splits.holdout(dataset, seed=0), "separable", NET, TrainingConfig(), 0)
    trials = fake(objective=lambda point: float(point["separable.channels"]) / 100)

    def train_trial(folder, number, point, config, setting):
        named = {"family": "separable", **{f"separable.{k}": v for k, v in point.items()}}
        return trials(folder, number, named, config, setting)

    monkeypatch.setattr(scale, "train_trial", train_trial)
    monkeypatch.setattr(scale, "prove_trial", fake_proof())

    def run(least, config=config, **options):
        return scale.scale(config, dataset, TARGET, tmp_path / "s", objective="f1", least_objective=least, **options)

    return run


def widths(record):
    return [trial.point["separable.channels"] for trial in record.trials]


def test_the_narrowest_that_reaches_the_least_objective_wins(scaled):
    record = scaled(0.05)
    assert widths(record) == [2, 3, 4, 5]
    assert (record.verdict, record.best) == ("PASS", 3)


def test_no_width_is_enough(scaled):
    record = scaled(0.99)
    assert (record.verdict, record.best) == ("FAIL", None)
    assert widths(record) == [2, 3, 4, 5, 6, 8, 12, 16]


def test_the_folder_holds_every_trial_and_the_record(scaled, tmp_path):
    record = scaled(0.03)
    assert scale.ScaleRecord.load(tmp_path / "s" / scale.SCALE) == record
    assert len(list((tmp_path / "s" / "trials").iterdir())) == 2


def test_a_family_without_known_widths_needs_one(scaled, dataset):
    split = splits.holdout(dataset, seed=0)
    own = candidate.configure(dataset, split, "mine", {"wide": 4}, TrainingConfig(), 0, "tests.test_networks:users_own")
    with pytest.raises(SpaceError, match="Name it with --width"):
        scaled(1.0, own)


def test_a_candidate_of_another_data_set_is_refused_before_anything_is_trained(scaled, dataset, tmp_path):
    split = splits.holdout(dataset, seed=0)
    config = candidate.configure(dataset, split, "separable", NET, TrainingConfig(), 0)
    with pytest.raises(CandidateError, match="the data set it was made from"):
        scaled(1.0, config.model_copy(update={"dataset_sha256": "0" * 64}))
    assert not (tmp_path / "s").exists()


def test_a_width_is_a_number(scaled, dataset):
    split = splits.holdout(dataset, seed=0)
    config = candidate.configure(dataset, split, "separable", {**NET, "pooling": "max"}, TrainingConfig(), 0)
    with pytest.raises(SpaceError, match="a width is a number"):
        scaled(1.0, config, widths=["pooling"])


def test_a_width_that_the_candidate_lacks_is_refused(scaled, tmp_path):
    with pytest.raises(SpaceError, match="Name one of channels, depth, kernel, widest"):
        scaled(1.0, widths=["channel"])
    assert not (tmp_path / "s").exists()
