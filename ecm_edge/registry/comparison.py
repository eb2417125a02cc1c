"""A challenger against the incumbent: paired on the same segments, and like evidence with like.

Only subjects count that neither model was trained or tuned on. Where there are none, two candidates that were measured
out of fold over the same subjects are compared by those answers, none of which came from a network that knew who asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ecm_edge import metrics
from ecm_edge.base.records import Form, Gate, Interval, Latency, Record, Verdict, at_most, not_run
from ecm_edge.evaluate.score import BoardResult, board_result
from ecm_edge.forms.model_file import margins
from ecm_edge.metrics import PairedStatistic
from ecm_edge.metrics.rows import score_rows
from ecm_edge.training import out_of_fold

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.firmware.fit_records import FormFit
    from ecm_edge.forms.gate import CostRecord
    from ecm_edge.forms.model_file import ModelFile
    from ecm_edge.targets import Target

OTHERS: tuple[PairedStatistic, ...] = ("accuracy", "f1", "fbeta_mean", "g")
"""Differences that are recorded for information; F1 only where a segment is AF."""

BOARD_LATENCY = "board_latency_estimated_vs_incumbent"
"""The gate on the estimated time of one inference on the board."""

Origin = tuple[str, str]
"""The kind of evidence, and its source."""

Basis = Literal["test", "out_of_fold"]


class Comparison(Record):
    """Challenger less incumbent on the same segments; `significant` if the interval lies above or below 0.

    `basis` says what was compared: the two models on test subjects, or their recipes out of fold. `others` are further
    differences for information. The board results are those of the compared segments.
    """

    basis: Basis = "test"
    statistic: PairedStatistic
    difference: Interval
    significant: bool | None
    others: dict[str, Interval]
    subjects: list[str]
    segments: int
    challenger: BoardResult
    incumbent: BoardResult


@dataclass(frozen=True)
class Contender:
    """One side of the decision: a form of a candidate, its costs and its latency.

    `fit` is what was found when its firmware was built, and `fitted_for` the hash of the target as it was then; absent
    where the target has none.
    """

    folder: Path
    model: ModelFile
    config: CandidateConfig
    form: Form
    sha256: str
    cost: CostRecord
    latency: Latency
    fit: FormFit | None = None
    fitted_for: str = ""


def compare(
    challenger: Contender, incumbent: Contender, dataset: Dataset, target: Target
) -> tuple[Comparison | None, list[Gate]]:
    """The paired comparison, None where no subject is left for it, and the gates of score and costs."""
    tolerance, ours, theirs = target.promotion, challenger.cost, incumbent.cost
    origins = ((ours.evidence, ours.source), (theirs.evidence, theirs.source))
    flash, ram = (ours.flash_bytes, theirs.flash_bytes), (ours.ram_bytes, theirs.ram_bytes)
    costs = [
        _latency_gate(challenger.latency, incumbent.latency, tolerance.latency_tolerance),
        _no_worse("flash_vs_incumbent", flash, tolerance.flash_tolerance, "B", origins),
        _no_worse("ram_vs_incumbent", ram, tolerance.ram_tolerance, "B", origins),
        *_board_gate(challenger, incumbent, tolerance.latency_tolerance),
    ]
    answers = _answers(challenger, incumbent, dataset)
    if isinstance(answers, str):
        return None, [failed("score", answers), *costs]
    comparison = _compare_scores(challenger, incumbent, dataset, target, answers)
    return comparison, [_score_gate(comparison), *costs]


@dataclass(frozen=True)
class _Answers:
    """Margins of both sides for the same rows, (n,) each."""

    basis: Basis
    rows: NDArray[np.int64]
    ours: NDArray[np.float32]
    theirs: NDArray[np.float32]


def _answers(challenger: Contender, incumbent: Contender, dataset: Dataset) -> _Answers | str:
    """What both answer about subjects that neither has seen, or why there is nothing to compare.

    Raises:
        CandidateError: what one of them answered out of fold was changed.
    """
    if names := fair_subjects(challenger.config, incumbent.config):
        rows = dataset.rows_of(names)
        ours, theirs = (margins(side.model.classifier, dataset, rows) for side in (challenger, incumbent))
        return _Answers("test", rows, ours, theirs)
    if challenger.config.split.test:
        why = "every test subject of the challenger was trained or tuned on by the incumbent: use its split"
    else:
        why = "the challenger was trained on all subjects"
    sides = {"challenger": challenger, "incumbent": incumbent}
    for name, side in sides.items():
        if not out_of_fold.has_folds(side.folder):
            return f"{why}; and out of fold nothing is known of the {name}: train it with --folds"
        if side.config.dataset_sha256 != dataset.header.content_sha256:
            return f"{why}; and the {name} was measured out of fold on another data set"
    ours, theirs = (out_of_fold.load(side.folder, side.config, dataset).after for side in sides.values())
    return _Answers("out_of_fold", out_of_fold.labelled_rows(dataset), ours, theirs)


def fair_subjects(challenger: CandidateConfig, incumbent: CandidateConfig) -> list[str]:
    """The challenger's test subjects that the incumbent was neither trained nor tuned on."""
    seen = {*incumbent.split.train, *incumbent.split.validation}
    return [name for name in challenger.split.test if name not in seen]


