"""Model card: what a model is, what it is for and not for, and every figure on record, in one Markdown file.

Nothing is measured here. Each section comes from the record of a stage in the candidate's folder; where there is none,
it is "not measured", with the command that would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError, OutputError
from ecm_edge.base.progress import doing
from ecm_edge.base.records import Record
from ecm_edge.base.tables import printable
from ecm_edge.candidate import candidate
from ecm_edge.candidate.candidate import FORM_FILES
from ecm_edge.data import info
from ecm_edge.data.dataset import LICENCE_UNSTATED
from ecm_edge.evaluate.robustness import ROBUSTNESS
from ecm_edge.forms.gate import BUDGET_NAMES
from ecm_edge.metrics.worst import left_out, shown
from ecm_edge.report import card_facts, templates
from ecm_edge.report.candidate_records import changed_files, load_records, model_files
from ecm_edge.report.commands import make_again
from ecm_edge.training import out_of_fold

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.metrics import ReliabilityBin
    from ecm_edge.report.candidate_records import CandidateRecords

TEMPLATE = "model_card.md.jinja"
_LARGEST_SECTION_BYTES = 1 << 20
SOURCES = (
    candidate.COST,
    candidate.TRAINING,
    candidate.QUANTIZE,
    candidate.VERIFY,
    candidate.FIRMWARE,
    candidate.BENCH,
    candidate.SCORE,
    out_of_fold.FOLDS,
    ROBUSTNESS,
)
"""The records that a card shows."""


class CardRecord(Record):
    """What was written; `sources` are the records that it rests on, `not_measured` those that the folder lacks."""

    out: str
    sha256: str
    candidate: str
    config_sha256: str
    synthetic: bool
    sources: list[str]
    not_measured: list[str]
    sections: list[str]


@doing("write the card")
def write_card(folder: Path, out: Path, *, dataset: Dataset | None = None, extra: Sequence[Path] = ()) -> CardRecord:
    """Write the card of a candidate or of an entry of a registry.

    Args:
        folder: its folder.
        out: the Markdown file; replaced if it is there.
        dataset: the one that the candidate was made from; its segments, subjects and labels are counted.
        extra: Markdown files, put in before the commands.

    Raises:
        CandidateError: not a candidate; a record that is damaged, or made from another configuration or other files;
            another data set; or an extra file that cannot be read as UTF-8.
        DatasetError: the data set's table changed since it was written.
        OutputError: `out` cannot be written, or lies in an entry.
        RegistryError: an entry's manifest is damaged.
    """
    records = load_records(folder)
    _check_made_from(records)
    if records.manifest and out.resolve().parent == folder.resolve():
        raise OutputError("an entry of a registry stays as it was promoted", f"{out}", "Choose a place outside of it.")
    if dataset:
        candidate.check_dataset(records.config, dataset)
    text = render(records, dataset, [_read_section(path) for path in extra])
    files.write_atomic(out, text.encode())
    return CardRecord(
        out=str(out),
        sha256=files.sha256_bytes(text.encode()),
        candidate=folder.name,
        config_sha256=records.config.sha256,
        synthetic=records.synthetic,
        sources=[candidate.CONFIG, *(name for name in SOURCES if name in records.by_file)],
        not_measured=[name for name in SOURCES if name not in records.by_file],
        sections=[str(path) for path in extra],
    )


def render(records: CandidateRecords, dataset: Dataset | None, sections: Sequence[str]) -> str:
    """The card as Markdown."""
    environment = templates.environment(keep_trailing_newline=True)  # Markdown, in which `plain` escapes names
    environment.filters |= {
        "plain": plain,
        "code": code,
        "printable": printable,
        "shown": shown,
        "left_out": left_out,
        "bin": _bin,
    }
    environment.globals |= {"head": head, "row": row, **_PICKED}
    config = records.config
    counts = info.counts(dataset) if dataset else None
    return environment.get_template(TEMPLATE).render(
        r=records,
        config=config,
        **dict(records.stages),
        robustness=records.robustness,
        models={FORM_FILES[form]: sha256 for form, sha256 in records.model_sha256.items()},
        dataset=dataset,
        counts=counts,
        sources=card_facts.sources(dataset, counts) if dataset and counts else [],
        unstated=LICENCE_UNSTATED,
        settings=card_facts.chosen_settings(config),
        forms=card_facts.forms(records),
        budgets=BUDGET_NAMES,
        worst=card_facts.SUBJECTS,
        out_of_fold_statement=out_of_fold.statement,
        sections=sections,
        commands=make_again(records, str(dataset.folder) if dataset else "DATA"),
    )


def plain(text: str) -> str:
    r"""Text on one line in which Markdown and HTML see no markup, and in a table no cell's end.

    >>> print(plain("a|b <i>"))
    a\|b &lt;i>
    """
    for sign in "\\|`*[$":
        text = text.replace(sign, f"\\{sign}")
    return printable(" ".join(text.replace("&", "&amp;").replace("<", "&lt;").split()))


def code(text: str) -> str:
    r"""Text on one line that ends no code span.

    >>> code("a`b\nc")
    "a'b c"
    """
    return printable(" ".join(text.replace("`", "'").split()))


def row(*cells: object) -> str:
    r"""One row of a Markdown table.

    >>> print(row("N", 12, "a|b"))
    | N | 12 | a\|b |
    """
    return f"| {' | '.join(plain(str(cell)) for cell in cells)} |"


def head(*columns: str) -> str:
    """The head of a Markdown table; the first column is left-aligned, the others right-aligned.

    >>> print(head("rhythm", "segments"))
    | rhythm | segments |
    | --- | ---: |
    """
    return f"{row(*columns)}\n{row('---', *['---:'] * (len(columns) - 1))}"


def _bin(reliability: ReliabilityBin) -> str:
    return f"{reliability.low:.1f} to {reliability.high:.1f}"


_PICKED = {
    "wrong": card_facts.wrong,
    "wrong_rhythms": card_facts.wrong_rhythms,
    "told_hops": card_facts.told_hops,
    "costly": card_facts.costly,
}


def _check_made_from(records: CandidateRecords) -> None:
    """Raise CandidateError where a record was made from another configuration or from a model that has changed."""
    rule, hint = "a card puts records of one candidate together", "Run the stage that writes it again."
    folder, sha256 = records.folder, records.config.sha256
    for name, record in records.by_file.items():
        made_from = getattr(record, "config_sha256", None)
        if made_from not in {None, sha256}:
            problem = f"{name} of configuration {made_from[:12]}, not {sha256[:12]}, in {folder}"
            raise CandidateError(rule, problem, hint)
        for file in changed_files(folder, model_files(record)):
            raise CandidateError(rule, f"{name} of another {file} than lies in {folder}", hint)


def _read_section(path: Path) -> str:
    try:
        return files.read_bounded(path, _LARGEST_SECTION_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise CandidateError(
            "a section of a card is a Markdown file in UTF-8", f"{problem} at {path}", "Check the path."
        ) from None
