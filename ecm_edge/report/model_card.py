"""Model card: what a model is, what it is for and not for, and every figure known of it, in one Markdown file.

Nothing is measured here: each section comes from the record of a stage in the candidate's folder, and says "not
measured", with the command that would, where there is none.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError, OutputError, RegistryError
from ecm_edge.base.records import Interval, Record
from ecm_edge.candidate import candidate
from ecm_edge.candidate.candidate import FORM_FILES, CandidateConfig, load_config
from ecm_edge.data import info
from ecm_edge.data.dataset import natural_key
from ecm_edge.evaluate.bench import BenchRecord
from ecm_edge.evaluate.robustness import ROBUSTNESS, RobustnessRecord
from ecm_edge.evaluate.score import ScoreRecord
from ecm_edge.evaluate.verify.records import VerifyRecord
from ecm_edge.firmware.fit_records import FirmwareRecord
from ecm_edge.forms.gate import CostRecord
from ecm_edge.forms.quantize import QuantizeRecord
from ecm_edge.registry.entries import MANIFEST, Manifest
from ecm_edge.training import out_of_fold
from ecm_edge.training.out_of_fold import CrossValidationRecord
from ecm_edge.training.train import TrainingRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ecm_edge.base.records import Latency
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.metrics import Scores

R = TypeVar("R", bound=Record)

TEMPLATE = "model_card.md.jinja"
NONE = "–"
_KIB = 1024


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


class Records(Record):
    """The records in a candidate's folder; None where a stage has not run."""

    config: CandidateConfig
    manifest: Manifest | None
    cost: CostRecord | None
    training: TrainingRecord | None
    quantize: QuantizeRecord | None
    verify: VerifyRecord | None
    firmware: FirmwareRecord | None
    bench: BenchRecord | None
    score: ScoreRecord | None
    folds: CrossValidationRecord | None
    robustness: RobustnessRecord | None

    @property
    def target(self) -> str | None:
        """The board that the candidate was made for; None where no record says."""
        return next((record.target for record in (self.cost, self.firmware, self.verify) if record), None)

    @property
    def synthetic(self) -> bool:
        """Whether anything here rests on synthetic data."""
        said = (self.config, self.score, self.folds, self.robustness)
        return any(record.synthetic for record in said if record)


