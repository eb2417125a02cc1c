"""The search: its limits, its memory, and what survives a kill. Trials are faked but for the last tests."""

import json
import socket

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from ecm_edge import targets
from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError, OutputError, SearchError, SpaceError
from ecm_edge.base.records import Verdict
from ecm_edge.candidate import candidate, space
from ecm_edge.candidate.space import Space
from ecm_edge.candidate.training_config import Sampling, TrainingConfig
from ecm_edge.cli import main
from ecm_edge.data import splits
from ecm_edge.data.dataset import open_dataset
from ecm_edge.forms.quantize import QuantizeRecord
from ecm_edge.search import ladder, presence, runs, search, worker
from ecm_edge.search.search import Limits, Sharing
from ecm_edge.search.trial import Judge
from ecm_edge.search.trial_record import TrialRecord

TARGET = targets.load("loongson-2k0500")
SPACE = Space.model_validate(
    {
        "families": {
            "separable": {
                "params": {"channels": {"low": 2, "high": 12}, "depth": 2, "kernel": {"choices": [3, 5]}, "stride": 4}
            }
        },
        "training": {"epochs": 2, "batch_size": 32},
    }
)


def fake(outcome="trained", objective=lambda point: float(point["separable.channels"])):
    """A trial that takes no time; its objective depends on the point."""

    def train_trial(folder, number, point, _config, setting, judge=Judge()):  # noqa: B008 - it has no state
        value = None if outcome in {"unfit", "failed"} else objective(point)
        ended, rungs, fell = outcome, [], None
        for rung, at in enumerate(setting.rungs if value is not None else []):
            rungs.append(rung_record(at, value))
            if not judge.goes_on(rung, value):
                ended, fell, value = "pruned", rung, None
                break
        if value is not None and judge.should_stop(2, value):
            ended = "pruned"
        record = TrialRecord(
            number=number,
            outcome=ended,
            reason="faked",
            family=str(point["family"]),
            point=point,
            objective=value,
            f1=value,
            fbeta_mean=value,
            g=value,
            epochs=0 if value is None else 1,
            parameters=1,
            macs=10 * int(point["separable.channels"]),
            flash_bytes=1,
            ram_bytes=1,
            latency_ms=1.0,
            rungs=rungs,
            ended_at_rung=fell,
            stage_seconds={},
        )
        record.save(folder / "trial.json")
        return record

    return train_trial


def fake_proof(fails=lambda _: False):
    """A proof that takes no time; `fails` says of which trials."""

    def prove_trial(folder, record, setting):
        if record.outcome != "trained":
            return record
        known = {"outcome": "done", "verdict": Verdict.FAIL if fails(record) else Verdict.PASS}
        counted = {"verified_segments": len(setting.data.validation_labels), "stage_seconds": {"export": 0.0}}
        proven = record.model_copy(update=known | counted)
        proven.save(folder / "trial.json")
        return proven

    return prove_trial


def fake_trials(monkeypatch, trial=None, proof=None):
    monkeypatch.setattr(worker, "train_trial", trial or fake())
    monkeypatch.setattr(worker, "prove_trial", proof or fake_proof())


def rung_record(rung, value):
    """A rung as if it had been trained at."""
    shares = {"data_share": rung.data_share, "epochs_share": rung.epochs_share}
    figures = {"objective": value, "f1": value, "fbeta_mean": value, "g": value}
    return ladder.RungRecord(complete=True, epochs=1, segments=1, seconds=0.0, **shares, **figures)


@pytest.fixture
def begun(dataset, tmp_path, monkeypatch):
    """Starts a run with chosen settings and faked trials; returns its folder."""

    def begin(trial=None, chosen_space=SPACE, proof=None, **chosen):
        fake_trials(monkeypatch, trial, proof)
        settings = runs.default_settings(dataset, TARGET, chosen_space, pruner="none", **chosen)
        runs.start(tmp_path / "run", settings)
        return tmp_path / "run"

    return begin


def test_it_stops_at_the_number_of_trials(dataset, begun):
    record = search.search(dataset, begun(), Limits(3))
    assert (record.trained, record.stopped_by, record.verdict) == (3, "trials", "PASS")


