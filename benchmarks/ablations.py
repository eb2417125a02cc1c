"""What each option of a training on several sources is worth: one change at a time, the same passes, several seeds.

    python -m benchmarks.ablations DATA --folds FOLDS --noise FOLDER -o OUT --write

DATA is merged from the contest's recordings (`af`) and those of another recorder (`cinc`), FOLDS its folds by source,
FOLDER has WFDB records of noise. Of the folds only those of `--answer` are answered, each by a network that was trained
without it. OUT keeps what every network answered, so that an interrupted run goes on. `--write` keeps the table as a
record, which `python -m benchmarks.figures` shows in benchmarks/README.md.

The figures are at the threshold -ln β, which looks at no answer.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import Field

from ecm_edge import metrics, targets
from ecm_edge.base import files, provenance
from ecm_edge.base.errors import DatasetError
from ecm_edge.base.processes import run_all
from ecm_edge.base.records import Record
from ecm_edge.base.threads import usable_cores
from ecm_edge.candidate import candidate, space
from ecm_edge.candidate.row_sampling import spread
from ecm_edge.data import splits
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.splits import FoldAssignment
from ecm_edge.evaluate import timing
from ecm_edge.evaluate.broadened_figures import broadened_figures
from ecm_edge.evaluate.disturbances import DISTURBANCES, Block
from ecm_edge.metrics.rows import score_rows
from ecm_edge.training import epochs, out_of_fold, train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.candidate.training_config import Scalar
    from ecm_edge.data.dataset import Dataset

PROGRAM = "python -m benchmarks.ablations"
RECORD = Path(__file__).parent / "records" / "ablations.json"
CONTEST, OTHER = "af", "cinc"
TARGET = "loongson-2k0500"
MOTION, IN_BAND = "motion, 1 σ", "in-band noise, 0.5 σ"
WIDTH_MS = 150
SEGMENTS = 3000  # of the fold, spread over its subjects, that are disturbed and broadened

NETWORK: dict[str, Scalar] = {
    "normalize": True,
    "first_channels": 8,
    "first_kernel": 7,
    "first_stride": 4,
    "stem_depth": 3,
    "stem_channels": 16,
    "kernel": 9,
    "stride": 2,
    "channels": 16,
    "depth": 4,
    "block_kernel": 5,
    "separable": True,
    "pooling": "mean_max_std",
}
"""That of the reference model within 200,000 MACs."""

TRAINING: dict[str, Scalar] = {
    "epochs": 8,
    "batch_size": 128,
    "learning_rate": 0.009,
    "weight_decay": 0.02,
    "keep": "last",
    "weight_average": "ema",
    "average_decay": 0.99,
    "mixup": 0.5,
    "threshold": "by_beta",
    "sampling.segments": 20_000,
    "sampling.label": 0.8,
    "sampling.rhythm": 0.5,
    "sampling.subject": 0.5,
    "augmentation.gain": 0.3,
    "augmentation.noise": 0.0,
    "augmentation.shift": 0,
    "augmentation.recut": True,
    "augmentation.tempo": 0.25,
    "augmentation.splice": 100,
    "augmentation.filter": 0.3,
    "augmentation.disturbance": 0.6,
}
"""The base: as the reference model's, but for what is about rhythm and recorded noise."""

_STRONG: dict[str, Scalar] = {"augmentation.disturbance": 1.2, "augmentation.in_band": 0.15}
_SHAPES: dict[str, Scalar] = {"augmentation.qrs": 0.3, "augmentation.p_wave": 0.2, "augmentation.t_wave": 0.2}
_WIDE: dict[str, Scalar] = {"first_channels": 16, "stem_channels": 32, "channels": 40, "depth": 5}


@dataclass(frozen=True)
class Recipe:
    """A change of the base: of its training, of its network, or of the sources that it is trained on."""

    name: str
    training: dict[str, Scalar]
    network: dict[str, Scalar]
    contest_only: bool = False

    @property
    def change(self) -> str:
        """In words what differs from the base."""
        changed = [f"{name} = {value}" for name, value in (self.training | self.network).items()]
        return ", ".join([*(["trained on the contest's subjects only"] if self.contest_only else []), *changed]) or "–"


