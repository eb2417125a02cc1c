"""What `promote` says would help: with numbers, and with a command that exists."""

from pathlib import Path

import pytest

from ecm_edge.base.records import Interval, at_least, at_most, condition, not_run
from ecm_edge.registry.costs import BOARD_LATENCY
from ecm_edge.registry.promote import promote
from ecm_edge.registry.remedies import Asked, due, remedy, said
from tests import tiny

ASKED = Asked(Path("run/trials/0001"), Path("af"), "board", Path("registry"))


@pytest.fixture
def dataset(tmp_path):
    return tiny.graded(tmp_path / "data")


@pytest.fixture
def refused(tmp_path, dataset):
    """A candidate that is worse than the incumbent."""
    promote(tiny.ready(tmp_path / "first", dataset, column=1), dataset, tiny.TARGET, tmp_path / "registry")
    record = promote(tiny.ready(tmp_path / "other", dataset, column=2), dataset, tiny.TARGET, tmp_path / "registry")
    assert record.entry is None
    return record


def test_every_gate_that_can_fail_has_a_sentence(refused):
    of_a_board = {"memory_regions", "arena_off_plan", "forbidden_symbols", "answers_as_reference"}
    for name in {gate.name for gate in refused.gates} | of_a_board | {"test_subjects"}:
        failed = condition(name, "why", holds=False)
        assert name == "score" or remedy(failed, refused, ASKED), name
    (score,) = due(refused, "FAIL")
    assert "It has to gain more than" in remedy(score, refused, ASKED)


@pytest.mark.parametrize(
    ("gate", "beginning", "command"),
    [
        (at_most("flash_bytes", 263_373, 262_144, "B"), "1.2 KiB less flash", "ecm-edge fit run/trials/0001"),
        (at_most("macs", 308_004, 200_000, "MAC"), "108,004 fewer MACs", "--target board"),
        (at_most("latency_ms", 15.5, 15, "ms"), "0.5 ms less of the estimated latency", "ecm-edge fit"),
        (at_most("ram_vs_incumbent", 600, 550, "B"), "50 B less RAM", "[promotion]"),
        (at_least("verified_segments", 200, 240, "segments"), "Verify the other 40 segments too", "verify"),
        (at_least("emulated_segments", 32, 240, "segments"), "Verify the other 208 segments on the", "--data af"),
        (condition("latency_measured", "estimated", holds=False), "Measure it", "bench run/trials/0001 --data af"),
        (not_run("stack_high_water", "no emulator"), "Build it where the board's emulator is", "firmware build"),
        (not_run(BOARD_LATENCY, "nothing was counted"), "Build it where the board's emulator is", "firmware build"),
    ],
)
def test_a_sentence_has_the_number_and_the_command(refused, gate, beginning, command):
    sentence = remedy(gate, refused, ASKED)
    assert sentence.startswith(beginning)
    assert command in sentence


def test_unlike_latencies_are_to_be_measured_in_the_same_turns(refused):
    gate = condition("latency_vs_incumbent", "unlike evidence", holds=False)
    entry = f"registry/{refused.target}/entries/{refused.replaces}"
    assert f"bench run/trials/0001 --data af --against {entry}`" in remedy(gate, refused, ASKED)


@pytest.mark.parametrize(
    ("difference", "more"),
    [((-0.1, -0.3, 0.1), 18), ((-0.1, -0.3, -0.01), 0), ((0.1, -0.1, 0.2), 18), ((-0.1, None, None), 0)],
)
def test_how_many_more_subjects_would_tell(refused, difference, more):
    value, low, high = difference
    compared = refused.comparison.model_copy(
        update={"difference": Interval(value=value, low=low, high=high), "subjects": list("abcdef")}
    )
    gate = next(gate for gate in refused.gates if gate.name == "score")
    told = remedy(gate, refused.model_copy(update={"comparison": compared}), ASKED)
    assert (f"About {more} more test subjects" in told) == bool(more)


def test_a_gate_that_nobody_could_run_is_not_due(refused):
    void = refused.model_copy(
        update={"gates": [not_run("score", "no incumbent yet"), not_run("verify", "no compiler")]}
    )
    assert [gate.name for gate in due(void, "NOT RUN")] == ["verify"]
    assert due(void, "FAIL") == []


def test_a_gate_is_said_with_its_limit():
    assert said(at_most("a", 2048, 1024, "B", "why")) == "2.0 KiB, at most 1.0 KiB; why"
    assert said(condition("a", "why", holds=False)) == "why"