def test_it_stops_when_time_is_up(dataset, begun):
    assert search.search(dataset, begun(), Limits(3, timeout_s=0)).stopped_by == "timeout"


def test_it_stops_at_the_least_objective_wanted(dataset, begun):
    record = search.search(dataset, begun(standard=11.0), Limits(100))
    assert record.stopped_by == "standard"
    assert record.best_objective >= 11


def test_the_best_is_the_best(dataset, begun):
    record = search.search(dataset, begun(), Limits(5))
    assert record.best_objective == max(trial.objective for trial in record.trials)


def test_every_trial_leaves_a_whole_folder_and_the_summary_is_the_record(dataset, begun):
    out = begun()
    record = search.search(dataset, out, Limits(3))
    assert sorted(p.name for p in (out / "trials").iterdir()) == [f"{t.number:04d}" for t in record.trials]
    assert runs.SearchRecord.load(out / "summary.json") == record


def test_a_run_stands_for_its_best_candidate(dataset, begun):
    out = begun()
    record = search.search(dataset, out, Limits(3))
    assert candidate.locate(out) == candidate.trial_folder(out, record.best)


def proven(record):
    """Numbers of the trials that were taken beyond their training, and how many are only trained."""
    return {t.number for t in record.trials if t.outcome == "done"}, sum(t.outcome == "trained" for t in record.trials)


def test_only_the_first_and_the_best_are_proven(dataset, begun):
    record = search.search(dataset, begun(sampler="random"), Limits(8))
    assert proven(record) == ({0, record.best}, 8 - len({0, record.best}))
    assert record.best_objective == max(trial.objective for trial in record.trials)


def test_one_that_fails_its_proof_is_followed_by_the_next_best(dataset, begun):
    out = begun(proof=fake_proof(fails=lambda trial: trial.objective > 6), sampler="random")
    record = search.search(dataset, out, Limits(8))
    failed = {trial.number for trial in record.trials if trial.objective > 6}
    assert len(failed) > 1
    assert record.best_objective == max(trial.objective for trial in record.trials if trial.objective <= 6)
    assert proven(record)[0] == {0, record.best, *failed}
    assert {trial.number for trial in record.trials if trial.verdict == "FAIL"} == failed
    assert not failed & set(record.pareto)


def test_a_trial_that_reaches_the_standard_is_proven_at_once_and_ends_the_search_only_if_it_passes(dataset, begun):
    proof = fake_proof(fails=lambda trial: trial.objective == 11)
    record = search.search(dataset, begun(proof=proof, sampler="grid", standard=11.0, avoid_radius=0.0), Limits(100))
    assert record.stopped_by == "standard"
    assert (record.best_objective, record.trials[-1].number) == (12.0, record.best)
    assert any(trial.verdict == "FAIL" for trial in record.trials)


def interrupt(dataset, out, monkeypatch, trials):
    """A run that is interrupted when it begins to prove what was trained, all but its first candidate."""
    ours = fake_proof()

    def prove_trial(folder, record, setting):
        if record.number:
            raise KeyboardInterrupt
        return ours(folder, record, setting)

    monkeypatch.setattr(worker, "prove_trial", prove_trial)
    with pytest.raises(KeyboardInterrupt):
        search.search(dataset, out, Limits(trials))
    monkeypatch.setattr(worker, "prove_trial", ours)


def test_an_interrupted_run_says_what_is_proven_and_a_resumed_one_proves(dataset, begun, monkeypatch):
    values = iter([3.0, 5.0, 1.0, 4.0])
    out = begun(fake(objective=lambda _: next(values)), sampler="random")
    interrupt(dataset, out, monkeypatch, 4)
    with pytest.raises(CandidateError, match=r"trial 1, \d not yet in .*the best that is proven is .*0000.*--resume"):
        candidate.locate(out)
    record = search.search(dataset, out, Limits(4))
    assert (record.best, proven(record)) == (1, ({0, 1}, 2))
    assert candidate.locate(out) == candidate.trial_folder(out, 1)