def recipes(noise: str) -> list[Recipe]:
    """The base and its changes, in the table's order; `noise` is the folder of recorded noise."""
    as_they_are: dict[str, Scalar] = dict.fromkeys(("sampling.label", "sampling.rhythm", "sampling.subject"), 0.0)
    recorded: dict[str, Scalar] = {"augmentation.recorded": noise}
    return [
        Recipe("base", {}, {}),
        Recipe("contest_only", {}, {}, contest_only=True),
        Recipe("as_they_are", as_they_are, {}),
        Recipe("no_splice", {"augmentation.splice": 0}, {}),
        Recipe("recorded", recorded, {}),
        Recipe("strong_noise", _STRONG, {}),
        Recipe("qrs", {"augmentation.qrs": 0.3}, {}),
        Recipe("p_wave", {"augmentation.p_wave": 0.2}, {}),
        Recipe("t_wave", {"augmentation.t_wave": 0.2}, {}),
        Recipe("auxiliary", {"auxiliary": 0.2}, {}),
        Recipe("bag_mean", {"bag_windows": 2, "bag": "mean", "sampling.segments": 10_000}, {}),
        Recipe("bag_loudest", {"bag_windows": 2, "bag": "loudest", "sampling.segments": 10_000}, {}),
        Recipe("times", {}, {"times_channels": 8}),
        Recipe("shipped", {**recorded, **_STRONG, **_SHAPES}, {}),
        Recipe("shipped_wide", {**recorded, **_STRONG, **_SHAPES}, _WIDE),
    ]


class Figures(Record):
    """The figures of one recipe and seed, over the folds that were answered; None where there are no such segments.

    fbeta, g, f1:          of the contest's subjects.
    sensitivity, …:        of the other recorder's windows; `specificity_n` and `_o` by their rhythm.
    motion, in_band:       mean Fβ that the contest's subjects lose under the disturbance.
    broadened, …_other:    share of regular sinus segments with a QRS of 150 ms called AF, by source.
    """

    fbeta: float
    g: float
    f1: float | None
    sensitivity: float | None
    specificity: float | None
    specificity_n: float | None
    specificity_o: float | None
    motion: float
    in_band: float
    broadened: float
    broadened_other: float


class Line(Record):
    """One recipe, with the figures of each seed."""

    recipe: str
    change: str
    seeds: list[Figures] = Field(min_length=1)


class Ablations(Record):
    """The comparison; the base is the first line."""

    command: str
    commit: str | None
    date_utc: str
    machine: str
    dataset_sha256: str
    folds_answered: list[int]
    subjects: dict[str, int]
    passes: int
    lines: list[Line]


@dataclass(frozen=True)
class Setting:
    """What all networks share."""

    data: Path
    folds: FoldAssignment
    answered: tuple[int, ...]
    out: Path


@dataclass(frozen=True)
class Job:
    """One network: a recipe, a seed, and the fold that is left out."""

    setting: Setting
    recipe: Recipe
    seed: int
    fold: int

    def configure(self, dataset: Dataset) -> CandidateConfig:
        """Its configuration; the split tests the fold."""
        split = splits.leave_out(dataset, self.setting.folds, [self.fold], validation_share=0)
        if self.recipe.contest_only:
            (contest,) = (source for source in dataset.header.sources if source.name == CONTEST)
            split = split.model_copy(update={"train": [name for name in split.train if name in set(contest.subjects)]})
        training = space.training_config(TRAINING | self.recipe.training)
        return candidate.configure(dataset, split, "tcn", NETWORK | self.recipe.network, training, self.seed)

    def path(self, config: CandidateConfig) -> Path:
        """Where its answers are kept, named by what they depend on."""
        key = files.sha256_json({"config": config.sha256, "tool": provenance.collect().tool_version})
        return self.setting.out / f"{self.recipe.name}-{self.seed}-{self.fold}-{key[:12]}.npz"


def answer(job: Job) -> Job:
    """Train the job's network, unless its answers are there, and keep what it answers to its fold."""
    dataset = open_dataset(job.setting.data)
    config = job.configure(dataset)
    if not job.path(config).is_file():
        network = train.fit(config, train.load_data(dataset, config.split)).network
        files.write_atomic(job.path(config), out_of_fold.to_bytes(**_answers(network, dataset, config)))
    return job