@dataclass(frozen=True)
class Table:
    """A table of Markdown; the first column is left-aligned, the others right-aligned."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *(map(plain, row) for row in self.rows)]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@dataclass(frozen=True)
class Answers:
    """The scores of one measurement: what was scored, what to be careful about, and the tables."""

    title: str
    notes: Sequence[str]
    figures: Table
    by_rhythm: Table
    by_subject: Table


def write_card(folder: Path, out: Path, *, dataset: Dataset | None = None, extra: Sequence[Path] = ()) -> CardRecord:
    """Write the card of a candidate or of an entry of a registry.

    Args:
        folder: its folder.
        out: the Markdown file; replaced if it is there.
        dataset: the one that the candidate was made from; counts its segments, subjects and labels.
        extra: Markdown files, put in before the commands.

    Raises:
        CandidateError: not a candidate; a record that is damaged, or speaks of another configuration or other files;
            another data set; or an extra file that cannot be read as UTF-8.
        DatasetError: the data set's table changed since it was written.
        OutputError: `out` cannot be written, or lies in an entry.
        RegistryError: an entry's manifest is damaged.
    """
    records = load_records(folder)
    if records.manifest and out.resolve().parent == folder.resolve():
        raise OutputError("an entry of a registry stays as it was promoted", f"{out}", "Choose a place outside of it.")
    if dataset:
        candidate.check_dataset(records.config, dataset)
    text = render(folder, records, dataset, [_section(path) for path in extra])
    files.write_atomic(out, text.encode())
    there = {name for name in _RECORDS if (folder / name).is_file()}
    return CardRecord(
        out=str(out),
        sha256=files.sha256_bytes(text.encode()),
        candidate=folder.name,
        config_sha256=records.config.sha256,
        synthetic=records.synthetic,
        sources=[candidate.CONFIG, *(name for name in _RECORDS if name in there)],
        not_measured=[name for name in _RECORDS if name not in there],
        sections=[str(path) for path in extra],
    )


_RECORDS: dict[str, type[Record]] = {
    candidate.COST: CostRecord,
    candidate.TRAINING: TrainingRecord,
    candidate.QUANTIZE: QuantizeRecord,
    candidate.VERIFY: VerifyRecord,
    candidate.FIRMWARE: FirmwareRecord,
    candidate.BENCH: BenchRecord,
    candidate.SCORE: ScoreRecord,
    out_of_fold.FOLDS: CrossValidationRecord,
    ROBUSTNESS: RobustnessRecord,
}


def load_records(folder: Path) -> Records:
    """The records of the candidate or the entry in `folder`, each of which has to speak of what lies beside it.

    Raises:
        CandidateError: not a candidate, or a record that is damaged or speaks of something else.
    """
    config = load_config(folder)
    found = {Path(name).stem: kind.load(folder / name) for name, kind in _RECORDS.items() if (folder / name).is_file()}
    for name, record in found.items():
        _check_bound(folder, config, f"{name}.json", record)
    manifest = Manifest.load(folder / MANIFEST, RegistryError) if (folder / MANIFEST).is_file() else None
    absent = dict.fromkeys(Path(name).stem for name in _RECORDS)
    return Records.model_validate({"config": config, "manifest": manifest, **absent, **found})


def render(folder: Path, records: Records, dataset: Dataset | None, sections: Sequence[str]) -> str:
    """The card as Markdown."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(  # noqa: S701 - Markdown, not HTML: `plain` takes care of names
        loader=PackageLoader("ecm_edge.report", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"plain": plain, "figure": figure}
    config = records.config
    return environment.get_template(TEMPLATE).render(
        r=records,
        name=folder.name,
        seconds=f"{config.samples_per_segment / config.sampling_rate_hz:g}",
        hashes=_hashes(folder),
        data=_data(records, dataset),
        recipe=_recipe(config),
        answers=_all_answers(records),
        folds=_folds(records.folds),
        budgets=_budgets(records.cost),
        images=_images(records.firmware),
        host=_host(records.bench),
        hops=_hops(records.verify),
        forms=_forms(records.quantize),
        robustness=_robustness(records.robustness),
        rhythms=_rhythms(records.robustness.by_rhythm) if records.robustness else None,
        degenerate=_degenerate(records.robustness),
        extra=sections,
        commands=_commands(folder, records, dataset),
    )


def plain(text: str) -> str:
    r"""Text that Markdown and HTML leave alone, on one line, also within a table.

    >>> print(plain("a|b <i>"))
    a\|b &lt;i>
    """
    for sign in "\\|`*[$":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").split())


def figure(value: Interval | float | None) -> str:
    """A ratio with its 95 % interval, where there is one.

    >>> figure(Interval(value=0.9, low=0.8, high=0.95)), figure(0.5), figure(None)
    ('0.900 (0.800 … 0.950)', '0.500', '–')
    """
    if value is None:
        return NONE
    if not isinstance(value, Interval):
        return f"{value:.3f}"
    if value.low is None or value.high is None:
        return f"{value.value:.3f} (no interval)"
    return f"{value.value:.3f} ({value.low:.3f} … {value.high:.3f})"


def _check_bound(folder: Path, config: CandidateConfig, name: str, record: Any) -> None:  # noqa: ANN401 - any stage's record
    """Raise CandidateError where a record speaks of another configuration, or of a model's file that changed."""
    rule, hint = "a card puts records of one candidate together", "Run the stage that writes it again."
    made_from = getattr(record, "config_sha256", None)
    if made_from not in {None, config.sha256}:
        raise CandidateError(
            rule, f"{name} of configuration {made_from[:12]}, not {config.sha256[:12]}, in {folder}", hint
        )
    for file, digest in _named_models(record).items():
        if not (folder / file).is_file() or files.sha256_file(folder / file) != digest:
            raise CandidateError(rule, f"{name} of another {file} than lies in {folder}", hint)