def test_what_was_not_proven_is_not_shown_as_failed(dataset, begun, capsys):
    with pytest.raises(SystemExit):
        main(command(dataset, begun(sampler="random"), "--resume", "--trials", "3"))
    shown = capsys.readouterr()
    assert "FAIL" not in shown.out + shown.err
    assert ", verify not run" in shown.err
    assert "verify not run: only candidates that can be the best are exported, verified and built" in shown.out


def test_no_point_is_proposed_twice(dataset, begun):
    record = search.search(dataset, begun(sampler="random"), Limits(22))
    points = [json.dumps(trial.point, sort_keys=True) for trial in record.trials]
    assert len(set(points)) == len(points) == 22
    assert record.avoided > 0


def test_below_the_least_objective_wanted_the_neighbourhood_is_avoided(dataset, begun):
    record = search.search(dataset, begun(standard=99.0, avoid_radius=0.25, sampler="random"), Limits(100))
    taken = [(t.point["separable.channels"], t.point["separable.kernel"]) for t in record.trials]
    near = [(a, b) for a in taken for b in taken if a != b and a[1] == b[1] and abs(a[0] - b[0]) <= 2]
    assert record.stopped_by == "exhausted"
    assert near == []


def test_a_grid_is_gone_through_once(dataset, begun):
    record = search.search(dataset, begun(sampler="grid"), Limits(100))
    assert (record.trained, record.stopped_by) == (22, "exhausted")


def test_a_grid_is_gone_through_however_many_of_its_points_do_not_fit(dataset, begun, monkeypatch):
    monkeypatch.setattr(worker, "MOST_IDLE_DRAWS", 3)
    narrow, wide = fake("unfit"), fake()

    def train_trial(folder, number, point, *rest):
        return (wide if point["separable.channels"] == 12 else narrow)(folder, number, point, *rest)

    record = search.search(dataset, begun(train_trial, sampler="grid"), Limits(100))
    assert (record.unfit, record.trained, record.stopped_by) == (20, 2, "exhausted")


def test_runs_share_a_storage_without_mixing(dataset, begun, tmp_path):
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    search.search(dataset, begun(), Limits(2), Sharing(storage=storage))
    (tmp_path / "run").rename(tmp_path / "first")
    record = search.search(dataset, begun(seed=1), Limits(2), Sharing(storage=storage))
    assert [trial.number for trial in record.trials] == [0, 1]
    assert len(optuna.get_all_study_names(storage)) == 2


def test_nsga2_minimises_macs_as_well(dataset, begun):
    record = search.search(dataset, begun(sampler="nsga2"), Limits(5))
    cheapest_first = sorted(record.trials, key=lambda t: t.macs)
    assert record.trained == 5
    assert len({t.macs for t in record.trials}) == len(record.pareto) > 1  # wider is better, so that none beats another
    assert record.pareto == [t.number for t in cheapest_first if t.number in record.pareto]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_same_seed_draws_the_same_points(dataset, begun, tmp_path, sampler):
    first = search.search(dataset, begun(sampler=sampler), Limits(4))
    (tmp_path / "run").rename(tmp_path / "first")
    second = search.search(dataset, begun(sampler=sampler), Limits(4))
    assert [t.point for t in first.trials] == [t.point for t in second.trials]


def test_resuming_goes_on_where_it_stopped(dataset, begun):
    out = begun()
    first = search.search(dataset, out, Limits(2))
    second = search.search(dataset, out, Limits(5))
    assert second.trained == 5
    assert second.trials[:2] == first.trials


def test_a_resumed_run_keeps_its_limits(dataset, begun):
    out = begun()
    assert search.limits_of(out) == Limits(20)
    search.search(dataset, out, Limits(2, timeout_s=500))
    assert search.limits_of(out) == Limits(2, 500)
    assert search.limits_of(out, trials=4) == Limits(4, 500)
    assert search.search(dataset, out).trained == 2
    assert search.search(dataset, out, search.limits_of(out, trials=4)).trained == 4
    assert search.limits_of(out, timeout_s=0) == Limits(4, 0)


def command(dataset, out, *further):
    return ["search", "--data", str(dataset.folder), "-o", str(out), *further]


