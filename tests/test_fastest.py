"""Which way a training's forward pass runs: timed once a shape, remembered, or named by the user."""

import json

import pytest
import torch

from ecm_edge.base import machine
from ecm_edge.base.errors import CandidateError
from ecm_edge.candidate.networks import batch_last, fastest
from ecm_edge.training import train

from .test_batch_last import UNSUPPORTED, small
from .test_train import as_it_is, configured, failing, loaded  # noqa: F401 - a fixture

LONG, SHAPE = 150_000, (4, 1, 100)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("ECM_EDGE_CACHE", str(tmp_path))
    monkeypatch.delenv(fastest.VARIABLE, raising=False)
    monkeypatch.setattr(fastest, "_timed", {})
    monkeypatch.setattr(batch_last, "can_compile", lambda: True)
    monkeypatch.setattr(torch, "compile", as_it_is)


@pytest.fixture
def clock(monkeypatch):
    """What a step of each way takes in place of what it does; and how often was timed."""
    took, timed = {"plain": 3.0, "eager": 5.0, "compiled": 1.0}, []

    def seconds(_network, made, _shape):
        timed.append(tuple(made))
        return {way: took[way] for way in made}

    monkeypatch.setattr(fastest, "step_seconds", seconds)
    return took, timed


def forget(monkeypatch):
    """As in another process."""
    monkeypatch.setattr(fastest, "_timed", {})


@pytest.mark.parametrize(
    ("took", "way"),
    [
        ({}, "compiled"),
        ({"compiled": 2.8}, "plain"),  # not worth it
        ({"compiled": 4.0}, "plain"),
        ({"eager": 2.0, "compiled": 1.9}, "eager"),
        ({"eager": 2.9, "compiled": 2.6}, "compiled"),
    ],
)
def test_the_fastest_way_is_taken_and_the_simpler_one_where_it_gains_little(clock, took, way):
    clock[0].update(took)
    chosen = fastest.choose(small(), LONG, SHAPE)
    assert chosen.way == way
    assert f"{way} {1000 * clock[0][way]:.1f} ms" in chosen.reason
    assert isinstance(chosen.forward, batch_last.Forward) == (way != "plain")


def test_a_shape_is_timed_once_also_for_other_processes(clock, monkeypatch):
    took, timed = clock
    network = small()
    assert fastest.choose(network, LONG, SHAPE).way == "compiled"
    took["compiled"] = 9.0
    assert fastest.choose(network, LONG, SHAPE).way == "compiled"
    forget(monkeypatch)
    again = fastest.choose(small(), LONG, SHAPE)
    assert (again.way, len(timed)) == ("compiled", 1)
    assert again.reason == "timed before: plain 3000.0 ms, eager 5000.0 ms, compiled 1000.0 ms a step"


@pytest.mark.parametrize("other", ["batch", "mode", "width", "compiler"])
def test_another_shape_is_timed_again(clock, monkeypatch, other):
    network, shape = small(), SHAPE
    fastest.choose(network, LONG, shape)
    if other == "batch":
        shape = (5, 1, 100)
    elif other == "mode":
        network.eval()
    elif other == "width":
        network = torch.nn.Sequential(network, torch.nn.Linear(2, 2))
    else:
        monkeypatch.setattr(batch_last, "can_compile", lambda: False)
    fastest.choose(network, LONG, shape)
    assert len(clock[1]) == 2


def test_what_is_damaged_or_cannot_be_written_is_timed_again(clock, monkeypatch, tmp_path):
    fastest.choose(small(), LONG, SHAPE)
    (path,) = (tmp_path / "forward").iterdir()
    assert json.loads(path.read_text())["way"] == "compiled"
    path.write_text("{")
    forget(monkeypatch)
    assert fastest.choose(small(), LONG, SHAPE).way == "compiled"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ECM_EDGE_CACHE", str(tmp_path / "file"))
    forget(monkeypatch)
    assert fastest.choose(small(), LONG, SHAPE).way == "compiled"
    assert len(clock[1]) == 3


