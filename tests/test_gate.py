"""The gate before training: both sides of each limit, and what the record says."""

import pytest

from ecm_edge import targets
from ecm_edge.base.records import Evidence, Verdict
from ecm_edge.forms import gate
from ecm_edge.forms.cost import GraphCost, LayerCost

TARGET = targets.load("nucleo-l432kc")


def costing(**figures):
    """A graph of two layers, the second the heavier; figures replace totals."""
    layers = [
        LayerCost(name="a", op_type="Conv", output_shape=[1], parameters=1, macs=10, weight_bytes=4, live_bytes=8),
        LayerCost(name="b", op_type="Conv", output_shape=[1], parameters=9, macs=30, weight_bytes=36, live_bytes=16),
    ]
    totals = {"parameters": 10, "macs": 40, "weight_bytes": 40, "arena_bytes": 16, "peak_live_bytes": 16}
    return GraphCost(layers=layers, **{**totals, **figures})


def failed(record):
    return [g.name for g in record.gates if g.verdict == Verdict.FAIL]


@pytest.mark.parametrize(("excess", "expected"), [(0, []), (1, ["macs"])])
def test_both_sides_of_the_macs(excess, expected):
    assert failed(gate.check_cost(costing(macs=TARGET.budget.macs + excess), TARGET, "int8")) == expected


@pytest.mark.parametrize(("form", "expected"), [("int8", []), ("float32", ["ram_bytes"])])
def test_ram_depends_on_the_form(form, expected):
    assert failed(gate.check_cost(costing(arena_bytes=4 * TARGET.budget.ram_bytes), TARGET, form)) == expected


def test_flash_counts_the_run_time_and_says_by_how_much():
    room = TARGET.budget.flash_bytes - TARGET.cost_model.runtime_flash_bytes
    record = gate.check_cost(costing(weight_bytes=room + 7), TARGET, "float32")
    (flash,) = (g for g in record.gates if g.name == "flash_bytes")
    assert (flash.verdict, flash.margin) == (Verdict.FAIL, -7)
    assert flash.detail == "heaviest: b, 36 (90 %)"


@pytest.mark.parametrize("form", ["float32", "float16", "int8"])
def test_no_layer_holds_more_than_the_whole(form):
    record = gate.check_cost(costing(), TARGET, form)
    kept = {"flash_bytes": TARGET.cost_model.runtime_flash_bytes, "ram_bytes": 0}  # by the program, not by a layer
    for name, beside in kept.items():
        (held,) = (g for g in record.gates if g.name == name)
        part = int(held.detail.split(", ")[1].split(" ")[0].replace(",", ""))
        assert part <= held.value - beside


def test_latency_is_an_estimate_with_its_interval():
    record = gate.check_cost(costing(macs=80_000), TARGET)
    assert record.latency_ms.evidence == Evidence.ESTIMATED
    assert (record.latency_ms.low_ms, record.latency_ms.mean_ms, record.latency_ms.high_ms) == (10.0, 15.0, 27.0)


def test_the_default_form_is_the_targets_first():
    assert gate.check_cost(costing(), TARGET).form == "int8"
