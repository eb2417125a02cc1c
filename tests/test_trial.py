"""One candidate through the chain: unfit ones are not trained, and an untrained graph costs what a trained one does."""

import numpy as np
import pytest

from ecm_edge import candidate, cost, onnx_model, splits, targets, trial
from ecm_edge.candidate import TrainingConfig
from ecm_edge.cli import main
from ecm_edge.records import Verdict

TARGET = targets.load("loongson-2k0500")
BRIEF = TrainingConfig(epochs=1, batch_size=32)


def config(dataset, **params):
    split = splits.holdout(dataset, seed=0)
    return candidate.configure(dataset, split, "afnet", {"channel_factor": 1, "head_factor": 1, **params}, BRIEF, 0)


def with_budget(**budget):
    return TARGET.model_copy(update={"budget": TARGET.budget.model_copy(update=budget)})


def test_what_does_not_fit_is_not_trained(dataset, tmp_path):
    result = trial.train_candidate(tmp_path / "c", config(dataset), dataset, with_budget(macs=100))
    assert (result.verdict, result.training) == (Verdict.FAIL, None)
    assert not (tmp_path / "c" / candidate.CHECKPOINT).exists()
    assert candidate.load_config(tmp_path / "c") == config(dataset)


def test_the_untrained_graph_costs_what_the_trained_one_does(dataset, tmp_path):
    result = trial.train_candidate(tmp_path / "c", config(dataset), dataset, TARGET)
    from ecm_edge.export import export_candidate

    export_candidate(tmp_path / "c", dataset)
    trained = cost.count(onnx_model.load_proto(tmp_path / "c" / candidate.FORM_FILES["float32"]))
    counted = (result.cost.parameters, result.cost.macs, result.cost.weight_bytes)
    assert counted == (trained.parameters, trained.macs, trained.weight_bytes)


def test_like_brings_its_own_family(dataset, tmp_path, capsys):
    arguments = ["train", "--data", str(dataset.folder), "--target", TARGET.name, "-o", str(tmp_path / "c")]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--like", str(tmp_path), "--family", "tcn"])
    assert ended.value.code == 2
    assert "--like brings its own family" in capsys.readouterr().err


def test_an_unfit_trial_says_by_how_much(dataset, tmp_path):
    from ecm_edge.train import load_data

    setting = trial.Setting(dataset, load_data(dataset, config(dataset).split), with_budget(macs=100), "f1", 8)
    record = trial.run_trial(tmp_path, 0, {}, config(dataset), setting)
    assert record.outcome == "unfit"
    assert f"is {record.macs - 100:,} MAC over 100, heaviest:" in record.reason


def test_a_stage_that_refuses_ends_the_trial_with_its_reason(dataset, tmp_path):
    from ecm_edge.train import load_data

    data = load_data(dataset, config(dataset).split)
    spoilt = data.__class__(**{**data.__dict__, "train_samples": data.train_samples * float("nan")})
    setting = trial.Setting(dataset, spoilt, TARGET, "f1", 8)
    record = trial.run_trial(tmp_path, 0, {}, config(dataset), setting)
    assert record.outcome == "failed"
    assert "finite losses" in record.reason


def test_out_of_fold_scores_cover_every_segment(dataset, tmp_path):
    result = trial.train_candidate(tmp_path / "c", config(dataset), dataset, TARGET, folds=2)
    assert result.folds.scores.segments == int(np.sum(dataset.labels >= 0))
    tested = [name for fold in result.folds.folds for name in fold.split.test]
    assert sorted(tested) == sorted(dataset.header.subjects)


def test_a_boards_own_rule_judges_epochs_and_folds(dataset, tmp_path):
    rule = TARGET.score.model_copy(update={"beta": 1.0, "good_subject_above": 0.0})
    lenient = TARGET.model_copy(update={"score": rule})
    result = trial.train_candidate(tmp_path / "c", config(dataset), dataset, lenient, folds=2)
    scores = result.folds.scores
    assert (scores.beta, scores.good_subject_above) == (1.0, 0.0)
    assert scores.g.value == np.mean([s.fbeta > 0 for s in scores.by_subject])
    assert result.training.best.g == 1.0  # every validation subject is above 0


@pytest.mark.parametrize(("objective", "value"), [("f1", 0.8), ("fbeta_mean", 0.9)])
def test_objectives(objective, value):
    from ecm_edge.epochs import Epoch

    epoch = Epoch(
        epoch=1, learning_rate=1, train_loss=1, validation_loss=1, f1=0.8, fbeta_mean=0.9, g=0.7, threshold=0, seconds=1
    )
    assert trial.objective_value(epoch, None, TARGET, objective) == value