def test_a_grid_goes_through_all_points_beside_those_that_are_tried_first(dataset, begun):
    small = {"channels": {"choices": [2, 4]}, "depth": 2, "kernel": {"choices": [3, 5]}, "stride": 4}
    grid = Space.model_validate(
        {"families": {"separable": {"params": small}}, "training": {"epochs": 2, "batch_size": 32}}
    )
    points = list(space.enumerate_points(grid))
    out = begun(chosen_space=grid, sampler="grid")
    record = search.search(dataset, out, Limits(9), Sharing(start_from=points[-2:]))
    assert (record.trained, record.stopped_by) == (4, "exhausted")
    assert [trial.point for trial in record.trials] == [*points[-2:], *points[:2]]


def test_what_a_living_process_writes_is_not_removed(dataset, begun):
    out = begun()
    (out / "trials" / ".0007.12345678.unfinished").mkdir()
    with files.staged_folder(out / "trials" / "0008") as staged:
        search.search(dataset, out, Limits(1))
        (staged / "trial.json").touch()
    assert sorted(path.name for path in (out / "trials").iterdir()) == ["0000", "0008"]


def test_resume_alone_goes_on_to_the_same_number(dataset, begun, capsys):
    out = begun()
    for words, trained in (("--trials", "3"), 3), ((), 3), (("--trials", "4"), 4):
        with pytest.raises(SystemExit):
            main(command(dataset, out, "--resume", *words, "--json"))
        assert json.loads(capsys.readouterr().out)["trained"] == trained


def test_options_of_a_new_run_do_not_count_and_that_is_said(dataset, begun, capsys):
    with pytest.raises(SystemExit):
        main(command(dataset, begun(), "--resume", "--trials", "1", "--seed", "3", "--space", "quick"))
    assert "--space, --seed: not changed; a run keeps what it was started with" in capsys.readouterr().err


def test_a_new_search_where_a_run_is_says_how_to_go_on(dataset, begun, capsys):
    out = begun()
    spaced = out.rename(out.with_name("my run"))
    with pytest.raises(SystemExit) as ended:
        main(command(dataset, spaced, "--target", TARGET.name))
    assert ended.value.code == 2
    assert f"`ecm-edge search --data {dataset.folder} -o '{spaced}' --resume`" in capsys.readouterr().err


