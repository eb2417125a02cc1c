"""Cross-validation of one configuration: out-of-fold answers for every subject, nothing chosen on who is answered.

The threshold of fold f is chosen on the subjects of the other folds, each of whom is answered for this by a network
that was trained without its own fold and without f. A network that was trained without f alone, that threshold taken
off, then answers f. So F folds take F (F - 1) / 2 networks without two folds, each of use to both, and F without one.
Where the recipe takes its threshold from β, or even odds, there is nothing to choose, and no network leaves two folds
out. Where a training keeps its best epoch, it chooses that on validation subjects drawn from those that it trains on.

A teacher that the configuration listens to is trained within the same folds, before the networks that it teaches.
Every network's margins are written down as soon as it has them, and are used again by the next run that asks for the
same networks.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ecm_edge import metrics
from ecm_edge.base import files, provenance
from ecm_edge.base.errors import CandidateError
from ecm_edge.base.processes import run_all
from ecm_edge.candidate.candidate import CandidateConfig, check_dataset
from ecm_edge.data import splits
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.splits import Split
from ecm_edge.metrics.rows import score_rows
from ecm_edge.training import distill, epochs, out_of_fold, train
from ecm_edge.training.out_of_fold import CrossValidationRecord, Fold, OutOfFold
from ecm_edge.training.threshold import fold_threshold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.data.splits import FoldAssignment
    from ecm_edge.targets import Target
    from ecm_edge.training.train import Trained

TEACHERS = "teachers"
"""Where in a working folder the teachers are kept."""

_VALIDATION_SHARE = 0.2  # of the training subjects, where the best epoch is kept


@dataclass(frozen=True)
class Progress:
    """Another network has answered, the one trained without the folds `left_out`: `number` of `total` by now."""

    number: int
    total: int
    left_out: tuple[int, ...]
    seconds: float
    is_teacher: bool


def cross_validate(
    config: CandidateConfig,
    dataset: Dataset,
    target: Target,
    *,
    folds: int | FoldAssignment,
    work: Path | None = None,
    workers: int | None = None,
    tell: Callable[[Progress], None] = lambda _: None,
) -> OutOfFold:
    """Train the configuration once for each fold and each pair of folds, and score all subjects out of fold.

    Args:
        config: its own split is not used.
        dataset: the one whose hash the configuration names; every labelled subject is answered once.
        target: its scoring rule, if any, chooses the thresholds.
        folds: which subject is in which fold; or their number, assigned by the configuration's seed.
        work: keeps what every network answered, so that the next run goes on; nothing is kept without it.
        workers: processes side by side, of one thread each; as many as there are cores where None. 1 is this process.
        tell: called for every network that has answered, also where it did in an earlier run.

    Raises:
        CandidateError: the configuration was made for another data set, or training gave no finite loss.
        DatasetError: the folds were made for another data set, or as `splits.assign_folds` and `splits.leave_out`.
        OutputError: `work` cannot be written, or another process works there.
    """
    check_dataset(config, dataset)
    if isinstance(folds, int):
        folds = splits.assign_folds(dataset, count=folds, seed=config.seed)
    splits.check_folds(folds, dataset)
    if work is None:
        with tempfile.TemporaryDirectory(prefix="ecm-edge-") as scratch:
            return cross_validate(config, dataset, target, folds=folds, work=Path(scratch), workers=workers, tell=tell)
    place = work / _key(config, folds)
    setting = _Setting(config, dataset.folder, folds, target, place, work / TEACHERS)
    jobs = [_job(setting, dataset, left_out) for left_out in _networks(config, folds.count)]
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise files.cannot_write(place, problem) from problem
    with files.locked(place):
        networks = _answers(jobs, dataset, workers or os.cpu_count() or 1, tell)
    return _summed_up(networks, config, dataset, target, folds)


def for_everyone(config: CandidateConfig, dataset: Dataset) -> CandidateConfig:
    """The configuration with every subject of the data set in its training part, and none in the others.

    Raises:
        CandidateError: it chooses its epoch, for which nobody would be left.
        DatasetError: as `splits.everyone`.
    """
    if config.training.keep != "last":
        raise CandidateError(
            "a network of all subjects has nobody left to choose its epoch on, and keeps the last",
            f"training.keep = {config.training.keep}",
            "Say --set training.keep=last.",
        )
    return config.model_copy(update={"split": splits.everyone(dataset)})


def with_threshold(trained: Trained, threshold: float, probe: torch.Tensor) -> Trained:
    """The trained network with another threshold in place of its own.

    Args:
        trained: as `train.fit` gives it.
        threshold: a margin.
        probe: samples (n, 1, T), as for `fold_threshold`.
    """
    best = trained.record.best
    network = fold_threshold(trained.network, threshold - best.threshold, probe)
    record = trained.record.model_copy(update={"best": best.model_copy(update={"threshold": threshold})})
    return replace(trained, network=network, record=record)


@dataclass(frozen=True)
class _Setting:
    """What all networks share; `place` and `teachers` are folders for their answers and for their teachers."""

    config: CandidateConfig
    data: Path
    folds: FoldAssignment
    target: Target
    place: Path
    teachers: Path


@dataclass(frozen=True)
class _Job:
    """A network to train by `config`, without the folds `left_out`, whose so many segments it answers then."""

    setting: _Setting
    left_out: tuple[int, ...]
    config: CandidateConfig
    segments: int

    @property
    def path(self) -> Path:
        """Where its answers go."""
        return self.setting.place / f"{'-'.join(map(str, self.left_out))}.npz"


@dataclass(frozen=True)
class _Network:
    """What a network answers: (n,) margins of the labelled rows of the folds left out, ascending, no threshold off."""

    left_out: tuple[int, ...]
    margins: NDArray[np.float32]
    seconds: float


def _networks(config: CandidateConfig, count: int) -> list[tuple[int, ...]]:
    """Which folds each network is trained without; pairs serve the choice of thresholds only."""
    pairs = combinations(range(count), 2) if config.training.threshold == "chosen" else ()
    return [*pairs, *((number,) for number in range(count))]


def _job(setting: _Setting, dataset: Dataset, left_out: tuple[int, ...]) -> _Job:
    share = 0.0 if setting.config.training.keep == "last" else _VALIDATION_SHARE
    split = splits.leave_out(dataset, setting.folds, left_out, validation_share=share)
    config = setting.config.model_copy(update={"split": split})
    return _Job(setting, left_out, config, len(dataset.rows_of(split.test)))


def _key(config: CandidateConfig, folds: FoldAssignment) -> str:
    """What the networks' weights depend on, which is no threshold, as the name of a folder."""
    how = config.training.model_copy(update={"threshold": "even_odds"})
    weights = config.model_copy(update={"training": how, "split": Split(train=[], validation=[], test=[])})
    asked = {
        "config": weights.sha256,
        "folds": folds.model_dump(mode="json"),
        "tool": provenance.collect().tool_version,
    }
    return files.sha256_json(asked)[:16]


