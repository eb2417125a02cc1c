"""Trials for people: a line for each as it ends, and a table of those that trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.cli._told import tell

if TYPE_CHECKING:
    from ecm_edge.search.trial_record import TrialRecord


def print_trial(trial: TrialRecord) -> None:
    """One line on stderr for every finished trial."""
    figures = ""
    if trial.objective is not None:
        figures = f"objective {trial.objective:.4f}, F1 {trial.f1:.4f}, {_specificity(trial.specificity)}"
    epochs = f"{trial.epochs} epochs"
    if trial.ended_at_rung is not None:
        last = trial.rungs[-1]
        figures = f"objective {last.objective:.4f} at rung {trial.ended_at_rung}, {_specificity(last.specificity)}"
        epochs = f"{last.epochs} epochs on {last.data_share:.3g} of the data"
    line = (
        f"trial {trial.number:4d} {trial.outcome:7s} {trial.family:12s} {figures}{trial.macs:,} MACs, "
        f"{epochs}, {trial.train_seconds:.0f} s + {trial.overhead_seconds:.1f} s"
        + (f", verify {verdict_of(trial)}" if trial.outcome in {"trained", "done"} else "")
        + (f": {trial.reason}" if trial.reason else "")
    )
    tell([line])


def _specificity(value: float | None) -> str:
    """It stands beside an objective that may be mean Fβ, to which subjects without positive segments add 1 each."""
    return "" if value is None else f"specificity {value:.4f}, "


def verdict_of(trial: TrialRecord) -> str:
    """Verify's verdict and on how many segments; or that it did not run: only what can be the best is verified."""
    return f"{trial.verdict} on {trial.verified_segments:,}" if trial.outcome == "done" else "not run"


def show_trials(title: str, objective: str, trials: list[TrialRecord], best: int | None) -> None:
    """The trials that trained as a table, best first."""
    from ecm_edge.base.numbers import KIB, fixed, ratio, with_positives
    from ecm_edge.base.tables import Column, say, show

    ranked = sorted((t for t in trials if t.objective is not None), key=lambda t: -(t.objective or 0.0))
    show(
        title,
        [
            "trial",
            "family",
            objective,
            Column("F1", drop=1),
            Column("Fβ", drop=4),
            Column("G", drop=2),
            "specificity",
            Column("MACs", drop=3),
            "flash KiB",
            "RAM KiB",
            "verify",
        ],
        [
            [
                f"{t.number:04d}{' *' if t.number == best else ''}",
                t.family,
                f"{t.objective:.4f}",
                fixed(t.f1, 4),
                fixed(t.fbeta_mean, 4),
                *map(ratio, (t.g, t.specificity)),
                f"{t.macs:,}",
                f"{t.flash_bytes / KIB:.1f}",
                f"{t.ram_bytes / KIB:.1f}",
                verdict_of(t) if t.outcome in {"trained", "done"} else t.outcome,
            ]
            for t in ranked
        ],
    )
    scored = next((t for t in ranked if t.validation_subjects), None)
    if scored and scored.validation_subjects:
        counted = with_positives(scored.validation_subjects, scored.validation_positive_subjects, "positive segments")
        sources = f" of {scored.validation_sources} sources, which count alike" if scored.validation_sources > 1 else ""
        say(f"validated on {counted}{sources}; one without has Fβ = 1 by rule")