def _answers(network: torch.nn.Module, dataset: Dataset, config: CandidateConfig) -> dict[str, NDArray[np.float32]]:
    """Margins less -ln β: of the whole fold, of some of it under disturbances, and counts of broadened segments."""
    threshold = np.float32(metrics.beta_threshold(targets.load(TARGET).score))

    def margins(samples: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        del rows
        tensor = torch.from_numpy(samples.astype(np.float32)).unsqueeze(1)
        scores = epochs.predict(network, tensor, torch.device("cpu")).numpy()
        return np.asarray(scores[:, 1] - scores[:, 0] - threshold, np.float32)

    rows = dataset.rows_of(config.split.test)
    some = np.concatenate([spread(dataset, own, SEGMENTS) for own in _by_source(dataset, rows).values()])
    block = Block(np.asarray(dataset.samples[some]), some, dataset.header.sampling_rate_hz, 0)
    broad = {row.source: row for row in broadened_figures(margins, dataset, some).rows if row.width_ms == WIDTH_MS}
    counts = [(row.called_positive.value * row.segments, row.segments) for row in (broad[CONTEST], broad[OTHER])]
    return {
        "all": margins(np.asarray(dataset.samples[rows]), rows),
        "some": margins(block.samples, some),
        MOTION: margins(DISTURBANCES[MOTION](block), some),
        IN_BAND: margins(DISTURBANCES[IN_BAND](block), some),
        "broadened": np.asarray(counts, np.float32),
    }


def _by_source(dataset: Dataset, rows: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    names = np.array(dataset.source_names(rows))
    return {name: rows[names == name] for name in (CONTEST, OTHER)}


def figures(jobs: Sequence[Job]) -> Figures:
    """The figures of the networks of one recipe and seed, together."""
    dataset, target = open_dataset(jobs[0].setting.data), targets.load(TARGET)
    kept: dict[str, list[NDArray[np.float32]]] = {}
    rows, some = [], []
    for job in jobs:
        config = job.configure(dataset)
        for name, values in out_of_fold.from_bytes(job.path(config).read_bytes()).items():
            kept.setdefault(name, []).append(values)
        rows.append(dataset.rows_of(config.split.test))
        by_source = _by_source(dataset, rows[-1])
        some.append(np.concatenate([spread(dataset, own, SEGMENTS) for own in by_source.values()]))
    every, part = np.concatenate(rows), np.concatenate(some)
    found = {name: np.concatenate(values) for name, values in kept.items() if name != "broadened"}
    contest, contest_part = (np.array(dataset.source_names(r)) == CONTEST for r in (every, part))
    scores = score_rows(found["all"][contest], dataset, every[contest], target)
    fbeta = {
        name: score_rows(found[name][contest_part], dataset, part[contest_part], target).fbeta_mean.value
        for name in ("some", MOTION, IN_BAND)
    }
    other = score_rows(found["all"][~contest], dataset, every[~contest], target)
    by_rhythm = {rhythm.rhythm: rhythm.specificity for rhythm in other.by_rhythm}
    called, counted = np.sum(kept["broadened"], axis=0).T  # (2,) by source
    return Figures(
        fbeta=scores.fbeta_mean.value,
        g=scores.g.value,
        f1=scores.f1.value if scores.f1 else None,
        sensitivity=other.recall.value if other.recall else None,
        specificity=other.specificity.value if other.specificity else None,
        specificity_n=by_rhythm.get("N"),
        specificity_o=by_rhythm.get("O"),
        motion=fbeta["some"] - fbeta[MOTION],
        in_band=fbeta["some"] - fbeta[IN_BAND],
        broadened=float(called[0] / counted[0]),
        broadened_other=float(called[1] / counted[1]),
    )


COLUMNS = {
    "Fβ": "fbeta",
    "G": "g",
    "F1": "f1",
    "Se": "sensitivity",
    "Sp": "specificity",
    "Sp N": "specificity_n",
    "Sp O": "specificity_o",
    "motion": "motion",
    "in band": "in_band",
    "broad": "broadened",
    "broad, other": "broadened_other",
}


def table(record: Ablations) -> str:
    """The record as Markdown: means over the seeds, and the range of them."""
    subjects = " and ".join(f"{count:,} of {name}" for name, count in record.subjects.items())
    caption = (
        f"{record.date_utc[:10]}, {record.machine}: {subjects}, folds {', '.join(map(str, record.folds_answered))} "
        f"answered, {len(record.lines[0].seeds)} seeds, {record.passes:,} passes a network."
    )
    rows = [("recipe", "change", *COLUMNS), ("---",) * (len(COLUMNS) + 2), *map(_cells, record.lines)]
    return "\n".join([caption, "", *(f"| {' | '.join(row)} |" for row in rows)])


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.recipe,
        line.change,
        *(_spread([getattr(one, field) for one in line.seeds]) for field in COLUMNS.values()),
    )


def _spread(found: Sequence[float | None]) -> str:
    values = [value for value in found if value is not None]
    if not values:
        return "–"
    return f"{np.mean(values):.3f} ({min(values):.3f} … {max(values):.3f})"


def load() -> Ablations | None:
    """The comparison on record, if there is one."""
    return Ablations.load(RECORD) if RECORD.is_file() else None


def shown() -> str:
    """The table of the comparison on record."""
    record = load()
    return table(record) if record else f"NOT RUN: `{PROGRAM} … --write` makes it."


def main(arguments: list[str]) -> None:
    """Train what is missing, print the table, and keep it if asked to."""
    options = _parser().parse_args(arguments)
    known = recipes(options.noise)
    chosen = [one for one in known if not options.only or one.name in ("base", *options.only)]
    folds = FoldAssignment.load(options.folds, DatasetError)
    options.out.mkdir(parents=True, exist_ok=True)
    setting = Setting(options.data, folds, tuple(options.answer), options.out)
    jobs = [
        Job(setting, recipe, seed, fold)
        for seed, recipe, fold in itertools.product(range(options.seeds), chosen, options.answer)
    ]
    for number, job in enumerate(run_all([partial(answer, job) for job in jobs], options.workers), 1):
        print(f"{number} of {len(jobs)}: {job.recipe.name}, seed {job.seed}, fold {job.fold}", file=sys.stderr)  # noqa: T201 - a command's progress
    record = _record(setting, chosen, options.seeds, shlex.join([*PROGRAM.split(), *arguments]))
    sys.stdout.write(f"{table(record)}\n")
    if options.write:
        record.save(RECORD)


def _record(setting: Setting, chosen: Sequence[Recipe], seeds: int, command: str) -> Ablations:
    dataset, where = open_dataset(setting.data), provenance.collect()
    answered = [name for name, fold in setting.folds.folds.items() if fold in setting.answered]
    counts = dict.fromkeys((CONTEST, OTHER), 0)
    of = dict(zip(dataset.header.subjects, dataset.sources.tolist(), strict=True))
    for name in answered:
        counts[dataset.header.sources[of[name]].name] += 1
    return Ablations(
        command=command,
        commit=where.git_sha,
        date_utc=where.date_utc,
        machine=timing.host().split(",")[0],
        dataset_sha256=dataset.header.content_sha256,
        folds_answered=list(setting.answered),
        subjects=counts,
        passes=int(TRAINING["epochs"]) * int(TRAINING["sampling.segments"]),
        lines=[
            Line(
                recipe=recipe.name,
                change=recipe.change,
                seeds=[
                    figures([Job(setting, recipe, seed, fold) for fold in setting.answered]) for seed in range(seeds)
                ],
            )
            for recipe in chosen
        ],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Ablations of a training on several sources.")
    parser.add_argument("data", type=Path, help="the merged data set")
    parser.add_argument("--folds", type=Path, required=True, help="as `ecm-edge data folds --by-source` wrote them")
    parser.add_argument("--noise", required=True, help="a folder of WFDB records of noise")
    parser.add_argument("--answer", type=int, nargs="+", default=[0, 1], help="the folds that are answered")
    parser.add_argument("--seeds", type=int, default=2, help="so many, from 0 on")
    parser.add_argument("--workers", type=int, default=usable_cores(), help="processes, of one thread each")
    parser.add_argument("-o", "--out", type=Path, required=True, help="keeps what every network answered")
    parser.add_argument("--only", nargs="+", help="names of recipes; the base comes with them")
    parser.add_argument("--write", action="store_true", help="keep the table as a record")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
