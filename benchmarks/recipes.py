"""Recipes of training under one budget: each a named change of one base, on the same subjects, out of fold.

    python -m benchmarks.recipes DATA --target loongson-2k0500 --folds FOLDS.json -o OUT    trains and prints the table
    the same with --only focal,mixup                                                        trains these and the base
    the same with --write                                                                   writes it into README.md too

For each recipe and seed one network a fold is trained, on the subjects of the other folds. The threshold of a fold is
chosen on what the subjects of the others were answered, by networks that have seen that fold: this compares recipes,
it is no claim about any of them (`ecm_edge.training.crossval` makes one).

The budget is segment passes, segments times epochs. A recipe that trains on more or fewer segments than the base gets
the number of epochs that comes nearest to the base's passes. Teachers are trained within the same folds, once
for all of a seed; they draw their own half of the data, and their passes come on top and have a column.

OUT keeps a file for each recipe and seed, and the teachers; the next run goes on from there.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ecm_edge import metrics, targets
from ecm_edge.base import files, provenance
from ecm_edge.base.errors import CandidateError, DatasetError, EcmEdgeError
from ecm_edge.base.processes import run_all
from ecm_edge.base.records import Record, Verdict
from ecm_edge.candidate import candidate
from ecm_edge.candidate.training_config import Augmentation, Scalar, Teacher, TrainingConfig
from ecm_edge.data import splits
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.splits import FoldAssignment
from ecm_edge.forms import cost, export
from ecm_edge.metrics import Scores
from ecm_edge.metrics.resample import interval, subject_weights
from ecm_edge.metrics.rows import score_rows
from ecm_edge.training import distill, epochs, out_of_fold, train
from ecm_edge.training.data import NOT_TAUGHT, Teaching, TrainingData
from ecm_edge.training.train_rows import trained_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from ecm_edge.base.records import Interval
    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.data.splits import Split
    from ecm_edge.targets import Target

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- recipes table: python -m benchmarks.recipes --write -->", "<!-- end of the recipes table -->"
COLUMNS = ("recipe", "change", "MACs", "Fβ (seeds)", "G", "F1", "Fβ less base's (95 %)", "passes", "and teachers'", "s")
NOT_CHANGED = "–"
_TEACHERS_FROM = 100  # the seeds of teachers: from 100 on for those of seed 0, from 200 for those of seed 1


class Recipe(Record):
    """A network and how it is trained; `change` says what differs from the base."""

    name: str
    change: str = NOT_CHANGED
    family: str
    network: dict[str, Scalar]
    training: TrainingConfig

    def configure(self, dataset: Dataset, split: Split, seed: int) -> CandidateConfig:
        """The recipe bound to data and a seed; its teachers have seeds that no other network has."""
        how, teacher = self.training, self.training.teacher
        if teacher is not None:
            how = how.model_copy(update={"teacher": teacher.model_copy(update={"seed": _TEACHERS_FROM * (seed + 1)})})
        return candidate.configure(dataset, split, self.family, self.network, how, seed)


BASE = Recipe(
    name="base",
    family="tcn",
    network={
        "normalize": True,
        "channels": 16,
        "stem_channels": 16,
        "first_channels": 8,
        "first_kernel": 11,
        "first_stride": 4,
        "kernel": 9,
        "stride": 2,
        "stem_depth": 3,
        "depth": 4,
        "block_kernel": 5,
        "separable": True,
        "pooling": "mean_max_std",
        "dropout": 0.1,
    },
    training=TrainingConfig(
        epochs=8,
        data_share=0.5,
        batch_size=128,
        learning_rate=6e-3,
        weight_decay=0.02,
        schedule="one_cycle",
        keep="last",
        weight_average="ema",
        average_decay=0.995,
        loss="cross_entropy",
        augmentation=Augmentation(sign_flip=0.5, gain=0.3, shift=60, noise=0.1),
    ),
)

# As many MACs as the base within 2 %.
RHYTHM_WAVE: dict[str, Scalar] = {
    "normalize": True,
    "wave_channels": 8,
    "rhythm_channels": 16,
    "depth": 4,
    "kernel": 11,
    "separable": True,
    "pooling": "mean_max_std",
    "dropout": 0.1,
}


def recipes(base: Recipe = BASE) -> list[Recipe]:
    """The base and its changes, in the table's order."""
    teacher = Teacher(family=base.family, network=base.network, training=base.training)
    teachers = teacher.model_copy(update={"count": 3})
    disturbed = {"disturbance": 0.6, "disturbance_layers": 2}
    other = {"family": "rhythm_wave", **{k: v for k, v in RHYTHM_WAVE.items() if base.network.get(k) != v}}
    return [
        base,
        _trained(base, "no_average", weight_average="none"),
        _trained(base, "focal", loss="focal"),
        _trained(base, "soft_fbeta", loss="soft_fbeta"),
        _trained(base, "label_smoothing", label_smoothing=0.1),
        _trained(base, "mixup", mixup=0.5),
        _trained(base, "disturbance", disturbed),
        _trained(base, "disturbance_mixup", disturbed, mixup=0.5),
        _trained(base, "in_band", {**disturbed, "in_band": 0.4}),
        _trained(base, "stretch", {"stretch": 0.2}),
        _trained(base, "recut", {"shift": 0, "recut": True}),
        _trained(base, "recut_tempo", {"shift": 0, "recut": True, "tempo": 0.25}),
        _trained(base, "splice", {"splice": 100}),
        _trained(base, "filter", {"filter": 0.3}),
        _trained(base, "combined", {"noise": 0.0, **disturbed, "stretch": 0.2, "filter": 0.3}, mixup=0.5),
        _trained(base, "blank", train_on_blank=True),
        _trained(base, "doubted", doubted="drop", teacher=teacher),
        _trained(base, "distill", distill=1.0, teacher=teachers),
        _shaped(base, "no_normalize", normalize=False),
        _shaped(base, "one_block", depth=1),
        _shaped(base, "small", channels=10, stem_channels=10, first_channels=6),
        _shaped(base, "squeeze_excite", squeeze_excite=True),
        _changed(base, "rhythm_wave", other, family="rhythm_wave", network=RHYTHM_WAVE),
    ]


