"""What is told of a training that has ended: the epoch that was kept, and why it may be a poor one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.cli._told import tell

if TYPE_CHECKING:
    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.training.train import TrainingRecord

_POOR = 0.5  # sensitivity or specificity below it: most of a class is called the other one


def kept_epoch(record: TrainingRecord, config: CandidateConfig) -> str:
    """Which epoch was kept, and what is known of it."""
    from ecm_edge.base.numbers import with_positives

    best = record.best
    kept = f"kept epoch {best.epoch}, {'the last' if config.training.keep == 'last' else 'of least validation loss'}"
    if not record.validation_subjects:
        return f"{kept}, trained on {with_positives(record.train_subjects, None)}; threshold {best.threshold:.4f}"
    figures = f"F1 {figure_of(best.f1)}, Fβ {figure_of(best.fbeta_mean)}, G {figure_of(best.g)}"
    validated = (record.validation_subjects, record.validation_positive_subjects)
    counted = with_positives(*validated, config.task.label)
    return f"{kept}: {figures}, specificity {figure_of(best.specificity)} on validation subjects ({counted})"


def figure_of(value: float | None) -> str:
    """A figure of the validation subjects, if there are any."""
    return "–" if value is None else f"{value:.4f}"


def tell_of_training(record: TrainingRecord, config: CandidateConfig) -> None:
    """On stderr: why the training ended before its last epoch, and that its answers are poor, where that is so."""
    ended, poor = ended_early(record, config), poor_answers(record, config.task.label)
    tell([f"note: {ended}"] if ended else [], [poor] if poor else [])


def ended_early(record: TrainingRecord, config: CandidateConfig) -> str:
    """Which rule ended a training before its last epoch, and which epoch was kept; empty where none did."""
    training = config.training
    planned = training.epochs + (training.qat_epochs if record.qat_epochs else 0)
    why = {
        "patience": f"no better for {training.patience}",
        "gap": f"validation loss more than {training.gap_limit:g} above training loss",
        "pruned": "others were better by then, or time was up",
        "diverged": "the loss was no longer finite",
    }.get(record.stopped)
    if why is None:
        return ""
    return f"stopped after epoch {record.epochs[-1].epoch} of {planned}: {why}; epoch {record.best.epoch} kept"


def poor_answers(record: TrainingRecord, label: str) -> str:
    """That the kept epoch calls most segments one class on the validation subjects; empty where it does not."""
    best = record.best
    if best.specificity is not None and best.specificity < _POOR:
        calls = f"calls most of what is not {label} {label} (specificity {best.specificity:.3f})"
    elif best.recall is not None and best.recall < _POOR:
        calls = f"misses most {label} (sensitivity {best.recall:.3f})"
    else:
        return ""
    return (
        f"on the validation subjects it {calls}: train longer (--set training.epochs=…), or look at the labels with "
        "`ecm-edge data audit`"
    )
