"""Generated C under gcc's sanitizers against the reference, on NaN, infinities, denormals and the largest numbers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx

from ecm_edge.base.errors import EcmEdgeError
from ecm_edge.forms import onnx_model, reference
from ecm_edge.forms.reference.graph import graph_of as of_proto
from tests import firmware_c, onnx_fuzz, random_graphs

from .attempt import Outcome, cpu_seconds, peak_mb, where

TOGETHER = 16
"""Models to one program."""
SPECIAL = np.array([np.nan, np.inf, -np.inf, 1e-40, -1e-45, 3.4e38, -3.4e38, 0.0, -0.0, 1.0, 1e-38], np.float32)
SMALL = np.array([1e-40, -1e-45, 1e-38, 0.0, -0.0, 1e-30, -1e-39], np.float32)
TOLERANCE = 1e-5
LARGEST_COMPARED = 1e6
"""Beyond it a cosine is one of rounding errors; and of numbers that are not finite, scores are unspecified."""
STRICT = ["-fsanitize=float-cast-overflow"]
"""Beside those of `firmware_c`: a float that is cast to an integer has to fit."""


def samples_of(count, seed):
    """(6, T): all numbers special, a tenth of them, a single one, all NaN, very small ones, and ordinary ones."""
    rng = np.random.default_rng(seed)
    ordinary = rng.standard_normal((6, count)).astype(np.float32)
    special = rng.choice(SPECIAL, (6, count))
    ordinary[0] = special[0]
    ordinary[1] = np.where(rng.random(count) < 0.1, special[1], ordinary[1])
    ordinary[2, rng.integers(count)] = special[2, 0]
    ordinary[3] = np.nan
    ordinary[4] = rng.choice(SMALL, count)
    return ordinary


def graph_of(seed):
    """The graph of a seed: for half of them a mutated model, else a random one; the refusal where there is none."""
    if seed % 2:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "m.onnx")
            for attempt in range(40):  # most mutations are refused
                path.write_bytes(onnx_fuzz.mutate(40 * seed + attempt))
                try:
                    return reference.load(onnx_model.load_classifier(path).proto)
                except EcmEdgeError:
                    continue
    proto, shape = random_graphs.random_graph(seed)
    assert isinstance(proto, onnx.ModelProto)
    return of_proto(proto, "samples", shape, proto.graph.output[0].name)


def turn(first):
    """What became of the next models; each is built with the sanitizers and runs five segments."""
    begin_s, outcomes, made = cpu_seconds(), [], []
    for seed in range(first, first + TOGETHER):
        try:
            graph = graph_of(seed)
            made.append((seed, graph, firmware_c.generate(graph, f"m{seed}")))
        except EcmEdgeError:
            outcomes.append(Outcome("compiled", seed, 2, "", 0, 0))
        except Exception as problem:  # noqa: BLE001 - what is looked for
            outcomes.append(Outcome("compiled", seed, 70, where(problem), 0, 0))
    findings = differing(made)
    seconds = (cpu_seconds() - begin_s) / TOGETHER
    outcomes += [Outcome("compiled", seed, 0, findings.get(seed, ""), seconds, peak_mb()) for seed, _, _ in made]
    return sorted(outcomes, key=lambda outcome: outcome.seed)


def differing(made):
    """What is wrong with some models, by seed: one at a time where a program of all of them stops."""
    try:
        with tempfile.TemporaryDirectory() as scratch:
            program = firmware_c.build(Path(scratch), [each for _, _, each in made], sanitise=True, more=STRICT)
            asked = [(i, samples_of(each.samples, seed)) for i, (seed, _, each) in enumerate(made)]
            answers = program.run_all(asked)
    except AssertionError as problem:
        if len(made) == 1:
            return {made[0][0]: " ".join(str(problem).split())[:300]}
        return {seed: text for each in made for seed, text in differing([each]).items()}
    found = {}
    for (seed, graph, _), (_, samples), (scores, _) in zip(made, asked, answers, strict=True):
        ours, rows = expected(graph, samples)
        if not same(scores[rows], ours[rows]):
            found[seed] = f"C {scores[rows, :2].tolist()}, reference {ours[rows, :2].tolist()}"[:300]
    return found


def expected(graph, samples):
    """The reference's scores, and the segments in which no tensor is large or not a number: others are only run."""
    names = list(dict.fromkeys([graph.output_name, *(name for step in graph.steps for name in step.outputs if name)]))
    finite = np.isfinite(samples).all(axis=1)
    scores = np.zeros((len(samples), 1), np.float32)
    for row in np.flatnonzero(finite):
        with np.errstate(all="ignore"):
            tensors = reference.run(graph, samples[row : row + 1], names)
        finite[row] = all((np.abs(tensor) <= LARGEST_COMPARED).all() for tensor in tensors.values())
        own = tensors[graph.output_name].reshape(1, -1)
        scores = np.zeros((len(samples), own.shape[1]), np.float32) if scores.shape[1] != own.shape[1] else scores
        scores[row] = own
    return scores, np.flatnonzero(finite)


def same(scores, wanted):
    """Whether finite scores (n, S) agree within a part of the largest of a segment."""
    if not len(wanted):
        return True
    largest = np.maximum(1.0, np.abs(wanted).max(axis=1, keepdims=True).astype(np.float64))
    return bool((np.abs(scores.astype(np.float64) - wanted) <= TOLERANCE * largest).all())
