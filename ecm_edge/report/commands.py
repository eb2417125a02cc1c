"""The commands that the page and the card print, ready to be pasted."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ecm_edge.data.splits import FoldAssignment
    from ecm_edge.report.candidate_records import CandidateRecords


@dataclass(frozen=True)
class Commands:
    """Commands about one candidate and the data set that it was made from.

    `data` and `target` are the words DATA and TARGET where they are not known: the reader puts in their own.
    """

    candidate: Path
    data: str
    target: str

    def stage(self, verb: str, *options: str) -> str:
        """`ecm-edge VERB CANDIDATE --data D` with further options."""
        return _line(verb, str(self.candidate), "--data", self.data, *options)

    def build(self) -> str:
        """The command that builds the candidate's images."""
        return _line("firmware", "build", str(self.candidate), "--target", self.target)

    def retrain(self, *options: str) -> str:
        """The command that gates and trains the same configuration again, as a candidate called NEW."""
        board = ("--data", self.data, "--target", self.target)
        return _line("train", *board, "--like", str(self.candidate), "--out", "NEW", *options)


def make_again(records: CandidateRecords, data: str) -> list[str]:
    """The commands that make a candidate again, as NEW, and measure it."""
    commands, lines = Commands(records.folder, data, records.target or "TARGET"), []
    options, has_test_subjects = ("--data", data), bool(records.config.split.test)
    board = (*options, "--target", commands.target)
    train: tuple[str, ...] = ()
    if records.stages.folds:
        assignment = records.stages.folds.assignment
        seeded = ("--count", str(assignment.count), "--seed", str(assignment.seed))
        lines.append(_line("data", "folds", data, *seeded, *_by_source(records, assignment), "--out", "folds.json"))
        train = ("--folds", "folds.json", *(() if has_test_subjects else ("--refit",)))
    return [
        *lines,
        commands.retrain(*train),
        _line("export", "NEW", *options),
        _line("quantize", "NEW", *options),
        _line("verify", "NEW", *board),
        _line("firmware", "build", "NEW", "--target", commands.target),
        _line("bench", "NEW", *board),
        _line("score", "NEW", *board, *_score_options(records)),
        _line("robustness", "NEW", *board, *_robustness_options(records)),
        _line("card", "NEW", *options, "--out", "MODEL_CARD.md"),
    ]


def _by_source(records: CandidateRecords, assignment: FoldAssignment) -> Iterator[str]:
    """A merged data set is divided by source; no record says whether it was."""
    if records.config.source_sha256:
        yield "--by-source"
    for option, sources in (("--train-only", assignment.train_only), ("--score-only", assignment.score_only)):
        for source in sources:
            yield from (option, source)


def _score_options(records: CandidateRecords) -> Iterator[str]:
    if not records.config.split.test:
        yield "--out-of-fold"
    for source in records.stages.score.sources if records.stages.score else []:
        yield from ("--source", source)


def _robustness_options(records: CandidateRecords) -> tuple[str, ...]:
    """Those that the record was made with; without a record, those that the candidate needs."""
    record = records.robustness
    if record is None:
        unseen = ("--out-of-fold",) if records.stages.folds else ("--subjects", "all")
        return () if records.config.split.test else unseen
    sampled = ("--segments", str(record.segments), "--seed", str(record.seed))
    if record.part == "out_of_fold":
        return ("--out-of-fold", *sampled)
    subjects = "SUBJECTS" if record.part == "chosen" else record.part
    form = ("--form", record.form) if record.form else ()
    return (*form, "--subjects", subjects, *sampled)


def _line(*words: str) -> str:
    return shlex.join(["ecm-edge", *words])
