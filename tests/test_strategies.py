"""Strategies replayed on a table that was made up: what is drawn, what it costs, and what is found are known."""

from __future__ import annotations

from itertools import islice

import onnx
import optuna
import pytest

from benchmarks import figures
from benchmarks.strategies import __main__ as command
from benchmarks.strategies import candidates, replay, results
from benchmarks.strategies.candidates import Candidate, EpochResult, Result, Table, Training
from benchmarks.strategies.replay import Replay, Strategy
from ecm_edge import targets
from ecm_edge.candidate import space
from ecm_edge.forms import cost
from ecm_edge.forms.gate import check_cost
from ecm_edge.search import ladder
from ecm_edge.search.ladder import RungRecord

SPACE = space.load(candidates.SPACE)
PASSES, EPOCHS = 100, 4  # of an epoch, of a training
RUNGS = (6, 25)  # passes
UNFIT = 5
ALL = float("inf")
RANDOM = Strategy("random", replay.random_sampler)
LADDER = Strategy("ladder", replay.random_sampler, rungs=ladder.RUNGS)


def rung(number, objective):
    return RungRecord(
        data_share=0.1, epochs_share=0.5, complete=True, objective=objective, f1=0, fbeta_mean=0, g=0, epochs=1,
        segments=RUNGS[number], seconds=0,
    )  # fmt: skip


def candidate(number, point, objective):
    """One that learns evenly to its objective, has half of it at a rung, and one point less on the test subjects."""
    gated = Candidate(number=number, point=point, macs=1, flash_bytes=1, latency_ms=1)
    if number == UNFIT:
        return gated.model_copy(update={"reason": candidates.UNFIT})
    values = {"f1": 0.5, "fbeta_mean": 0.5, "g": 0.5}
    epochs = [
        EpochResult(objective=objective * e / EPOCHS, epoch=e, passes=PASSES * e, validation_loss=1, **values)
        for e in range(1, EPOCHS + 1)
    ]
    test = Result(objective=objective - 1, **values)
    trained = Training(seed=0, stopped="finished", epochs=epochs, kept=EPOCHS, test=test, seconds=1)
    return gated.model_copy(update={"rungs": [rung(r, objective / 2) for r in (0, 1)], "trained": trained})


def made(objectives):
    return [
        candidate(number, point, objective)
        for number, (point, objective) in enumerate(
            zip(islice(candidates.points(), len(objectives)), objectives, strict=False)
        )
    ]


def table(objectives):
    return Table(
        command="made", commit=None, date_utc="2000-01-01", machine="none", dataset_sha256="", seed=0, data_share=1,
        target=candidates.TARGET, space=candidates.SPACE, subjects={}, candidates=made(objectives),
    )  # fmt: skip


MADE = table([float(10 + number) for number in range(12)])
RISING = MADE.candidates


class InOrder(Replay):
    """Draws the candidates as they stand in the table."""

    def _proposed(self):
        return min(self._left)


def numbers(drawn, *, whole):
    return [each.candidate.number for each in drawn if each.whole or not whole]


def test_random_search_draws_each_candidate_once_and_pays_for_each_that_fits():
    drawn = Replay(RANDOM, SPACE, RISING, seed=1).run(ALL)
    assert sorted(numbers(drawn, whole=False)) == list(range(12))
    assert drawn[-1].passes == 11 * PASSES * EPOCHS  # one does not fit
    assert UNFIT not in numbers(drawn, whole=True)
    assert len(numbers(drawn, whole=True)) == 11


def test_a_replay_ends_when_its_passes_are_spent():
    drawn = InOrder(RANDOM, SPACE, RISING, seed=0).run(2 * PASSES * EPOCHS + 1)
    assert [(each.candidate.number, each.passes) for each in drawn] == [(0, 400), (1, 800), (2, 1200)]