def _trained(base: Recipe, name: str, augmentation: Mapping[str, Scalar] | None = None, **training: Any) -> Recipe:
    augmentation = augmentation or {}
    how = {**base.training.model_dump(), **training}
    how["augmentation"] |= augmentation
    return _changed(base, name, {**augmentation, **training}, training=TrainingConfig.model_validate(how))


def _shaped(base: Recipe, name: str, **network: Scalar) -> Recipe:
    return _changed(base, name, network, network={**base.network, **network})


def _changed(base: Recipe, name: str, said: Mapping[str, object], **fields: object) -> Recipe:
    change = ", ".join(f"{key} = {_said(base, value)}" for key, value in said.items())
    return base.model_copy(update={"name": name, "change": change, **fields})


def _said(base: Recipe, value: object) -> str:
    if not isinstance(value, Teacher):
        return str(value)
    return base.name if value.count == 1 else f"{value.count} × {base.name}"


class Result(Record):
    """What a recipe scored with one seed; lists go by fold.

    `asked_sha256` is of everything that it depends on. `passes` and `seconds` are of the recipe's own networks, added
    up; `teacher_passes` of those that taught them, whether or not others were taught by the same.
    """

    asked_sha256: str
    recipe: Recipe
    seed: int
    macs: int
    epochs: list[int]
    thresholds: list[float]
    passes: int
    teacher_passes: int
    seconds: float
    scores: Scores


