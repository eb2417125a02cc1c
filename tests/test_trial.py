"""One candidate through the chain: unfit ones are not trained, and an untrained graph costs what a trained one does."""

from pathlib import Path

import numpy as np
import pytest

from ecm_edge import targets
from ecm_edge.base.errors import CandidateError
from ecm_edge.base.records import Verdict, condition, not_run
from ecm_edge.candidate import candidate
from ecm_edge.candidate.training_config import TrainingConfig
from ecm_edge.cli import main
from ecm_edge.data import splits
from ecm_edge.evaluate.verify import VerifyRecord
from ecm_edge.forms import cost, gate, onnx_model
from ecm_edge.search import gate as gates
from ecm_edge.search import ladder, train_one, trial
from ecm_edge.search.trial_record import TrialRecord
from ecm_edge.training.train import TrainingRecord, load_data
from tests import tiny

TARGET = targets.load("loongson-2k0500")
BRIEF = TrainingConfig(epochs=1, batch_size=32)


def config(dataset, **params):
    split = splits.holdout(dataset, seed=0)
    return candidate.configure(dataset, split, "afnet", {"channel_factor": 1, "head_factor": 1, **params}, BRIEF, 0)


def without_choice(made):
    """The same, but the last epoch is kept: a fold of so few subjects has nobody to choose another on."""
    return made.model_copy(update={"training": made.training.model_copy(update={"keep": "last"})})


def with_budget(**budget):
    return TARGET.model_copy(update={"budget": TARGET.budget.model_copy(update=budget)})


def test_what_does_not_fit_is_not_trained(dataset, tmp_path):
    result = train_one.train_candidate(tmp_path / "c", config(dataset), dataset, with_budget(macs=100))
    assert (result.verdict, result.training) == (Verdict.FAIL, None)
    assert list(tmp_path.iterdir()) == []


def test_gates_without_a_value_are_shown(tmp_path, dataset, capsys, monkeypatch):
    def fitting(*_, **__):
        gates = [not_run("stack_bytes", "nothing runs here"), condition("repeatable", "it is not", holds=False)]
        cost = gate.CostRecord.load(tiny.make_candidate(tmp_path / "c", tiny.graded(tmp_path / "d")) / candidate.COST)
        cost = cost.model_copy(update={"gates": gates})
        return train_one.TrainResult(verdict=Verdict.PASS, cost=cost, training=None, folds=None)

    monkeypatch.setattr(train_one, "train_candidate", fitting)
    out = tmp_path / "out"
    assert tiny.run(["train", "--data", dataset.folder, "--target", TARGET.name, "-o", out]) == 0
    assert "– of –  nothing runs here" in capsys.readouterr().out


def test_the_untrained_graph_costs_what_the_trained_one_does(dataset, tmp_path):
    result = train_one.train_candidate(tmp_path / "c", config(dataset), dataset, TARGET)
    from ecm_edge.forms.export import export_candidate

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
    setting = trial.Setting(dataset, load_data(dataset, config(dataset).split), with_budget(macs=100), "f1")
    record = trial.train_trial(tmp_path, 0, {}, config(dataset), setting)
    assert record.outcome == "unfit"
    assert f"is {record.macs - 100:,} MAC over 100, heaviest:" in record.reason


def test_a_stage_that_refuses_ends_the_trial_with_its_reason(dataset, tmp_path):
    data = load_data(dataset, config(dataset).split)
    spoilt = data.__class__(**{**data.__dict__, "train_samples": data.train_samples[:] * float("nan")})
    setting = trial.Setting(dataset, spoilt, TARGET, "f1")
    record = trial.train_trial(tmp_path, 0, {}, config(dataset), setting)
    assert record.outcome == "failed"
    assert "finite losses" in record.reason


def test_out_of_fold_scores_cover_every_segment(dataset, tmp_path):
    last = without_choice(config(dataset))
    result = train_one.train_candidate(tmp_path / "c", last, dataset, TARGET, folds=3, workers=1)
    assert result.folds.scores.segments == int(np.sum(dataset.labels >= 0))
    tested = [name for fold in result.folds.folds for name in fold.subjects]
    assert sorted(tested) == sorted(dataset.header.subjects)
    assert result.training.validation_subjects == 2  # the candidate itself keeps its own split


def test_a_boards_own_rule_judges_epochs_and_folds(dataset, tmp_path):
    rule = TARGET.score.model_copy(update={"beta": 1.0, "good_subject_above": 0.0})
    lenient = TARGET.model_copy(update={"score": rule})
    last = without_choice(config(dataset))
    result = train_one.train_candidate(tmp_path / "c", last, dataset, lenient, folds=3, workers=1)
    scores = result.folds.scores
    assert (scores.beta, scores.good_subject_above) == (1.0, 0.0)
    assert scores.g.value == np.mean([s.fbeta > 0 for s in scores.by_subject])
    assert result.training.best.g == 1.0  # every validation subject is above 0