def _answers(jobs: Sequence[_Job], dataset: Dataset, workers: int, tell: Callable[[Progress], None]) -> list[_Network]:
    """What each network answers: those that did before, then the others, whose teachers are trained first."""
    saved = [_saved(job) for job in jobs]
    found = [known for known in saved if known is not None]
    todo = [job for job, known in zip(jobs, saved, strict=True) if known is None]
    taught = _teachings(todo, dataset)
    told, total = 0, len(jobs) + len(taught)

    def say(left_out: tuple[int, ...], seconds: float, *, is_teacher: bool = False) -> None:
        nonlocal told
        told += 1
        tell(Progress(told, total, left_out, seconds, is_teacher))

    for network in found:
        say(network.left_out, network.seconds)
    for left_out, seconds in run_all(taught, workers):
        say(left_out, seconds, is_teacher=True)
    for network in run_all([partial(_train, job) for job in todo], workers):
        say(network.left_out, network.seconds)
        found.append(network)
    return found


def _teachings(jobs: Sequence[_Job], dataset: Dataset) -> list[partial[tuple[tuple[int, ...], float]]]:
    """The trainings of all teachers that the networks listen to, each once."""
    found = {}
    for job in jobs:
        for teacher in distill.teachers_for(job.config, dataset, job.setting.folds):
            found[teacher.sha256] = partial(_teach, job.setting, teacher)
    return list(found.values())