@dataclass(frozen=True)
class Setting:
    """What all recipes share."""

    base: Recipe
    data: Path
    folds: FoldAssignment
    target: Target
    out: Path

    @property
    def teachers(self) -> Path:
        """Where the teachers are kept."""
        return self.out / "teachers"

    def path(self, recipe: Recipe, seed: int) -> Path:
        """Where a result is kept."""
        return self.out / f"{recipe.name}.{seed}.json"

    def asked(self, recipe: Recipe, seed: int) -> str:
        """The hash of what a result depends on."""
        return files.sha256_json(
            {
                "recipe": recipe.model_dump(mode="json"),
                "seed": seed,
                "budget": self.base.training.model_dump(mode="json"),
                "folds": self.folds.model_dump(mode="json"),
                "rule": self.target.score.model_dump(mode="json") if self.target.score else None,
                "tool": provenance.collect().tool_version,
            }
        )

    def saved(self, recipe: Recipe, seed: int) -> Result | None:
        """What an earlier run found; None where it did not, or asked for something else."""
        try:
            result = Result.load(self.path(recipe, seed))
        except CandidateError:
            return None
        return result if result.asked_sha256 == self.asked(recipe, seed) else None


def run(
    setting: Setting, chosen: Sequence[Recipe], seeds: Sequence[int], workers: int, tell: Callable[[str], None]
) -> None:
    """Train what has no result yet; who needs a teacher comes last.

    Raises:
        CandidateError: a training gave no finite loss.
        DatasetError: the folds were made for another data set, or some part of them has one class only.
        OutputError: the folder cannot be written, or another process works there.
    """
    dataset = open_dataset(setting.data)
    splits.check_folds(setting.folds, dataset)
    try:
        setting.out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise files.cannot_write(setting.out, problem) from problem
    with files.locked(setting.out):
        todo = [(recipe, seed) for seed in seeds for recipe in chosen if setting.saved(recipe, seed) is None]
        teachers = {teacher.sha256: teacher for job in todo for teacher in _teachers(setting, dataset, *job)}
        first: list[Callable[[], str]] = [partial(_train, setting, *job) for job in todo if not job[0].training.listens]
        first += [partial(_teach, setting, teacher) for teacher in teachers.values()]
        last = [partial(_train, setting, *job) for job in todo if job[0].training.listens]
        for stage in (first, last):
            for number, line in enumerate(run_all(stage, workers), 1):
                tell(f"{number} of {len(stage)}: {line}")


def _split(setting: Setting, dataset: Dataset, number: int) -> Split:
    return splits.leave_out(dataset, setting.folds, [number], validation_share=0.0)


def _teachers(setting: Setting, dataset: Dataset, recipe: Recipe, seed: int) -> list[CandidateConfig]:
    """The teachers of a recipe's networks, each once."""
    found = {}
    for number in range(setting.folds.count):
        config = recipe.configure(dataset, _split(setting, dataset, number), seed)
        found |= {teacher.sha256: teacher for teacher in distill.teachers_for(config, dataset, setting.folds)}
    return list(found.values())


def _teach(setting: Setting, teacher: CandidateConfig) -> str:
    distill.trained(teacher, open_dataset(setting.data), setting.teachers)
    return f"a teacher of {len(teacher.split.train)} subjects, seed {teacher.seed}"


def _train(setting: Setting, recipe: Recipe, seed: int) -> str:
    """Train a recipe's networks, write down what they scored, and say it."""
    result = measure(setting, recipe, seed)
    result.save(setting.path(recipe, seed))
    return f"{recipe.name}, seed {seed}: Fβ {result.scores.fbeta_mean.value:.4f}, {result.seconds:.0f} s"


def measure(setting: Setting, recipe: Recipe, seed: int) -> Result:
    """Train a recipe's networks, one a fold, and score what they answer out of fold; n labelled rows."""
    dataset, target = open_dataset(setting.data), setting.target
    rows = out_of_fold.labelled_rows(dataset)
    subjects = np.array(dataset.subject_names(rows))  # (n,)
    fold = np.array([setting.folds.folds[name] for name in subjects.tolist()])  # (n,)
    networks = [_network(setting, dataset, recipe, seed, number) for number in range(setting.folds.count)]
    before = np.empty(len(rows), np.float32)
    for number, network in enumerate(networks):
        before[fold == number] = network.margins
    thresholds = choose_thresholds(dataset.labels[rows], before, subjects, fold, target)
    after = before - np.asarray(thresholds, np.float32)[fold]
    return Result(
        asked_sha256=setting.asked(recipe, seed),
        recipe=recipe,
        seed=seed,
        macs=macs(recipe.configure(dataset, splits.everyone(dataset), seed), dataset),
        epochs=[network.epochs for network in networks],
        thresholds=thresholds,
        passes=sum(network.passes for network in networks),
        teacher_passes=sum(
            _segments(teacher, train.load_data(dataset, teacher.split)) * teacher.training.epochs
            for teacher in _teachers(setting, dataset, recipe, seed)
        ),
        seconds=sum(network.seconds for network in networks),
        scores=score_rows(after, dataset, rows, target),
    )