class Watching(trial.Judge):
    """Notes what it is asked, and ends the trial at a given rung, after a given epoch, or because time is up."""

    def __init__(self, *, fall_at=None, stop_after=None, time_up=False):
        self.asked, self.fall_at, self.stop_after, self.time_up = [], fall_at, stop_after, time_up

    def is_late(self):
        return self.time_up

    def goes_on(self, rung, value):
        self.asked.append(("rung", rung, value))
        return rung != self.fall_at

    def should_stop(self, epoch, value):
        self.asked.append(("epoch", epoch, value))
        return epoch == self.stop_after


def climb(dataset, folder, judge):
    """A trial of four epochs up the default ladder, on a board for which nothing is built."""
    long = config(dataset).model_copy(update={"training": BRIEF.model_copy(update={"epochs": 4})})
    bare = TARGET.model_copy(update={"firmware": None})
    setting = trial.Setting(dataset, load_data(dataset, long.split), bare, "f1", ladder.RUNGS)
    return trial.train_trial(folder, 0, {}, long, setting, judge)


def test_what_falls_from_a_rung_was_trained_briefly_and_leaves_no_weights(dataset, tmp_path):
    judge = Watching(fall_at=0)
    record = climb(dataset, tmp_path, judge)
    (rung,) = record.rungs
    assert (record.outcome, record.ended_at_rung, record.trained) == ("pruned", 0, True)
    assert (record.objective, record.f1, record.epochs) == (None, None, 0)
    assert (rung.complete, rung.epochs, rung.data_share, rung.epochs_share) == (True, 1, 1 / 8, 1 / 4)
    assert judge.asked == [("rung", 0, rung.objective)]
    assert record.segments_seen == rung.segments
    assert record.train_seconds >= rung.seconds > 0
    assert not {candidate.CHECKPOINT, candidate.TRAINING, candidate.EXPORTED} & {p.name for p in tmp_path.iterdir()}


def test_what_climbs_the_ladder_is_trained_in_full_from_fresh_weights(dataset, tmp_path):
    judge = Watching(stop_after=2)
    record = climb(dataset, tmp_path, judge)
    assert [asked[:2] for asked in judge.asked] == [("rung", 0), ("rung", 1), ("epoch", 1), ("epoch", 2)]
    assert (record.outcome, record.ended_at_rung, record.epochs) == ("pruned", None, 2)
    assert [rung.epochs for rung in record.rungs] == [1, 2]
    first, second = (rung.segments / rung.epochs for rung in record.rungs)
    full = (record.segments_seen - sum(rung.segments for rung in record.rungs)) / record.epochs
    assert first <= second < full
    trained = TrainingRecord.load(tmp_path / candidate.TRAINING)
    assert record.objective == trained.best.f1
    assert candidate.load_config(tmp_path).training.data_share == 1


def test_a_trial_that_runs_out_of_time_at_a_rung_says_so(dataset, tmp_path):
    judge = Watching(time_up=True)
    record = climb(dataset, tmp_path, judge)
    assert (record.outcome, record.reason, record.ended_at_rung) == ("pruned", "out of time", 0)
    assert [rung.complete for rung in record.rungs] == [False]
    assert judge.asked == []  # such a value is compared with nothing


def test_an_objective_needs_validation_subjects():
    from ecm_edge.training.epochs import Epoch

    epoch = Epoch(epoch=1, learning_rate=1, train_loss=1, seconds=1)
    with pytest.raises(CandidateError, match="measured on validation subjects"):
        trial.objective_value(epoch, None, None, "f1")


@pytest.mark.parametrize(("objective", "value"), [("f1", 0.8), ("fbeta_mean", 0.9)])
def test_objectives(objective, value):
    from ecm_edge.training.epochs import Epoch

    epoch = Epoch(
        epoch=1, learning_rate=1, train_loss=1, validation_loss=1, f1=0.8, fbeta_mean=0.9, g=0.7, threshold=0, seconds=1
    )
    assert trial.objective_value(epoch, None, None, objective) == value


FAILS = {"verdict": Verdict.FAIL}