def _teach(setting: _Setting, teacher: CandidateConfig) -> tuple[tuple[int, ...], float]:
    """Train a teacher, unless that was done before; the folds that it is trained without, and the seconds."""
    started = time.perf_counter()
    distill.trained(teacher, open_dataset(setting.data), setting.teachers)
    seen = {setting.folds.folds[name] for name in teacher.split.train}
    return tuple(sorted(set(range(setting.folds.count)) - seen)), time.perf_counter() - started


def _train(job: _Job) -> _Network:
    """Train one network, and write down what it answers."""
    dataset, setting = open_dataset(job.setting.data), job.setting
    teaching = distill.teaching(job.config, dataset, setting.teachers, setting.folds)
    data = train.load_data(dataset, job.config.split)
    trained = train.fit(job.config, data, rule=setting.target.score, teaching=teaching)
    rows = dataset.rows_of(job.config.split.test)
    scores = epochs.predict(trained.network, train.samples_of(dataset, rows), torch.device("cpu")).numpy()  # (n, 2)
    margins = scores[:, 1] - scores[:, 0] + np.float32(trained.record.best.threshold)
    seconds = np.array(trained.record.seconds, np.float32)
    files.write_atomic(job.path, out_of_fold.to_bytes(margins=margins, seconds=seconds))
    return _Network(job.left_out, margins, float(seconds))


def _saved(job: _Job) -> _Network | None:
    """What the network answered in an earlier run; None where it did not."""
    arrays = out_of_fold.from_bytes(job.path.read_bytes()) if job.path.is_file() else {}
    if {name: array.shape for name, array in arrays.items()} != {"margins": (job.segments,), "seconds": ()}:
        return None
    return _Network(job.left_out, arrays["margins"], float(arrays["seconds"]))


def _summed_up(
    networks: Sequence[_Network], config: CandidateConfig, dataset: Dataset, target: Target, folds: FoldAssignment
) -> OutOfFold:
    """Thresholds, margins and scores, of what the networks answered; n labelled rows, F folds."""
    rows = out_of_fold.labelled_rows(dataset)
    labels, subjects = dataset.labels[rows], np.array(dataset.subject_names(rows))  # (n,)
    fold = np.array([folds.folds[name] for name in subjects.tolist()])  # (n,)
    before, others = _placed(networks, fold)
    find = partial(metrics.find_threshold, config.training.threshold, rule=target.score)
    thresholds = [find(labels[fold != f], others[f, fold != f], subjects[fold != f]) for f in range(folds.count)]
    after = before - np.asarray(thresholds, np.float32)[fold]
    record = CrossValidationRecord(
        config_sha256=config.sha256,
        dataset_sha256=config.dataset_sha256,
        synthetic=config.synthetic,
        assignment=folds,
        folds=[
            Fold(number=f, subjects=folds.subjects(f), segments=int((fold == f).sum()), threshold=thresholds[f])
            for f in range(folds.count)
        ],
        threshold=find(labels, before, subjects),
        scores=score_rows(after, dataset, rows, target),
        networks=len(networks),
        train_seconds=sum(network.seconds for network in networks),
        margins_sha256=files.sha256_bytes(out_of_fold.to_bytes(before=before, after=after)),
    )
    return OutOfFold(record, before, after)


def _placed(networks: Sequence[_Network], fold: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Margins by row: (n,) of the networks without the row's own fold, and (F, n) of those without that one and f."""
    before = np.full(len(fold), np.nan, np.float32)
    others = np.full((int(fold.max()) + 1, len(fold)), np.nan, np.float32)
    for network in networks:
        rows = np.flatnonzero(np.isin(fold, network.left_out))
        if len(network.left_out) == 1:
            before[rows] = network.margins
            continue
        first, second = network.left_out
        own = fold[rows]
        others[second, rows[own == first]] = network.margins[own == first]
        others[first, rows[own == second]] = network.margins[own == second]
    return before, others