def test_resuming_where_no_run_is_says_so(dataset, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(command(dataset, tmp_path / "none", "--resume"))
    assert ended.value.code == 2
    assert f"--resume goes on with a run; found none in {tmp_path / 'none'}" in capsys.readouterr().err


def test_ctrl_c_loses_the_running_trial_only(dataset, begun, monkeypatch):
    out = begun()
    search.search(dataset, out, Limits(2))

    def interrupted(folder, *_):
        (folder / "half").write_text("written")
        raise KeyboardInterrupt

    monkeypatch.setattr(worker, "train_trial", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search.search(dataset, out, Limits(3))
    assert len(list((out / "trials").iterdir())) == 2
    fake_trials(monkeypatch)
    assert search.search(dataset, out, Limits(4)).trained == 4


def study_of(out):
    return optuna.load_study(study_name="ecm-edge", storage=f"sqlite:///{out / 'study.db'}")


def test_what_a_kill_leaves_behind_is_cleared(dataset, begun, tmp_path):
    out = begun()
    search.search(dataset, out, Limits(2))
    (tmp_path / "lock").touch()
    killed = {"host": socket.gethostname(), "pid": 1, "lock": str(tmp_path / "lock")}
    study_of(out).add_trial(optuna.create_trial(state=TrialState.RUNNING, user_attrs={"worker": killed}))
    (out / "trials" / ".0002.abcdefgh.unfinished").mkdir()
    record = search.search(dataset, out, Limits(3))
    assert [trial.number for trial in record.trials] == [0, 1, 2]
    assert not list((out / "trials").glob(".*"))
    assert "RUNNING" not in [trial.state.name for trial in study_of(out).trials]


def test_a_trial_that_another_program_began_and_left_is_waited_for_no_longer_than_the_grace(
    dataset, begun, monkeypatch
):
    monkeypatch.setenv("ECM_EDGE_HEARTBEAT_S", "1")
    monkeypatch.setattr(presence, "GRACE_BEATS", 1)
    out = begun()
    search.search(dataset, out, Limits(2))
    study_of(out).ask()
    assert search.search(dataset, out, Limits(3)).trained == 3


def test_one_process_at_a_time(dataset, begun):
    out = begun()
    with files.locked(out), pytest.raises(OutputError, match="one process at a time"):
        search.search(dataset, out, Limits(1))


def test_another_data_set_is_refused(begun, tmp_path):
    from ecm_edge.data.synthetic import synthesise

    out = begun()
    synthesise(tmp_path / "other", subjects=6, seed=9, segments_per_subject=4)
    with pytest.raises(SearchError, match="with the data set it was started with"):
        search.search(open_dataset(tmp_path / "other"), out, Limits(1))


def test_a_run_is_not_overwritten(begun):
    begun()
    with pytest.raises(OutputError, match="must be new"):
        begun()


def test_nothing_that_fits_is_an_error_that_names_the_excess(dataset, begun, monkeypatch):
    monkeypatch.setattr(worker, "MOST_IDLE_DRAWS", 4)
    with pytest.raises(SearchError, match="none in 4 draws"):
        search.search(dataset, begun(fake("unfit")), Limits(1))


def test_nothing_that_trains_is_an_error_that_names_the_failure(dataset, begun, monkeypatch):
    monkeypatch.setattr(worker, "MOST_IDLE_DRAWS", 4)
    with pytest.raises(SearchError, match="none in 4 draws; the smallest: faked"):
        search.search(dataset, begun(fake("failed")), Limits(1))


def test_a_space_that_cannot_be_drawn_from_leaves_no_run(dataset, tmp_path):
    wrong = Space.model_validate({"families": {"afnet": {"params": {"legs": 4}}}})
    settings = runs.default_settings(dataset, targets.load("loongson-2k0500"), wrong)
    with pytest.raises(SpaceError, match="must fit the family afnet"):
        runs.start(tmp_path / "run", settings)
    assert not (tmp_path / "run").exists()


def test_a_factory_that_cannot_be_imported_leaves_no_run(dataset, tmp_path):
    mine = Space.model_validate({"families": {"mine": {"factory": "nowhere:net", "params": {}}}})
    settings = runs.default_settings(dataset, targets.load("loongson-2k0500"), mine)
    with pytest.raises(SpaceError, match=r"PYTHONPATH=\. finds"):
        runs.start(tmp_path / "run", settings)
    assert not (tmp_path / "run").exists()


def test_a_storage_that_fails_in_the_middle_is_one_clear_error(dataset, begun, tmp_path):
    made = fake()

    def trial(*arguments):
        (tmp_path / "run" / "study.db").write_bytes(b"not a database" * 1000)
        return made(*arguments)

    with pytest.raises(SearchError, match="a study's storage stays readable and writable"):
        search.search(dataset, begun(trial), Limits(2))


def test_a_run_keeps_its_study_whatever_its_name(dataset, begun):
    odd = begun()
    odd = odd.rename(odd.with_name("run?a=b#{c}%20"))
    search.search(dataset, odd, Limits(1))
    assert (odd / "study.db").is_file()


def test_a_storage_that_does_not_open(dataset, begun):
    with pytest.raises(SearchError, match="a storage that opens"):
        search.search(dataset, begun(), Limits(1), Sharing(storage="nonsense://x"))


def test_the_board_score_needs_a_rule(dataset, tmp_path):
    bare = targets.load("nucleo-l432kc")
    settings = runs.default_settings(dataset, bare, SPACE, objective="board_score")
    with pytest.raises(SearchError, match="needs a rule of score for the task on the target"):
        runs.start(tmp_path / "run", settings)


def test_pruning_by_halving(dataset, begun, monkeypatch):
    fake_trials(monkeypatch)
    values = iter([5.0] * 6 + [0.0] * 6)
    out = begun(fake(objective=lambda _: next(values)))
    settings = runs.SearchSettings.load(out / "search.json").model_copy(update={"pruner": "halving"})
    settings.save(out / "search.json")
    assert search.search(dataset, out, Limits(12)).pruned > 0


def test_a_ladder_keeps_the_better_half_of_each_rung(dataset, begun):
    record = search.search(dataset, begun(sampler="random", ladder=ladder.RUNGS), Limits(20))
    for rung in (0, 1):
        there = [trial for trial in record.trials if len(trial.rungs) > rung]
        values = [trial.rungs[rung].objective for trial in there]
        for index, trial in enumerate(there):
            better = sum(other > values[index] for other in values[:index])
            assert (trial.ended_at_rung != rung) == (better < (index + 2) // 2)
        assert any(trial.ended_at_rung == rung for trial in there)
    full = [trial for trial in record.trials if trial.ended_at_rung is None]
    assert {trial.outcome for trial in full} == {"trained", "done"}
    assert record.best_objective == max(trial.objective for trial in full)
    assert record.pruned == 20 - len(full)


def test_what_fell_from_a_rung_has_no_objective_and_cannot_be_the_best(dataset, begun):
    record = search.search(dataset, begun(sampler="random", ladder=ladder.RUNGS), Limits(20))
    fallen = [trial for trial in record.trials if trial.ended_at_rung is not None]
    assert {(trial.outcome, trial.objective, trial.epochs) for trial in fallen} == {("pruned", None, 0)}
    assert not {trial.number for trial in fallen} & {record.best, *record.pareto}


def test_the_study_is_told_how_far_a_trial_climbed(dataset, begun):
    out = begun(sampler="random", ladder=ladder.RUNGS)
    record = search.search(dataset, out, Limits(12))
    told = optuna.load_study(study_name="ecm-edge", storage=f"sqlite:///{out / runs.DATABASE}").trials
    fallen = {t.number: {t.ended_at_rung: t.rungs[-1].objective} for t in record.trials if t.ended_at_rung is not None}
    assert fallen
    assert {number: told[number].intermediate_values for number in fallen} == fallen


def test_a_resumed_run_compares_with_the_rungs_before(dataset, begun):
    values = iter([9.0, 8.0, 1.0])
    out = begun(fake(objective=lambda _: next(values)), sampler="random", ladder=ladder.RUNGS)
    assert [trial.ended_at_rung for trial in search.search(dataset, out, Limits(2)).trials] == [None, 0]
    assert search.search(dataset, out, Limits(3)).trials[-1].ended_at_rung == 0


def test_a_rung_neither_ends_a_search_nor_makes_a_neighbourhood_avoided(dataset, begun):
    values = iter([11.0, 10.5, 12.0])
    out = begun(fake(objective=lambda _: next(values)), sampler="random", ladder=ladder.RUNGS, standard=11.5)
    record = search.search(dataset, out, Limits(9))
    assert ([trial.ended_at_rung for trial in record.trials], record.stopped_by) == ([None, 0, None], "standard")
    radii = [entry["radius"] for entry in json.loads((out / runs.AVOID).read_text())["avoided"]]
    assert radii == [0.1, 0.0, 0.0]


def test_a_run_goes_on_with_its_settings_alone(dataset, begun):
    out = begun()
    search.search(dataset, out, Limits(1))
    settings = runs.SearchSettings.load(out / "search.json").model_copy(update={"seed": 5})
    settings.save(out / "search.json")
    with pytest.raises(SearchError, match="found seed 0 in the study, 5 here"):
        search.search(dataset, out, Limits(2))


def test_a_run_whose_study_is_lost_says_how_to_begin_again(dataset, begun):
    out = begun()
    search.search(dataset, out, Limits(1))
    for file in out.glob("study.db*"):
        file.unlink()
    with pytest.raises(SearchError, match=r"no trial in the study .*--start-from"):
        search.search(dataset, out, Limits(2))


def test_a_rung_draws_its_share_of_the_segments(dataset):
    training = TrainingConfig(epochs=8, sampling=Sampling(segments=4000, subject=0.5))
    config = candidate.configure(dataset, splits.holdout(dataset, seed=0), "afnet", {}, training, seed=0)
    rung = ladder.config_at(ladder.RUNGS[0], config).training
    assert (rung.epochs, rung.sampling) == (2, Sampling(segments=500, subject=0.5))
    plain = config.model_copy(update={"training": TrainingConfig(epochs=8)})
    assert ladder.config_at(ladder.RUNGS[0], plain).training.sampling == Sampling()


def test_a_ladder_has_one_objective(dataset, tmp_path):
    settings = runs.default_settings(dataset, TARGET, SPACE, sampler="nsga2", ladder=ladder.RUNGS)
    with pytest.raises(SearchError, match=r"one objective; found the sampler nsga2.*--no-ladder"):
        runs.start(tmp_path / "run", settings)
    assert not (tmp_path / "run").exists()


def test_records_of_a_run_from_before_there_were_ladders_load(dataset, begun):
    out = begun()
    search.search(dataset, out, Limits(1))
    for path, new in ((out / "search.json", ["ladder"]), (out / "trials/0000/trial.json", ["rungs", "ended_at_rung"])):
        values = json.loads(path.read_text())
        path.write_text(json.dumps({key: value for key, value in values.items() if key not in new}))
    assert runs.SearchSettings.load(out / "search.json").ladder == []
    assert search.search(dataset, out, Limits(2)).trained == 2


def test_nothing_is_fine_tuned_for_int8_at_a_rung(dataset):
    training = candidate.TrainingConfig(epochs=8, data_share=0.5, qat_epochs=4)
    config = candidate.configure(dataset, splits.holdout(dataset, seed=0), "separable", {}, training, seed=0)
    there = [ladder.config_at(rung, config).training for rung in ladder.RUNGS]
    assert [(t.epochs, t.data_share, t.qat_epochs) for t in there] == [(2, 1 / 16, 0), (4, 1 / 8, 0)]
    assert config.training.qat_epochs == 4


@pytest.mark.parametrize(
    ("segments", "epochs", "sampler", "pruner", "wanted"),
    [
        (16_000, 8, "tpe", "median", True),
        (15_999, 8, "tpe", "median", False),
        (16_000, {"low": 7, "high": 9}, "tpe", "median", False),
        (16_000, {"choices": [8, 20]}, "tpe", "median", True),
        (16_000, 8, "nsga2", "median", False),
        (16_000, 8, "tpe", "none", False),
    ],
)
def test_a_ladder_is_the_default_where_it_helps(dataset, monkeypatch, segments, epochs, sampler, pruner, wanted):
    split = splits.holdout(dataset, seed=0)
    monkeypatch.setattr(type(dataset), "rows_of", lambda _self, _subjects: range(segments))
    long = Space.model_validate({**SPACE.model_dump(), "training": {"epochs": epochs}})
    settings = runs.default_settings(dataset, TARGET, long, split=split, sampler=sampler, pruner=pruner)
    assert settings.ladder == (list(ladder.RUNGS) if wanted else [])


def test_the_quick_space_has_no_ladder_by_default(dataset, monkeypatch):
    split = splits.holdout(dataset, seed=0)
    monkeypatch.setattr(type(dataset), "rows_of", lambda _self, _subjects: range(10**6))
    ladders = [
        runs.default_settings(dataset, TARGET, space.load(name), split=split).ladder
        for name in ("quick", "default", "afnet")
    ]
    assert list(map(bool, ladders)) == [False, True, True]


@pytest.mark.parametrize(("option", "rungs"), [(["--ladder"], 2), (["--no-ladder"], 0), ([], 0)])
def test_the_command_takes_a_ladder(dataset, tmp_path, capsys, monkeypatch, option, rungs):
    fake_trials(monkeypatch)
    monkeypatch.setattr(space, "load", lambda _name: SPACE)
    arguments = ["search", "--data", str(dataset.folder), "--target", TARGET.name, "-o", str(tmp_path / "run")]
    with pytest.raises(SystemExit):
        main([*arguments, "--trials", "6", "--sampler", "random", *option])
    assert len(runs.SearchSettings.load(tmp_path / "run" / "search.json").ladder) == rungs
    shown = capsys.readouterr()
    assert ("at rung" in shown.err and "of the data" in shown.err) == bool(rungs)
    assert ("at a rung" in shown.out) == bool(rungs)


def record_of(number, objective, macs):
    """A verified trial, for the front."""
    return TrialRecord(
        number=number, outcome="done", family="f", point={}, objective=objective, epochs=1, parameters=1, macs=macs,
        flash_bytes=1, ram_bytes=1, latency_ms=1.0, verdict=Verdict.PASS, stage_seconds={},
    )  # fmt: skip


def test_the_pareto_front_by_hand():
    trials = [record_of(0, 0.5, 10), record_of(1, 0.4, 20), record_of(2, 0.7, 30), record_of(3, 0.7, 40)]
    assert runs.pareto(trials) == [0, 2]
    assert runs.pareto([]) == []


@pytest.fixture(scope="module")
def real_run(dataset, tmp_path_factory):
    """One run with real, very small trials; read-only."""
    out = tmp_path_factory.mktemp("search") / "run"
    runs.start(out, runs.default_settings(dataset, TARGET, SPACE))
    return out, search.search(dataset, out, Limits(2))


def test_a_real_trial_leaves_every_stages_files(real_run):
    out, record = real_run
    (done, *_) = [trial for trial in record.trials if trial.outcome == "done"]
    names = {path.name for path in candidate.trial_folder(out, done.number).iterdir()}
    expected = {candidate.CONFIG, candidate.COST, candidate.TRAINING, candidate.EPOCHS, candidate.CHECKPOINT}
    expected |= {candidate.EXPORT_LOG, candidate.EXPORTED, candidate.VERIFY, *candidate.FORM_FILES.values()}
    assert expected <= names


def test_a_real_trial_says_what_was_not_run_and_leaves_nothing_of_it(real_run):
    out, record = real_run
    assert record.trials[0].outcome == "done"
    for trial in record.trials:
        names = {path.name for path in candidate.trial_folder(out, trial.number).iterdir()}
        made = {candidate.EXPORTED, candidate.VERIFY, candidate.FIRMWARE} & names
        assert trial.not_run == ([] if trial.outcome == "done" else ["export", "quantize", "verify", "firmware"])
        assert len(made) == (3 if trial.outcome == "done" else 0)
    waiting = [trial.objective for trial in record.trials if trial.outcome == "trained"]
    assert all(objective <= record.best_objective for objective in waiting)


def test_the_best_of_a_real_run_has_its_layers_ranked(real_run):
    record = QuantizeRecord.load(candidate.locate(real_run[0]) / candidate.QUANTIZE)
    assert {layer.op for layer in record.layers} >= {"Conv", "Gemm"}


def test_the_best_of_a_real_run_is_verified_on_every_validation_segment(dataset, real_run):
    _, record = real_run
    settings = runs.SearchSettings.load(real_run[0] / "search.json")
    (best,) = [trial for trial in record.trials if trial.number == record.best]
    assert best.verified_segments == len(dataset.rows_of(settings.split.validation))


def test_subjects_that_are_reported_were_not_trained_on(dataset, real_run):
    config = candidate.load_config(candidate.locate(real_run[0]))
    fitted = dataset.rows_of([*config.split.train, *config.split.validation])
    assert not np.isin(dataset.rows_of(config.split.test), fitted).any()


def test_the_command_speaks_json(dataset, tmp_path, capsys, monkeypatch):
    fake_trials(monkeypatch)
    monkeypatch.setattr(space, "load", lambda _name: SPACE)
    arguments = ["search", "--data", str(dataset.folder), "--target", TARGET.name, "-o", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--trials", "2", "--json"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["trained"] == 2


def test_a_new_run_needs_a_target(dataset, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["search", "--data", str(dataset.folder), "-o", str(tmp_path / "run")])
    assert ended.value.code == 2
    assert "a new run needs a board" in capsys.readouterr().err


def test_a_run_without_a_finished_trial_says_so(begun):
    with pytest.raises(CandidateError, match="a run has a finished trial"):
        candidate.locate(begun())


def test_the_least_objective_is_kept_in_the_settings(dataset, tmp_path, monkeypatch):
    fake_trials(monkeypatch)
    monkeypatch.setattr(space, "load", lambda _name: SPACE)
    arguments = ["search", "--data", str(dataset.folder), "--target", TARGET.name, "-o", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--trials", "1", "--least-objective", "0.5"])
    assert ended.value.code == 0
    assert runs.SearchSettings.load(tmp_path / "run" / "search.json").standard == 0.5