def choose_thresholds(
    labels: NDArray[np.int8],
    margins: NDArray[np.float32],
    subjects: NDArray[np.str_],
    fold: NDArray[np.int64],
    target: Target,
) -> list[float]:
    """A threshold for each fold, chosen on the rows of the others; all arguments are (n,)."""
    return [
        metrics.choose_threshold(labels[fold != f], margins[fold != f], subjects[fold != f], target.score)
        for f in range(int(fold.max()) + 1)
    ]


@dataclass(frozen=True)
class _Network:
    """What one network answers its fold, (m,) margins of the labelled rows, ascending, and what it took."""

    margins: NDArray[np.float32]
    epochs: int
    passes: int
    seconds: float


def _network(setting: Setting, dataset: Dataset, recipe: Recipe, seed: int, number: int) -> _Network:
    """Train the network without fold `number` for as many epochs as come nearest to the base's passes."""
    split = _split(setting, dataset, number)
    data = train.load_data(dataset, split)
    config = recipe.configure(dataset, split, seed)
    teaching = distill.teaching(config, dataset, setting.teachers, setting.folds)
    budget = _segments(setting.base.configure(dataset, split, seed), data) * setting.base.training.epochs
    count = max(1, round(budget / _segments(config, data, teaching)))
    how = config.training.model_copy(update={"epochs": count})
    config = config.model_copy(update={"training": how})
    trained = train.fit(config, data, rule=setting.target.score, teaching=teaching)
    samples = train.samples_of(dataset, dataset.rows_of(split.test))
    scores = epochs.predict(trained.network, samples, torch.device("cpu")).numpy()  # (m, 2)
    record = trained.record
    passes = record.train_segments * len(record.epochs)
    return _Network(scores[:, 1] - scores[:, 0], len(record.epochs), passes, record.seconds)


def _segments(config: CandidateConfig, data: TrainingData, teaching: Teaching = NOT_TAUGHT) -> int:
    """How many segments of the training part an epoch goes through."""
    return len(trained_rows(data, config.training, config.seed, teaching.unseen))


def macs(config: CandidateConfig, dataset: Dataset) -> int:
    """Multiply-accumulates of one inference of the network, simplified as it would ship."""
    return cost.count(export.untrained(config, dataset.samples[:1]).simplified).macs


def difference(ours: Sequence[Result], base: Sequence[Result]) -> Interval | None:
    """Mean Fβ less the base's, averaged over the seeds, with a 95 % interval by resampling subjects."""
    gain = _fbeta_by_subject(ours) - _fbeta_by_subject(base)  # (S,)
    return interval(subject_weights(len(gain)) @ gain / len(gain))


def _fbeta_by_subject(results: Sequence[Result]) -> NDArray[np.float64]:
    """(S,) Fβ of each subject, averaged over the seeds."""
    by_seed = [[subject.fbeta for subject in result.scores.by_subject] for result in results]
    return np.asarray(np.mean(by_seed, axis=0))


