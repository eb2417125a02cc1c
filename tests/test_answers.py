"""Generated C against the reference on noise: wrong code is found, and where noise shows little the gate says so."""

import re

import numpy as np
import pytest

from ecm_edge import targets
from ecm_edge.base.records import Verdict
from ecm_edge.firmware import answers, generate, lower
from ecm_edge.firmware.operators import tables
from ecm_edge.forms import reference

from . import nets

HOST = targets.load("host")


def gate(proto):
    return answers.of_generated(generate.generate(proto, HOST), reference.load(proto), HOST)


def net(*last, source="scores", gain=1.0, bias=0.0):
    """samples -> Exp of a tenth -> two sums -> `last`."""
    w = np.random.default_rng(0).normal(size=(nets.T, 2)).astype(np.float32) * np.float32(gain)
    nodes = [
        nets.node("Flatten", ["samples"], "f"),
        nets.node("Mul", ["f", "tenth"], "t"),
        nets.node("Exp", ["t"], "e"),
        nets.node("MatMul", ["e", "w"], "m"),
        nets.node("Add", ["m", "b"], source),
        *last,
    ]
    constants = {
        "w": w,
        "b": np.array([bias, -bias], np.float32),
        "tenth": np.float32(0.1),
        "zero": np.float32(0),
        "small": np.float32(1e-6),
    }
    return nets.graph(nodes, constants)


PLAIN = net()
SATURATED = net(nets.node("Softmax", ["s"], "scores", axis=-1), source="s", bias=1000.0)
MULTIPLIED_BY_NOTHING = net(nets.node("Mul", ["s", "zero"], "scores"), source="s")
FEW = net(nets.node("Mul", ["s", "small"], "scores"), source="s")


def wrong(monkeypatch):
    """Exp is computed as Abs from here on."""
    changed = {**tables.OPERATORS, "Exp": tables.OPERATORS["Abs"]}
    monkeypatch.setattr(lower, "OPERATORS", changed)


@pytest.mark.parametrize(
    ("proto", "said"),
    [
        (PLAIN, "of 12 segments of noise differ, at 3 scales, on this host"),
        (FEW, "of 12 segments of noise differ, at 3 scales, on this host"),
        (SATURATED, "hardly depend on noise, so this shows little.*; 's', of which they are made, was compared too"),
        (MULTIPLIED_BY_NOTHING, "; 's', of which they are made, was compared too"),
    ],
    ids=["plain", "small", "saturated", "nothing"],
)
def test_right_code_passes_and_wrong_code_does_not_whatever_hides_it(proto, said, monkeypatch):
    right = gate(proto)
    assert right.verdict == Verdict.PASS
    assert re.search(said, right.detail)
    wrong(monkeypatch)
    assert gate(proto).verdict == Verdict.FAIL


def test_scores_that_noise_never_changes_are_told():
    """1e-12 of the samples is added to 1, which is less than float32 resolves."""
    nodes = [
        nets.node("Flatten", ["samples"], "f"),
        nets.node("MatMul", ["f", "w"], "m"),
        nets.node("Add", ["m", "b"], "scores"),
    ]
    found = gate(nets.graph(nodes, {"w": np.full((nets.T, 2), 1e-12, np.float32), "b": np.ones(2, np.float32)}))
    assert found.verdict == Verdict.PASS
    assert "hardly depend on noise" in found.detail


def test_what_is_not_finite_is_told():
    proto = net(nets.node("Log", ["s"], "scores"), source="s")
    found = gate(proto)
    assert found.verdict == Verdict.PASS
    assert "of them give NaN or infinity" in found.detail