def _compare_scores(
    challenger: Contender, incumbent: Contender, dataset: Dataset, target: Target, answers: _Answers
) -> Comparison:
    rows, ours, theirs = answers.rows, answers.ours, answers.theirs
    labels, subjects = dataset.labels[rows], np.array(dataset.subject_names(rows))
    statistic: PairedStatistic = "detection_points" if target.score else "fbeta_mean"

    def difference(name: PairedStatistic) -> Interval:
        return metrics.paired_difference(labels, ours, theirs, subjects, name, rule=target.score)

    def board(side: Contender, margin: NDArray[np.float32]) -> BoardResult:
        return board_result(side.model, target, score_rows(margin, dataset, rows, target))

    found = difference(statistic)
    has_f1 = bool(labels.any())
    return Comparison(
        basis=answers.basis,
        statistic=statistic,
        difference=found,
        significant=None if found.low is None or found.high is None else found.low > 0 or found.high < 0,
        others={name: difference(name) for name in OTHERS if name != "f1" or has_f1},
        subjects=sorted(set(subjects.tolist())),
        segments=len(rows),
        challenger=board(challenger, ours),
        incumbent=board(incumbent, theirs),
    )


def _score_gate(comparison: Comparison) -> Gate:
    """PASS only above 0: an equal score does not replace anything."""
    value = comparison.difference.value
    whose = "subjects out of fold" if comparison.basis == "out_of_fold" else "subjects"
    certain = {True: "significant", False: "not significant", None: "one subject, no interval"}[comparison.significant]
    return Gate(
        name="score",
        verdict=Verdict.PASS if value > 0 else Verdict.FAIL,
        value=value,
        limit=0.0,
        unit=comparison.statistic,
        margin=value,
        detail=f"{shown(comparison.difference)}, {certain}, {len(comparison.subjects)} {whose}; must be above 0",
    )


def _latency_gate(ours: Latency, theirs: Latency, tolerance: float) -> Gate:
    """Medians where both have one, else means."""
    mine, other = ours.mean_ms, theirs.mean_ms
    if ours.median_ms is not None and theirs.median_ms is not None:
        mine, other = ours.median_ms, theirs.median_ms
    origins = ((ours.evidence, ours.source), (theirs.evidence, theirs.source))
    return _no_worse("latency_vs_incumbent", (mine, other), tolerance, "ms", origins)


def _board_gate(ours: Contender, theirs: Contender, tolerance: float) -> list[Gate]:
    """Estimated time on the board, from instructions counted in its emulator: never taken for measured time."""
    if ours.fit is None:
        return []
    if ours.fit.instructions is None:
        return [not_run(BOARD_LATENCY, f"nothing was counted: {ours.fit.reason}")]
    if theirs.fit is None or theirs.fit.instructions is None:
        return [not_run(BOARD_LATENCY, "nothing was counted of the incumbent")]
    mine, other = ours.fit.latency_ms, theirs.fit.latency_ms
    origins = (
        (mine.evidence, f"instructions counted in the emulator and the core's model of target {ours.fitted_for[:12]}"),
        (
            other.evidence,
            f"instructions counted in the emulator and the core's model of target {theirs.fitted_for[:12]}",
        ),
    )
    return [_no_worse(BOARD_LATENCY, (mine.mean_ms, other.mean_ms), tolerance, "ms", origins)]


def _no_worse(
    name: str, values: tuple[float, float], tolerance: float, unit: str, origins: tuple[Origin, Origin]
) -> Gate:
    """The challenger's value against the incumbent's and the tolerance; unlike evidence is not compared."""
    (ours, theirs), (our_origin, their_origin) = values, origins
    if our_origin != their_origin:
        return failed(name, f"unlike evidence: {' by '.join(our_origin)} against {' by '.join(their_origin)}")
    detail = f"{our_origin[0]}; the incumbent has {theirs:,.6g} {unit}, {tolerance:.0%} more is tolerated"
    return at_most(name, ours, theirs * (1 + tolerance), unit, detail)


def agreed(name: str, detail: str, *, holds: bool) -> Gate:
    """A gate on a condition that has no number."""
    verdict = Verdict.PASS if holds else Verdict.FAIL
    return Gate(name=name, verdict=verdict, value=None, limit=None, unit="", margin=None, detail=detail)


def failed(name: str, detail: str) -> Gate:
    """A condition that does not hold."""
    return agreed(name, detail, holds=False)


def shown(figure: Interval) -> str:
    """A difference with its sign and its interval."""
    ends = "" if figure.low is None or figure.high is None else f" ({figure.low:+.3f} … {figure.high:+.3f})"
    return f"{figure.value:+.3f}{ends}"