def _named_models(record: Record) -> dict[str, str]:
    """SHA-256 of the models' files that a record speaks of, by name."""
    if isinstance(record, VerifyRecord):
        return record.model_sha256
    if isinstance(record, FirmwareRecord):
        return {FORM_FILES[form.form]: form.model_sha256 for form in record.forms}
    if isinstance(record, BenchRecord):
        return {form.file: form.model_sha256 for form in record.forms}
    return {record.model: record.model_sha256} if isinstance(record, ScoreRecord | RobustnessRecord) else {}


def _section(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise CandidateError(
            "a section of a card is a Markdown file in UTF-8", f"{problem} at {path}", "Check the path."
        ) from None


def _hashes(folder: Path) -> Table | None:
    there = [folder / name for name in FORM_FILES.values() if (folder / name).is_file()]
    return Table(["file", "SHA-256"], [[path.name, files.sha256_file(path)] for path in there]) if there else None


def _data(records: Records, dataset: Dataset | None) -> Table:
    """What it was made from; what only the data set itself can tell is counted there, or said to be not measured."""
    config, scored = records.config, records.score or records.robustness
    name = dataset.folder.name if dataset else scored.dataset if scored else _missing("--data")
    blank = dataset.header.blank if dataset else scored.blank if scored else None
    rows = [["name", name], ["content, SHA-256", config.dataset_sha256]]
    if dataset:
        counts = info.counts(dataset)
        rows += [
            ["subjects", f"{len(counts.subjects):,}"],
            ["segments", f"{counts.segments:,}"],
            *([f"segments, label {label}", f"{number:,}"] for label, number in counts.labels.items()),
            *([f"segments, rhythm {rhythm or 'blank'}", f"{number:,}"] for rhythm, number in counts.rhythms.items()),
        ]
    else:
        rows += [[what, _missing("--data")] for what in ("subjects", "segments", "labels")]
    rows.append(["blank rhythm", _BLANK[blank] if blank else _missing("--data")])
    rows.append(["sampling rate", f"{config.sampling_rate_hz:g} Hz, {config.samples_per_segment} samples a segment"])
    rows += [
        [f"{part} subjects", f"{len(names)}"]
        for part, names in (
            ("training", config.split.train),
            ("validation", config.split.validation),
            ("test", config.split.test),
        )
    ]
    return Table(["data", "value"], rows)


_BLANK = {
    "negative": "counts as not AF (the contest's rule)",
    "drop": "counts as no label: neither trained on nor scored",
}


def _missing(option: str) -> str:
    return f"not measured (give {option})"


def _recipe(config: CandidateConfig) -> Table:
    """Every parameter of network and training, nested ones with dots in their names."""
    flat = _flat({"network": config.network, "training": config.training.model_dump(), "seed": config.seed})
    family = config.factory or config.family
    return Table(["parameter", "value"], [["family", family], *([name, _setting(value)] for name, value in flat)])


def _flat(values: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _setting(value: bool | float | str | None) -> str:  # noqa: FBT001 - whatever a configuration holds
    if isinstance(value, bool) or value is None:
        return "yes" if value else "no" if value is False else "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


_NAMES = {
    "recall": "sensitivity",
    "specificity": "specificity",
    "precision": "PPV",
    "npv": "NPV",
    "f1": "F1",
    "accuracy": "accuracy",
}


def _all_answers(records: Records) -> list[Answers]:
    """Of score.json and folds.json, which say the same where the score is the one out of fold."""
    scored, folds, found = records.score, records.folds, []
    if scored:
        of = "all subjects, out of fold" if scored.part == "out_of_fold" else f"{scored.part} subjects"
        title = f"{scored.form or scored.model}, {of} ({candidate.SCORE})"
        found.append(_answers(title, [scored.statement or "", *scored.warnings], scored.scores))
    if folds and not (scored and scored.part == "out_of_fold"):
        title = f"the recipe, all subjects, out of fold ({out_of_fold.FOLDS})"
        found.append(_answers(title, [out_of_fold.STATEMENT], folds.scores))
    return found


def _answers(title: str, notes: Sequence[str], scores: Scores) -> Answers:
    ratios = [
        [name, figure(getattr(scores, field)), figure(getattr(scores.averaged, field))]
        for field, name in _NAMES.items()
    ]
    c = scores.confusion
    called = f"called AF: {c.tp:,} of {c.tp + c.fn:,} with AF, {c.fp:,} of {c.tn + c.fp:,} without"
    return Answers(
        title=f"{title}: {scores.segments:,} segments of {scores.subjects:,} subjects",
        notes=[
            *filter(None, notes),
            called,
        ],
        figures=Table(
            ["figure", "gross: all segments (95 %)", "average over subjects (95 %)"],
            [
                *ratios,
                ["AUC", figure(scores.auc), NONE],
                [f"F{scores.beta:g}", NONE, figure(scores.fbeta_mean)],
                [f"G: subjects above {scores.good_subject_above:g}", NONE, figure(scores.g)],
            ],
        ),
        by_rhythm=_rhythms(scores.by_rhythm),
        by_subject=Table(
            ["subject", "segments", "TP", "FP", "TN", "FN", "sensitivity", "specificity", "PPV", "NPV", "Fβ"],
            [
                [
                    s.subject,
                    *map(str, (s.segments, s.tp, s.fp, s.tn, s.fn)),
                    *map(figure, (s.sensitivity, s.specificity, s.ppv, s.npv, s.fbeta)),
                ]
                for s in sorted(scores.by_subject, key=lambda s: (s.fbeta, natural_key(s.subject)))
            ],
        ),
    )


def _folds(record: CrossValidationRecord | None) -> Table | None:
    if record is None:
        return None
    return Table(
        ["fold", "subjects", "segments", "threshold"],
        [[str(f.number), str(len(f.subjects)), f"{f.segments:,}", f"{f.threshold:.6g}"] for f in record.folds],
    )


def _rhythms(found: Iterable[Any]) -> Table:
    """Of score's rhythms or of robustness', which have intervals."""
    return Table(
        ["rhythm", "label", "subjects", "segments", "called AF", "sensitivity", "specificity"],
        [
            [
                r.rhythm,
                "AF" if r.label else "not AF",
                *map(str, (r.subjects, r.segments, r.called_af)),
                figure(r.sensitivity),
                figure(r.specificity),
            ]
            for r in found
        ],
    )


def _budgets(record: CostRecord | None) -> Table | None:
    """The cost record's gates, each with its own evidence: counts of the graph have none but themselves."""
    if record is None:
        return None
    evidence = {"flash_bytes": record.evidence, "ram_bytes": record.evidence, "latency_ms": record.latency_ms.evidence}
    return Table(
        ["cost", "value", "limit", "verdict", "evidence"],
        [
            [
                gate.name,
                _quantity(gate.value, gate.unit),
                _quantity(gate.limit, gate.unit),
                gate.verdict.value,
                str(evidence.get(gate.name, "counted in the graph" if gate.name in {"parameters", "macs"} else NONE)),
            ]
            for gate in record.gates
        ],
    )


def _images(record: FirmwareRecord | None) -> Table | None:
    if record is None:
        return None
    return Table(
        ["form", "verdict", "flash", "RAM", "flash and RAM are", "instructions (emulated)", "time", "the time is"],
        [
            [
                fit.form,
                fit.verdict.value,
                _quantity(fit.flash_bytes, "B"),
                _quantity(fit.ram_bytes, "B"),
                fit.size_evidence.value,
                f"{fit.instructions.total:,}" if fit.instructions else "not measured",
                _time(fit.latency_ms),
                fit.latency_ms.evidence.value,
            ]
            for fit in record.forms
        ],
    )


def _host(record: BenchRecord | None) -> Table | None:
    if record is None:
        return None
    return Table(
        ["form", "mean ms", "median ms", "95th percentile ms", "weights", "evidence", "on"],
        [
            [
                form.form or form.file,
                *map(_number, (form.latency_ms.mean_ms, form.latency_ms.median_ms, form.latency_ms.p95_ms)),
                _quantity(form.weight_bytes, "B"),
                form.latency_ms.evidence.value,
                form.latency_ms.source,
            ]
            for form in record.forms
        ],
    )


def _hops(record: VerifyRecord | None) -> Table | None:
    if record is None:
        return None
    return Table(
        ["step", "verdict", "segments", "labels that differ", "F1", "Fβ mean", "cosine", "largest difference"],
        [
            [
                hop.name,
                hop.verdict.value,
                str(hop.parity.segments) if hop.parity else NONE,
                str(len(hop.label_flips)) if hop.parity else NONE,
                _from_to(hop.f1_before, hop.f1_after),
                _from_to(hop.fbeta_mean_before, hop.fbeta_mean_after),
                NONE if hop.parity is None or hop.parity.cos is None else f"{hop.parity.cos:.6f}",
                _number(hop.parity.max_abs if hop.parity else None),
            ]
            for hop in record.hops
        ],
    )


def _forms(record: QuantizeRecord | None) -> Table | None:
    if record is None:
        return None
    return Table(["form", "weights"], [[form, _quantity(size, "B")] for form, size in record.weight_bytes.items()])


def _robustness(record: RobustnessRecord | None) -> Table | None:
    if record is None:
        return None
    return Table(
        ["disturbance", "Fβ mean", "change (95 %)", "G", "F1", "sensitivity", "specificity", "labels changed"],
        [
            [
                row.name,
                figure(row.fbeta_mean),
                figure(row.fbeta_change),
                *map(figure, (row.g, row.f1, row.sensitivity, row.specificity)),
                f"{row.share_changed:.2%} ({row.labels_changed:,})",
            ]
            for row in record.rows
        ],
    )


def _degenerate(record: RobustnessRecord | None) -> Table | None:
    if record is None:
        return None
    return Table(
        ["segment", "answer", "margin"],
        [
            [a.name, "refused" if a.refused else "AF" if a.label else "not AF", a.refused or _number(a.margin)]
            for a in record.degenerate
        ],
    )


def _commands(folder: Path, records: Records, dataset: Dataset | None) -> list[str]:
    """What makes the candidate again and measures it; words in capitals are the reader's."""
    place = str(dataset.folder) if dataset else "DATA"
    data, board = ("--data", place), ("--target", records.target or "TARGET")
    tested = bool(records.config.split.test)
    train: tuple[str, ...] = ("train", *data, *board, "--like", str(folder), "--out", "NEW")
    lines: list[tuple[str, ...]] = []
    if records.folds:
        count, seed = str(records.folds.assignment.count), str(records.folds.assignment.seed)
        lines.append(("data", "folds", place, "--count", count, "--seed", seed, "--out", "folds.json"))
        train = (*train, "--folds", "folds.json", *(() if tested else ("--refit",)))
    lines += [
        train,
        ("export", "NEW", *data),
        ("quantize", "NEW", *data),
        ("verify", "NEW", *data, *board),
        ("firmware", "build", "NEW", *board),
        ("bench", "NEW", *data, *board),
        ("score", "NEW", *data, *board, *(() if tested else ("--out-of-fold",))),
        ("robustness", "NEW", *data, *board, *_of_robustness(records)),
        ("card", "NEW", *data, "--out", "MODEL_CARD.md"),
    ]
    return [shlex.join(["ecm-edge", *line]) for line in lines]


def _of_robustness(records: Records) -> tuple[str, ...]:
    """The options that the record was made with; else those that a candidate needs."""
    record = records.robustness
    if record is None:
        return () if records.config.split.test else ("--subjects", "all")
    subjects = "SUBJECTS" if record.part == "chosen" else record.part
    form = ("--form", record.form) if record.form else ()
    return (*form, "--subjects", subjects, "--segments", str(record.segments), "--seed", str(record.seed))


def _quantity(value: float | None, unit: str) -> str:
    if value is None:
        return NONE
    if unit == "B" and abs(value) >= _KIB:
        return f"{value / _KIB:,.1f} KiB"
    return f"{_number(value)} {unit}".strip()


def _number(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def _time(latency: Latency) -> str:
    ends = (
        "" if latency.low_ms is None or latency.high_ms is None else f" ({latency.low_ms:.4g} … {latency.high_ms:.4g})"
    )
    return f"{latency.mean_ms:.4g} ms{ends}"


def _from_to(before: float | None, after: float | None) -> str:
    return NONE if before is None or after is None else f"{before:.4f} → {after:.4f}"