@pytest.mark.parametrize(
    ("failing", "verdict"),
    [
        ((), Verdict.PASS),
        (("int8: reference→onnxruntime",), Verdict.PASS),  # the board ships float32
        (("float32: reference→C",), Verdict.FAIL),
        (("pytorch→onnx", "int8: reference→onnxruntime"), Verdict.FAIL),
    ],
)
def test_a_trial_is_judged_by_what_leads_to_the_form_that_ships(failing, verdict):
    told = verified_with(*failing)
    assert TARGET.precision[0] == "float32"
    assert trial.shipping_verdict(told, TARGET) == verdict


def verified_with(*failing):
    """The verification of the model that ships, with hops that fail."""
    entry = min((Path(__file__).parents[1] / "data" / "reference" / TARGET.name / "entries").iterdir())
    record = VerifyRecord.load(entry / candidate.VERIFY)
    assert set(failing) <= {hop.name for hop in record.hops}
    hops = [hop.model_copy(update=FAILS) if hop.name in failing else hop for hop in record.hops]
    gates = [gate.model_copy(update=FAILS) if gate.name in failing else gate for gate in record.gates]
    return record.model_copy(update={"hops": hops, "gates": gates, **(FAILS if failing else {})})


@pytest.mark.parametrize(
    ("precision", "verdict"), [(["int8", "float32"], Verdict.FAIL), (["float32", "int8"], Verdict.PASS)]
)
def test_the_form_that_ships_is_what_is_proven(dataset, tmp_path, monkeypatch, precision, verdict):
    """A network whose int8 form alone fails, on a board that ships it and on one that ships float32."""
    board = TARGET.model_copy(update={"precision": precision})
    ran = []
    monkeypatch.setattr(trial.export, "export_candidate", lambda *_, **__: ran.append("export"))
    monkeypatch.setattr(trial.quantize, "quantize_candidate", lambda *_: ran.append("quantize"))
    monkeypatch.setattr(trial.verify, "verify_candidate", lambda *_: verified_with("int8: reference→onnxruntime"))
    monkeypatch.setattr(trial, "build_candidate", lambda *_: Built(ran))
    config(dataset).save(tmp_path / candidate.CONFIG)
    setting = trial.Setting(dataset, load_data(dataset, config(dataset).split), board, "f1")
    record = trial.prove_trial(tmp_path, trained(), setting)
    assert ran == ["export", "quantize", precision[0]]
    assert (record.outcome, record.verdict, record.not_run) == ("done", verdict, [])
    assert record.is_proven == (verdict == Verdict.PASS)
    assert TrialRecord.load(tmp_path / "trial.json") == record
    assert trial.prove_trial(tmp_path, record, setting) == record  # nothing is proven twice
    assert len(ran) == 3


class Built:
    """The record of images that notes whose was asked for; none was measured."""

    verdict = Verdict.PASS

    def __init__(self, asked):
        self.asked = asked

    def of(self, form):
        self.asked.append(form)


def trained():
    """A candidate that was trained and not proven."""
    return TrialRecord(
        number=0, outcome="trained", family="afnet", point={}, objective=0.5, epochs=1, parameters=1, macs=1,
        flash_bytes=1, ram_bytes=1, latency_ms=1.0, stage_seconds={"gate": 0.1, "train": 2.0},
        not_run=["export", "quantize", "verify", "firmware"],
    )  # fmt: skip


def test_a_stage_that_refuses_a_trained_candidate_ends_its_proof(dataset, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise CandidateError("a rule", "a value", "a hint")

    monkeypatch.setattr(trial.export, "export_candidate", refuse)
    config(dataset).save(tmp_path / candidate.CONFIG)
    setting = trial.Setting(dataset, load_data(dataset, config(dataset).split), TARGET, "f1")
    record = trial.prove_trial(tmp_path, trained(), setting)
    assert (record.outcome, record.verdict, record.is_proven) == ("failed", Verdict.NOT_RUN, False)
    assert "a rule; found a value" in record.reason
    assert record.not_run == ["quantize", "verify", "firmware"]
    assert record.train_seconds == 2.0


def test_a_network_is_gated_once_with_whatever_training(dataset, monkeypatch):
    built = []
    monkeypatch.setattr(gates, "gate_candidate", lambda *given: built.append(given) or ("template", "costs"))
    shapes = gates.KnownShapes()
    other = config(dataset).model_copy(update={"seed": 9, "training": TrainingConfig(epochs=7)})
    wider = config(dataset, channel_factor=2)
    assert shapes.template(other, TARGET) is None
    for each in (config(dataset), other, wider, other):
        assert shapes.gate(each, TARGET, None) == ("template", "costs")
    assert [given[0].network["channel_factor"] for given in built] == [1, 2]
    assert shapes.template(other, TARGET) == "template"
    assert shapes.template(other, with_budget(macs=100)) is None