def test_whoever_remembers_first_decides_for_all(clock, monkeypatch):
    fastest.choose(small(), LONG, SHAPE)
    forget(monkeypatch)
    kept, looks = fastest.remembered, []

    def too_early(key):  # the other process had not finished when this one looked first
        looks.append(key)
        return kept(key) if len(looks) > 1 else None

    monkeypatch.setattr(fastest, "remembered", too_early)
    clock[0]["compiled"] = 9.0
    assert fastest.choose(small(), LONG, SHAPE).way == "compiled"


def test_a_short_training_is_never_timed(clock):
    chosen = fastest.choose(small(), LONG - 1, SHAPE)
    assert (chosen.way, clock[1]) == ("plain", [])
    assert chosen.reason == "too short to be timed: below 150,000 segment passes"


def test_without_a_compiler_compiling_is_not_timed(clock, monkeypatch):
    monkeypatch.setattr(batch_last, "can_compile", lambda: False)
    assert fastest.choose(small(), LONG, SHAPE).way == "plain"
    assert clock[1] == [("plain", "eager")]


def test_an_unknown_module_runs_plain(clock):
    chosen = fastest.choose(UNSUPPORTED["unknown"], LONG, SHAPE)
    assert (chosen.way, clock[1]) == ("plain", [])
    assert "module that is not known" in chosen.reason


@pytest.mark.parametrize("way", ["plain", "eager", "compiled"])
def test_the_variable_names_the_way_of_every_training(clock, monkeypatch, way):
    monkeypatch.setenv(fastest.VARIABLE, way)
    chosen = fastest.choose(small(), 1, SHAPE)
    assert (chosen.way, chosen.reason, clock[1]) == (way, f"ECM_EDGE_FORWARD={way}", [])


def test_a_way_that_cannot_be_had_is_told(monkeypatch):
    monkeypatch.setenv(fastest.VARIABLE, "compiled")
    monkeypatch.setattr(batch_last, "can_compile", lambda: False)
    chosen = fastest.choose(small(), 1, SHAPE)
    assert chosen.way == "plain"
    assert chosen.reason == "ECM_EDGE_FORWARD=compiled, but there is no C++ compiler (CXX, or g++)"


def test_a_way_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv(fastest.VARIABLE, "quick")
    with pytest.raises(CandidateError, match="ECM_EDGE_FORWARD is one of plain, eager, compiled"):
        fastest.choose(small(), 1, SHAPE)


@pytest.mark.parametrize("training", [True, False])
def test_timing_leaves_weights_statistics_gradients_and_random_state_as_they_are(training):
    network = small().train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    seconds = fastest.step_seconds(
        network, {way: fastest.forward_of(network, way, "") for way in ("plain", "eager")}, SHAPE
    )
    assert set(seconds) == {"plain", "eager"}
    assert all(value > 0 for value in seconds.values())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training == training


def test_a_compiler_that_fails_is_not_remembered_by_others(monkeypatch):
    monkeypatch.setattr(torch, "compile", failing)
    chosen = fastest.choose(small(), LONG, SHAPE)
    assert chosen.way in {"plain", "eager"}
    assert "compiled failed" in chosen.reason
    assert not (machine.cache_folder() / "forward").exists()


def test_the_record_says_which_way_ran_and_why(dataset, loaded, monkeypatch):  # noqa: F811 - the fixture
    record = train.fit(configured(dataset, epochs=1), loaded).record
    assert (record.forward, record.layout) == ("plain", "batch_first")
    assert record.forward_because.startswith("too short")
    monkeypatch.setenv(fastest.VARIABLE, "eager")
    record = train.fit(configured(dataset, epochs=1), loaded).record
    assert (record.forward, record.layout, record.compiled) == ("eager", "batch_last", False)
    assert record.forward_because == "ECM_EDGE_FORWARD=eager"
