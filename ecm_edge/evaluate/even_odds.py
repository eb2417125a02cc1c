"""Figures at even odds: what a network is worth before a threshold is taken off.

A margin of at least 0 is then positive: what the network finds at least as likely as not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.candidate.candidate import TRAINING

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.candidate.candidate import CandidateConfig


def folded_threshold(folder: Path, config: CandidateConfig) -> float | None:
    """The threshold that is folded into a candidate's own network; None where its training.json is not there.

    Raises:
        CandidateError: training.json is damaged.
    """
    from ecm_edge.training.train import TrainingRecord  # brings PyTorch

    path = folder / TRAINING
    if not path.is_file():
        return None
    record = TrainingRecord.load(path)
    return record.best.threshold if record.config_sha256 == config.sha256 else None