def table(chosen: Sequence[Recipe], found: Mapping[str, Sequence[Result]]) -> str:
    """The recipes as Markdown, from their results by name, one for each seed; a recipe without any did not run."""
    base = found.get(chosen[0].name, [])
    lines = [_line(COLUMNS), _line("---" for _ in COLUMNS)]
    lines += [_line(_cells(recipe, found.get(recipe.name, []), base)) for recipe in chosen]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(recipe: Recipe, results: Sequence[Result], base: Sequence[Result]) -> list[str]:
    """A recipe's line; a difference whose interval lies above or below 0 is in bold type."""
    names = [recipe.name, recipe.change]
    if not results:
        return [*names, Verdict.NOT_RUN, *[NOT_CHANGED] * (len(COLUMNS) - 3)]
    fbeta = [result.scores.fbeta_mean.value for result in results]
    f1 = [result.scores.f1.value for result in results if result.scores.f1]
    passes, taught = (sum(values) // len(results) for values in zip(*map(_passes, results), strict=True))
    return [
        *names,
        f"{results[0].macs:,}",
        f"{np.mean(fbeta):.4f} ({min(fbeta):.4f} … {max(fbeta):.4f})",
        f"{np.mean([result.scores.g.value for result in results]):.4f}",
        f"{np.mean(f1):.4f}" if f1 else NOT_CHANGED,
        _gain(difference(results, base)) if base and recipe.change != NOT_CHANGED else NOT_CHANGED,
        f"{passes:,}",
        f"{taught:,}",
        f"{np.mean([result.seconds for result in results]):,.0f}",
    ]


def _passes(result: Result) -> tuple[int, int]:
    return result.passes, result.passes + result.teacher_passes


def _gain(found: Interval | None) -> str:
    if found is None or found.low is None or found.high is None:
        return NOT_CHANGED
    text = f"{found.value:+.4f} ({found.low:+.4f} … {found.high:+.4f})"
    return f"**{text}**" if found.low > 0 or found.high < 0 else text


def write(shown: str) -> None:
    """Put the table into the README, in place of the one before."""
    before, rest = README.read_text(encoding="utf-8").split(BEGIN)
    README.write_text(f"{before}{BEGIN}\n\n{shown}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")


def main(arguments: list[str], base: Recipe = BASE) -> None:
    """Train what is missing, print the table, and write it into the README if asked to."""
    known = recipes(base)
    asked = _parser(known).parse_args(arguments)
    chosen = [recipe for recipe in known if not asked.only or recipe is known[0] or recipe.name in asked.only]
    try:
        folds = FoldAssignment.load(asked.folds, DatasetError)
        setting = Setting(base, asked.data, folds, targets.load(asked.target), asked.out)
        run(setting, chosen, range(asked.seeds), asked.workers, lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201 - a command's progress
    except EcmEdgeError as problem:
        sys.stderr.write(f"{problem}\n")
        sys.exit(2)
    found: dict[str, list[Result]] = {}
    for recipe in known:
        results = [setting.saved(recipe, seed) for seed in range(asked.seeds)]
        if all(results):
            found[recipe.name] = [result for result in results if result]
    shown = f"{table(known, found)}\n\n{_caption(setting, asked.seeds)}"
    sys.stdout.write(f"{shown}\n")
    if asked.write:
        write(shown)


def _parser(known: Sequence[Recipe]) -> argparse.ArgumentParser:
    names = [recipe.name for recipe in known]

    def only(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in names]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(names)}")
        return chosen

    def count(text: str) -> int:
        if (value := int(text)) < 1:
            raise argparse.ArgumentTypeError(f"one or more, not {value}")
        return value

    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes", description="Recipes under one budget.")
    parser.add_argument("data", type=Path, help="the data set")
    parser.add_argument("--target", required=True, help="whose rule weighs Fβ and G in a threshold")
    parser.add_argument("--folds", type=Path, required=True, help="as `ecm-edge data folds` wrote them")
    parser.add_argument("--seeds", type=count, default=2, help="so many, from 0 on")
    parser.add_argument("--workers", type=count, default=os.cpu_count(), help="processes, of one thread each")
    parser.add_argument("-o", "--out", type=Path, required=True, help="keeps every result")
    parser.add_argument("--only", type=only, help="names with commas between them; the base comes with them")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    return parser


def _caption(setting: Setting, seeds: int) -> str:
    header, folds = open_dataset(setting.data).header, setting.folds
    data = f"{'synthetic ' if header.synthetic else ''}data set {header.content_sha256[:12]}"
    return f"{len(folds.folds)} subjects in {folds.count} folds, seeds 0 to {seeds - 1}, {data}."


if __name__ == "__main__":
    main(sys.argv[1:])