def test_the_ladder_costs_its_rungs_and_lets_the_better_half_go_on():
    falling = made([float(30 - number) for number in range(4)])
    drawn = InOrder(LADDER, SPACE, falling, seed=0).run(ALL)
    # By ladder.goes_on with keep 0.5: the first; the second is not in the better one of two; the third is not in the
    # better two of three; nor is the fourth.
    assert [each.whole for each in drawn] == [True, False, False, False]
    whole = sum(RUNGS) + EPOCHS * PASSES
    assert [each.passes for each in drawn] == [whole, whole + 6, whole + 12, whole + 18]
    rising = InOrder(LADDER, SPACE, RISING[:4], seed=0).run(ALL)
    assert [each.passes for each in rising] == [whole, 2 * whole, 3 * whole, 4 * whole]


def test_what_the_pruner_ends_costs_the_epochs_until_then():
    median = Strategy(
        "median", replay.random_sampler, lambda: optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=2)
    )
    drawn = InOrder(median, SPACE, made([30.0, 20.0, 40.0]), seed=0).run(ALL)
    assert [(each.passes, each.whole) for each in drawn] == [(400, True), (600, False), (1000, True)]


@pytest.mark.parametrize("strategy", [*replay.strategies(MADE), LADDER], ids=lambda each: each.name)
def test_a_replay_is_decided_by_its_seed(strategy):
    first, again, other = (Replay(strategy, SPACE, RISING, seed).run(ALL) for seed in (3, 3, 4))
    assert first == again
    assert numbers(first, whole=False) != numbers(other, whole=False)


def test_a_proposal_stands_for_the_nearest_candidate_of_its_family():
    places = [space.position(SPACE, each.point) for each in RISING]
    for number, place in enumerate(places):
        far = [replay.distance(place, other) for other in places]
        assert far[number] == (False, 0.0) == min(far)
    families = [str(each.point["family"]) for each in RISING]
    assert replay.distance(places[0], places[families.index("tcn")])[0] == (families[0] != "tcn")


def test_two_choices_differ_by_one_and_numbers_by_their_distance():
    a = {"family": "tcn", "x": 0.25, "loss": "focal", "on": True, "tcn.depth": 0.5}
    assert replay.distance(a, a | {"x": 0.75, "loss": "soft"}) == (False, 1.25)
    assert replay.distance(a, {"family": "afnet", "x": 0.75, "loss": "focal", "on": True}) == (True, 0.25)


def test_results_are_those_of_the_table_and_come_out_alike():
    strategies = replay.strategies(MADE)
    found = results.replayed(MADE, strategies, replays=3, workers=1)
    assert found == results.replayed(MADE, strategies, replays=3, workers=1)
    assert (found.trained, found.unfit, found.best, found.with_test) == (11, 1, 21.0, pytest.approx(1.0))
    assert found.training_passes == EPOCHS * PASSES
    by_name = {line.strategy: line for line in found.lines}
    own = by_name["random"]
    assert [at.trainings for at in own.at] == [2, 5]
    assert own.whole == 5
    assert own.kept == 1  # nothing was pruned
    for line in found.lines:
        for at in line.at:
            assert at.test.median == at.validation.median - 1
    avoiding = [at.validation.median for at in by_name[results.RANDOM].at]
    assert avoiding == sorted(avoiding)
    assert found.target == avoiding[-1]
    assert by_name[results.RANDOM].reaches <= 5
    assert "| random |" in results.shown_of(found)


def test_the_bars_say_where_ours_is_behind():
    found = results.replayed(MADE, replay.strategies(MADE), replays=3, workers=1)
    worse = [
        at.model_copy(update={"validation": results.Spread(low=None, median=1.0, high=1.0)}) for at in found.lines[0].at
    ]
    lines = [line.model_copy(update={"at": worse}) if line.strategy == results.OURS else line for line in found.lines]
    behind = results.behind_at(found.model_copy(update={"lines": lines}))
    assert list(behind) == [2, 5]
    assert all(lead < 0 for lead in behind.values())


