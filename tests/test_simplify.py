"""Simplifying keeps the answers, and says truthfully that this was checked."""

import numpy as np
import onnx
import onnxsim
import pytest
from onnx import numpy_helper

from ecm_edge.base.errors import ModelError
from ecm_edge.forms import export, onnx_model, simplify

from . import nets


@pytest.fixture(scope="module")
def exported():
    return export.to_onnx(nets.trained(), nets.T)


def test_answers_stay_and_nodes_go(exported):
    result, record = simplify.simplify(exported, nets.segments(16))
    assert record.verdict == "PASS"
    assert record.parity.segments == 16
    assert record.parity.max_abs < 1e-5
    assert record.nodes_after == len(result.graph.node) < record.nodes_before == len(exported.graph.node)


def test_batch_norm_goes_into_the_convolution_before_or_behind_it(exported):
    result, record = simplify.simplify(exported, nets.segments(4))
    before = onnx_model.op_counts(exported)["BatchNormalization"]
    assert before == 4
    assert record.batch_norms_folded_forward == 1  # stem's, into mix; mix's first and `norm` fold backward
    assert onnx_model.op_counts(result)["BatchNormalization"] == 1  # in front of squeeze-excite: used twice


def test_onnxsim_really_ran_its_checks(exported, monkeypatch):
    asked = []
    real = onnxsim.simplify
    monkeypatch.setattr(onnxsim, "simplify", lambda proto, **k: asked.append(k["check_n"]) or real(proto, **k))
    _, record = simplify.simplify(exported, nets.segments(2))
    assert (asked, record.onnxsim_checks_run) == ([simplify.CHECKS], simplify.CHECKS)


def test_a_simplifier_that_checked_nothing_and_said_so_fails(exported, monkeypatch):
    monkeypatch.setattr(onnxsim, "simplify", lambda proto, **_: (proto, True))
    _, record = simplify.simplify(exported, nets.segments(2))
    assert record.verdict == "FAIL"
    assert [g.name for g in record.gates if g.verdict == "FAIL"] == ["onnxsim_checks"]


def test_a_simplifier_that_changes_answers_fails(exported, monkeypatch):
    def damage(proto, **_):
        print("Checking 0/2...\nChecking 1/2...")  # noqa: T201 - as onnxsim does
        changed = onnx.ModelProto.FromString(proto.SerializeToString())
        bias = next(tensor for tensor in changed.graph.initializer if list(tensor.dims) == [2])
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(0.5), bias.name))
        return changed, True

    monkeypatch.setattr(onnxsim, "simplify", damage)
    _, record = simplify.simplify(exported, nets.segments(2))
    assert [g.name for g in record.gates if g.verdict == "FAIL"] == ["max_abs"]


def test_no_segments_is_a_failure(exported):
    _, record = simplify.simplify(exported, nets.segments(0))
    assert record.verdict == "FAIL"
    assert "segments_compared" in [g.name for g in record.gates if g.verdict == "FAIL"]


def test_nan_is_a_failure(exported):
    _, record = simplify.simplify(exported, np.full((2, nets.T), np.nan, np.float32))
    assert record.verdict == "FAIL"


@pytest.mark.parametrize(("pads", "folded"), [([0, 0], 1), ([1, 1], 0)])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_fold_forward_is_exact_and_only_without_padding(pads, folded, groups):
    rng = np.random.default_rng(groups)
    nodes = [
        nets.node("Reshape", ["samples", "shape"], "x"),
        nets.node("BatchNormalization", ["x", "s", "b", "m", "v"], "n"),
        nets.node("Conv", ["n", "w"], "c", group=groups, pads=pads, kernel_shape=[3]),
        nets.node("ReduceMean", ["c", "axes"], "r"),
        nets.node("MatMul", ["r", "h"], "scores"),
    ]
    drawn = {k: rng.uniform(0.5, 2, 4).astype(np.float32) for k in "sbmv"}
    weights = {"w": rng.normal(size=(8, 4 // groups, 3)), "h": rng.normal(size=(8, 2))}
    proto = nets.graph(
        [*nodes[:3], nets.node("ReduceMean", ["c", "axes"], "r", keepdims=0), nodes[4]],
        drawn | {k: v.astype(np.float32) for k, v in weights.items()}
        | {"shape": np.array([1, 4, nets.T // 4]), "axes": np.array([2])},
    )  # fmt: skip
    result, count = simplify.fold_batch_norms_forward(proto)
    scores = [onnx_model.run_scores(onnx_model.classifier_of(p), nets.segments(3)) for p in (proto, result)]
    assert count == folded
    assert scores[1] == pytest.approx(scores[0], abs=1e-5)


def test_a_failing_simplifier_is_one_clear_error(exported, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no such pass")

    monkeypatch.setattr(onnxsim, "simplify", fail)
    with pytest.raises(ModelError, match="no such pass"):
        simplify.simplify(exported, nets.segments(1))
