"""The kinds of hops: two float forms of one net, float against int8, one program in two places, int8 in a runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.records import Gate, Verdict, at_least, at_most, not_run, verdict_of_what_ran
from ecm_edge.evaluate.verify import segments as seg
from ecm_edge.evaluate.verify.layers import first_difference, layer_lsb, tensors
from ecm_edge.evaluate.verify.records import Hop, LayerDifference
from ecm_edge.forms import onnx_model, parity, reference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import onnx

    from ecm_edge.evaluate.verify.records import LayerLsb
    from ecm_edge.evaluate.verify.segments import Segments
    from ecm_edge.forms.onnx_model import Floats
    from ecm_edge.forms.reference.graph import Graph
    from ecm_edge.targets import FloatParity, Int8Parity

LAYER_SEGMENTS = 64
"""Segments on which every quantised tensor is compared."""
_NAN = float("nan")
_OBSERVED = "scores_same_when_observed"
_OTHER_KERNELS = "onnxruntime fuses other layers while tensors are read; they were compared as they are then"


def skipped(name: str, sides: tuple[str, str], reason: str) -> Hop:
    """A hop that was not run, and why."""
    return Hop(name=name, reference=sides[0], other=sides[1], verdict=Verdict.NOT_RUN, reason=reason)


def failed(name: str, sides: tuple[str, str], reason: str) -> Hop:
    """A hop that the model made fail before all was compared, for example by a NaN that has to be quantised."""
    return Hop(name=name, reference=sides[0], other=sides[1], verdict=Verdict.FAIL, reason=reason)


def float_hop(
    name: str,
    sides: tuple[str, str],
    scores: tuple[Floats, Floats],
    segments: Segments,
    limits: FloatParity,
    *,
    locate: Callable[[], list[LayerDifference]],
    layer_l2r: float,
    other_gates: Sequence[Gate] = (),
) -> Hop:
    """Two forms of one net, whose scores (N, S) must agree up to rounding.

    Args:
        name: of the hop.
        sides: names of the reference and of the other form.
        scores: of the two.
        segments: what was scored.
        limits: the target's.
        locate: compares layer by layer; called only if the hop fails.
        layer_l2r: the first layer that differs by more is named.
        other_gates: further gates, such as the file's lineage.
    """
    compared = parity.compare(*scores, segments.decision)
    cos = compared.cos if compared.cos is not None or compared.max_abs != 0 else 1.0
    gates = [
        *other_gates,
        *_sound(compared),
        at_most("max_abs", _number(compared.max_abs), limits.max_abs, "score"),
        at_least("cos", _number(cos), limits.cos, ""),
        at_most("label_flips", compared.label_flips, limits.label_flips, "segments"),
    ]
    return _hop(name, sides, scores, segments, compared, gates, lambda: first_difference(locate(), layer_l2r))


def accuracy_hop(
    name: str,
    sides: tuple[str, str],
    scores: tuple[Floats, Floats],
    segments: Segments,
    limits: Int8Parity,
    *,
    other_gates: list[Gate],
    locate: Callable[[], LayerDifference | None],
) -> Hop:
    """Another net in place of the first: F1, and Fβ averaged over subjects, may drop by no more than the limits."""
    compared = parity.compare(*scores, segments.decision)
    gates = [*other_gates, *_sound(compared)]
    if _is_sound(compared):
        gates += _drops(scores, segments, limits)
    return _hop(name, sides, scores, segments, compared, gates, locate)


def _drops(scores: tuple[Floats, Floats], segments: Segments, limits: Int8Parity) -> list[Gate]:
    """The gates on F1, and on Fβ averaged over subjects; not run where segments have no labels of two classes."""
    f1s, betas = ([figure(segments, s) for s in scores] for figure in (seg.f1, seg.fbeta_mean))
    return [
        _drop("f1_drop", f1s, limits.f1_drop, "F1", "no segment is positive"),
        _drop("fbeta_drop", betas, limits.fbeta_drop, "Fβ", "no segment has a label"),
    ]


def _drop(name: str, figures: list[float | None], limit: float, unit: str, reason: str) -> Gate:
    """The gate on a figure before and after; not run, for a reason, where it is absent."""
    before, after = figures
    return not_run(name, reason) if before is None or after is None else at_most(name, before - after, limit, unit)


def exact_hop(
    name: str,
    sides: tuple[str, str],
    scores: tuple[Floats, Floats],
    segments: Segments,
    *,
    locate: Callable[[], LayerDifference | None],
    other_gates: Sequence[Gate] = (),
) -> Hop:
    """The same program in two places: every byte of the scores (N, S) has to be the same.

    Arguments as for `float_hop`; `locate` finds the first tensor that differs.
    """
    compared = parity.compare(*scores, segments.decision)
    expected, actual = (np.ascontiguousarray(s, np.float32).view(np.uint8) for s in scores)
    detail = f"of {expected.size:,}"
    gates = [
        *other_gates,
        *_sound(compared),
        at_most("score_bytes_differing", int((expected != actual).sum()), 0, "B", detail),
        at_most("label_flips", compared.label_flips, 0, "segments"),
    ]
    return _hop(name, sides, scores, segments, compared, gates, locate)


def runtime_hop(
    name: str,
    sides: tuple[str, str],
    proto: onnx.ModelProto,
    graph: Graph,
    scores: tuple[Floats, Floats],
    segments: Segments,
    limits: Int8Parity,
) -> Hop:
    """An int8 graph in onnxruntime against the reference: every quantised tensor, the scores, and the labels.

    Each tensor is computed from the same inputs, and may differ by the limit, since runtimes round in their own way.
    The scores are computed from the segment on, so that such differences add up to more: they are judged by what they
    are for, F1 and Fβ. Only segments without labels of two classes are judged by the scores themselves.
    """
    compared = parity.compare(*scores, segments.decision)
    few = segments.samples[:: max(1, len(segments.samples) // LAYER_SEGMENTS)][:LAYER_SEGMENTS]
    layers, same_scores = layer_lsbs(proto, graph, few)
    worst = max((layer.max_lsb for layer in layers), default=0)
    score_gates, near_ties, score_max_lsb = _score_gates(score_step(graph), scores, compared, limits, segments)
    gates = [
        *_sound(compared),
        at_least("layers_compared", len(layers), 1, "tensors"),
        at_most("layer_max_lsb", worst, limits.max_lsb, "LSB"),
        at_least(_OBSERVED, 1, 1, "bool") if same_scores else not_run(_OBSERVED, _OTHER_KERNELS),
        *score_gates,
    ]
    hop = _hop(name, sides, scores, segments, compared, gates, lambda: _first_beyond(layers, limits.max_lsb))
    return hop.model_copy(
        update={
            "layers": layers,
            "layer_segments": len(few),
            "near_ties": near_ties,
            "score_max_lsb": score_max_lsb,
        }
    )


def _score_gates(
    step: float | None,
    scores: tuple[Floats, Floats],
    compared: parity.Parity,
    limits: Int8Parity,
    segments: Segments,
) -> tuple[list[Gate], int | None, int | None]:
    """The gates on scores and labels, the number of flips at near ties, and the largest difference in LSB.

    `step` is one LSB of the scores. The numbers are None where the scores are not quantised or not finite.
    """
    decision = segments.decision
    drops = _drops(scores, segments, limits) if _is_sound(compared) else []
    have_labels = any(gate.verdict != Verdict.NOT_RUN for gate in drops)
    if step is None:
        unquantised = not_run("score_max_lsb", "the scores are not quantised")
        flips = at_most("label_flips", compared.label_flips, 0, "segments")
        return (drops if have_labels else [unquantised, flips]), None, None
    if compared.max_abs is None:
        return [], None, None
    near = np.abs(decision.margins(scores[0])) <= step * (1 + 1e-6)
    flipped = parity.flipped(*scores, decision)
    near_ties, score_max_lsb = int(near[flipped].sum()), round(compared.max_abs / step)
    gates = (
        drops
        if have_labels
        else [
            at_most("score_max_lsb", score_max_lsb, limits.max_lsb, "LSB"),
            at_most("label_flips_beyond_1_lsb", len(flipped) - near_ties, 0, "segments"),
        ]
    )
    return gates, near_ties, score_max_lsb


def layer_lsbs(proto: onnx.ModelProto, graph: Graph, samples: Floats) -> tuple[list[LayerLsb], bool]:
    """Every quantised tensor for samples (n, T), computed by the reference from the runtime's own quantised tensors.

    The second value: onnxruntime gives the same scores while those tensors are read, so it runs the same kernels.
    """
    names, last = graph.quantised, graph.output_name
    if not names or not len(samples):
        return [], False
    runtime = tensors(proto, samples, [*names, last])
    own = reference.run(graph, samples, names, replace={name: runtime[name] for name in names})
    alone = onnx_model.run_scores(onnx_model.classifier_of(proto), samples)
    rows = [
        layer_lsb(node.name, node.op, tensor, own[tensor], runtime[tensor])
        for step, node in graph.quantised_layers
        for tensor in step.outputs[:1]
    ]
    return rows, bool(np.array_equal(alone, runtime[last].reshape(alone.shape)))


def score_step(graph: Graph) -> float | None:
    """One LSB of the scores: the scale of the DequantizeLinear that gives them; None where another operator does."""
    last = next((step.op for step in graph.steps if graph.output_name in step.outputs), None)
    if last is None or last.op != "DequantizeLinear" or graph.constants[last.inputs[1]].size != 1:
        return None
    return float(graph.constants[last.inputs[1]].item())


def _first_beyond(layers: list[LayerLsb], max_lsb: int) -> LayerDifference | None:
    beyond = next((layer for layer in layers if layer.max_lsb > max_lsb), None)
    if beyond is None:
        return None
    return LayerDifference(layer=beyond.layer, op=beyond.op, tensor=beyond.tensor, l2r=None, max_abs=beyond.max_lsb)


def _is_sound(compared: parity.Parity) -> bool:
    return all(gate.verdict == Verdict.PASS for gate in _sound(compared))


def _sound(compared: parity.Parity) -> list[Gate]:
    """Segments were compared, and all scores were finite."""
    return [
        at_least("segments_compared", compared.segments, 1, "segments"),
        at_most("non_finite_scores", compared.non_finite, 0, "scores"),
    ]


def _number(value: float | None) -> float:
    return _NAN if value is None else value


def _hop(
    name: str,
    sides: tuple[str, str],
    scores: tuple[Floats, Floats],
    segments: Segments,
    compared: parity.Parity,
    gates: list[Gate],
    locate: Callable[[], LayerDifference | None],
) -> Hop:
    verdict, anything = verdict_of_what_ran(gates), compared.segments > 0
    return Hop(
        name=name,
        reference=sides[0],
        other=sides[1],
        verdict=verdict,
        parity=compared,
        label_flips=seg.flips(segments, *scores),
        f1_before=seg.f1(segments, scores[0]) if anything else None,
        f1_after=seg.f1(segments, scores[1]) if anything else None,
        fbeta_mean_before=seg.fbeta_mean(segments, scores[0]) if anything else None,
        fbeta_mean_after=seg.fbeta_mean(segments, scores[1]) if anything else None,
        accuracy_before=seg.accuracy(segments, scores[0]),
        accuracy_after=seg.accuracy(segments, scores[1]),
        specificity_before=seg.specificity(segments, scores[0]) if anything else None,
        specificity_after=seg.specificity(segments, scores[1]) if anything else None,
        by_subject=seg.by_subject(segments, *scores) if anything else [],
        gates=gates,
        first_diverging=locate() if verdict == Verdict.FAIL and anything else None,
    )