def test_replays_are_kept_with_a_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "RECORD", tmp_path / "replayed.json")
    monkeypatch.setattr(results, "PICTURE", tmp_path / "strategies.svg")
    assert results.shown().startswith("NOT RUN")
    MADE.save(tmp_path / "table.json")
    command.main(["replay", "--table", str(tmp_path / "table.json"), "--replays", "2", "--workers", "1", "--write"])
    assert results.load().table_sha256 == results.sha256(MADE)
    assert results.shown() in capsys.readouterr().out
    assert "**Provisional: 189 candidates are not trained yet.**" in results.shown()
    picture = (tmp_path / "strategies.svg").read_text()
    results.save(results.load())
    assert (tmp_path / "strategies.svg").read_text() == picture


def test_candidates_are_read_without_a_gap(tmp_path):
    work = candidates.Work(tmp_path, tmp_path)
    for number in (0, 1, 3):
        RISING[number].save(work.path(number))
    RISING[1].trained.save(work.path(1, second=True))
    found = work.saved()
    assert [each.number for each in found] == [0, 1]
    assert [each.second for each in found] == [None, RISING[1].trained]


def test_the_table_is_trained_once_goes_on_and_is_kept(dataset, tmp_path, monkeypatch, capsys):
    """Every candidate has the costs of one net, so that none is exported."""
    net = onnx.load(figures.ROOT / "benchmarks" / "nets" / "demo.onnx")
    costs = check_cost(cost.count(net), targets.load(candidates.TARGET))
    monkeypatch.setattr(candidates, "gate_candidate", lambda *_: (net, costs))
    monkeypatch.setattr(candidates, "CANDIDATES", 2)
    monkeypatch.setattr(candidates, "SECOND_SEEDS", 1)
    monkeypatch.setattr(candidates, "SPACE", "quick")
    monkeypatch.setattr(candidates, "RECORD", tmp_path / "table.json")
    monkeypatch.setattr(ladder, "RUNGS", (ladder.Rung(data_share=1, epochs_share=1 / 6),))
    arguments = ["train", str(dataset.folder), "-o", str(tmp_path / "work")]
    command.main(arguments)
    files = sorted(path.name for path in (tmp_path / "work").iterdir())
    assert files == ["0000-second.json", "0000.json", "0001.json"]
    assert "0 again" in capsys.readouterr().err
    before = {name: (tmp_path / "work" / name).read_text() for name in files}
    (tmp_path / "work" / "0001.json").unlink()
    command.main(arguments)
    assert capsys.readouterr().err.count("\n") == 1
    command.main([*arguments, "--write"])
    found = Table.load(tmp_path / "table.json")
    first = Candidate.model_validate_json(before["0000.json"])
    assert found.candidates[0].trained == first.trained
    assert len(found.candidates) == len(found.trained) == 2
    one = found.candidates[1]
    again = Candidate.model_validate_json(before["0001.json"])
    assert one.trained.epochs == again.trained.epochs  # what is trained again comes out alike
    assert one.point == again.point == list(islice(candidates.points(), 2))[1]
    assert [each.passes for each in one.trained.epochs] == [
        one.trained.epochs[0].passes * number for number in range(1, len(one.trained.epochs) + 1)
    ]
    assert [each.segments for each in one.rungs] == [one.trained.epochs[0].passes]  # one epoch, of the same data
    assert found.candidates[0].second.seed != one.trained.seed
    other = tmp_path / "elsewhere"
    command.main(["train", str(dataset.folder), "-o", str(other), "--go-on", "--write"])
    assert "2 candidates taken over" in capsys.readouterr().err
    assert Table.load(tmp_path / "table.json").candidates == found.candidates
    found.model_copy(update={"dataset_sha256": "another"}).save(tmp_path / "table.json")
    with pytest.raises(SystemExit):
        command.main(["train", str(dataset.folder), "-o", str(other), "--go-on"])


def test_a_table_without_candidates_is_refused(dataset, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        command.main(["train", str(dataset.folder), "-o", str(tmp_path), "--write"])
    assert stopped.value.code == 2
