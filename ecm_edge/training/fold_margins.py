"""Networks by fold: each is trained without some folds of the subjects and then answers exactly these.

The teachers of a network are trained within the same folds, before it. Every network's margins are written down as soon
as it has them, and are used again by the next run that asks for the same network. The networks that were trained
without one fold are kept too.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes

from ecm_edge.base import files, provenance
from ecm_edge.base.processes import run_all
from ecm_edge.base.threads import usable_cores
from ecm_edge.candidate import candidate
from ecm_edge.data import splits
from ecm_edge.data.dataset import open_dataset
from ecm_edge.training import distill, epochs, fold_networks, out_of_fold, train
from ecm_edge.training.mapped import mapped_samples
from ecm_edge.training.threshold_in_bias import fold_threshold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.data.splits import FoldAssignment
    from ecm_edge.tasks.score import ScoreRule

TEACHERS = "teachers"
"""Where in a working folder the teachers are kept."""

_VALIDATION_SHARE = 0.2  # of the training subjects, where the best epoch is kept


@dataclass(frozen=True)
class Progress:
    """A network is done, the one trained without the folds `left_out`: `number` of `total` by now."""

    number: int
    total: int
    left_out: tuple[int, ...]
    seconds: float
    is_teacher: bool


@dataclass(frozen=True)
class FoldMargins:
    """What networks answer to subjects that they have not seen, no threshold taken off; n answered rows, F folds.

    before:   (n,) float32 margins, ascending by row, of the networks that were trained without the row's own fold.
    others:   (F, n) float32, others[f] of the networks without the row's own fold and f; NaN where there is none.
    fold:     (n,) the fold of each row.
    networks: how many there are.
    seconds:  that their trainings took, added up over the processes.
    kept:     the networks that were trained without one fold, as `fold_networks.to_bytes` gives them.
    """

    before: NDArray[np.float32]
    others: NDArray[np.float32]
    fold: NDArray[np.int64]
    networks: int
    seconds: float
    kept: bytes


def fold_configs(
    config: CandidateConfig, dataset: Dataset, folds: FoldAssignment, *, pairs: bool
) -> dict[tuple[int, ...], CandidateConfig]:
    """By the folds left out: the configuration with these as test subjects, for each fold and, with `pairs`, each pair.

    A training that keeps its best epoch has validation subjects, drawn from those that it trains on.

    Raises:
        DatasetError: the folds were made for another data set, or as `splits.leave_out`.
    """
    splits.check_folds(folds, dataset)
    share = 0.0 if config.training.keep == "last" else _VALIDATION_SHARE
    left_out = [
        *(itertools.combinations(range(folds.count), 2) if pairs else ()),
        *((number,) for number in range(folds.count)),
    ]
    return {
        numbers: config.model_copy(update={"split": splits.leave_out(dataset, folds, numbers, validation_share=share)})
        for numbers in left_out
    }


def fold_margins(
    configs: Mapping[tuple[int, ...], CandidateConfig],
    dataset: Dataset,
    folds: FoldAssignment,
    *,
    rule: ScoreRule | None = None,
    work: Path | None = None,
    workers: int | None = None,
    on_network: Callable[[Progress], None] = lambda _: None,
) -> FoldMargins:
    """Train a network by each configuration, and let it answer the folds that were left out of its training.

    Args:
        configs: as `fold_configs` gives them, with one for each fold.
        dataset: the one whose hash the configurations name.
        folds: those that were left out; the folds of teachers too.
        rule: weighs Fβ and G where a training needs a threshold to choose its epoch.
        work: keeps what every network answered, so that the next run goes on; nothing is kept without it.
        workers: processes side by side, of one thread each; as many as there are cores where None. 1 is this process.
        on_network: called for every network that is done, also where it was in an earlier run.

    Raises:
        CandidateError: training gave no finite loss.
        OutputError: `work` cannot be written, or another process works there.
    """
    if work is None:
        with files.scratch_folder() as scratch:
            return fold_margins(
                configs, dataset, folds, rule=rule, work=scratch, workers=workers, on_network=on_network
            )
    files.make_folder(work)
    setting = _Setting(dataset.folder, folds, rule, work, provenance.collect().tool_version)
    jobs = [_Job(setting, left_out, config) for left_out, config in configs.items()]
    with files.locked(work):
        networks = _networks(setting, jobs, dataset, workers or usable_cores(), on_network)
        kept = fold_networks.to_bytes({job.left_out[0]: _state(job) for job in jobs if job.keeps_network})
    return _placed(networks, dataset, folds, kept)


@dataclass(frozen=True)
class _Setting:
    """What all networks share; `work` is the folder of their answers."""

    data: Path
    folds: FoldAssignment
    rule: ScoreRule | None
    work: Path
    tool_version: str

    @property
    def teachers(self) -> Path:
        """The folder of the teachers."""
        return self.work / TEACHERS


@dataclass(frozen=True)
class _Job:
    """A network to train by `config`, without the folds `left_out`, which it answers then."""

    setting: _Setting
    left_out: tuple[int, ...]
    config: CandidateConfig

    @property
    def path(self) -> Path:
        """Where its answers go, named by what its weights depend on; that is no rule for a threshold."""
        training = self.config.training.model_copy(update={"threshold": "even_odds"})
        inputs = {
            "config": self.config.model_copy(update={"training": training}).sha256,
            "folds": self.setting.folds.model_dump(mode="json"),
            "tool": self.setting.tool_version,
        }
        return self.setting.work / f"{files.sha256_json(inputs)[:32]}.npz"

    @property
    def keeps_network(self) -> bool:
        """Whether the network itself is of use later: it is the one that answers its fold."""
        return len(self.left_out) == 1


@dataclass(frozen=True)
class _Network:
    """A network's (m,) margins of the labelled rows of the folds left out, ascending, no threshold taken off."""

    left_out: tuple[int, ...]
    margins: NDArray[np.float32]
    seconds: float


def _networks(
    setting: _Setting, jobs: Sequence[_Job], dataset: Dataset, workers: int, on_network: Callable[[Progress], None]
) -> list[_Network]:
    """What each network answers: those of earlier runs, then the others, whose teachers are trained first."""
    saved, folds = [_saved(job, dataset) for job in jobs], setting.folds
    networks = [network for network in saved if network is not None]
    missing = [job for job, network in zip(jobs, saved, strict=True) if network is None]
    teachers = distill.all_teachers([job.config for job in missing], dataset, folds)
    numbers, total = itertools.count(1), len(jobs) + len(teachers)

    def done(left_out: tuple[int, ...], seconds: float, *, is_teacher: bool = False) -> None:
        on_network(Progress(next(numbers), total, left_out, seconds, is_teacher))

    for network in networks:
        done(network.left_out, network.seconds)
    for teacher, seconds in distill.train_all(teachers, dataset, setting.teachers, workers):
        seen = {folds.folds[name] for name in teacher.split.train if name in folds.folds}
        done(tuple(sorted(set(range(folds.count)) - seen)), seconds, is_teacher=True)
    for network in run_all([partial(_train, job) for job in missing], workers):
        done(network.left_out, network.seconds)
        networks.append(network)
    return networks


def _train(job: _Job) -> _Network:
    """Train one network, and write down what it answers."""
    setting, config, dataset = job.setting, job.config, open_dataset(job.setting.data)
    teaching = distill.teaching(config, dataset, setting.teachers, setting.folds)
    data = train.load_data(dataset, config.split, unlabelled=config.training.unlabelled)
    trained = train.fit(config, data, rule=setting.rule, teaching=teaching)
    samples = mapped_samples(dataset, dataset.rows_of(config.split.test))
    scores = epochs.predict(trained.network, samples, torch.device("cpu")).numpy()  # (m, 2)
    margins = scores[:, 1] - scores[:, 0] + np.float32(trained.record.best.threshold)
    seconds = np.array(trained.record.seconds, np.float32)
    if job.keeps_network:
        raw = fold_threshold(trained.network, -trained.record.best.threshold, samples[:1])
        files.write_atomic(_state_path(job), safetensors_bytes(candidate.network_state(raw)))
    files.write_atomic(job.path, out_of_fold.to_bytes(margins=margins, seconds=seconds))
    return _Network(job.left_out, margins, float(seconds))


def _saved(job: _Job, dataset: Dataset) -> _Network | None:
    """What the network answered in an earlier run; None where it did not."""
    path, rows = job.path, dataset.rows_of(job.config.split.test)
    arrays = out_of_fold.from_bytes(files.read_or_nothing(path, out_of_fold.LARGEST_BYTES))
    if {name: array.shape for name, array in arrays.items()} != {"margins": rows.shape, "seconds": ()}:
        return None
    if job.keeps_network and not _state(job):
        return None
    return _Network(job.left_out, arrays["margins"], float(arrays["seconds"]))


def _state_path(job: _Job) -> Path:
    return job.path.with_suffix(".safetensors")


def _state(job: _Job) -> dict[str, Tensor]:
    """The state of the network without its threshold; empty where it was not kept whole."""
    try:
        return load_file(_state_path(job))
    except (OSError, SafetensorError):
        return {}


def _placed(networks: Sequence[_Network], dataset: Dataset, folds: FoldAssignment, kept: bytes) -> FoldMargins:
    """The margins of all networks by row."""
    fold = out_of_fold.fold_of(out_of_fold.answered_rows(dataset, folds), dataset, folds.folds)  # (n,)
    before = np.full(len(fold), np.nan, np.float32)
    others = np.full((folds.count, len(fold)), np.nan, np.float32)
    for network in networks:
        rows = np.flatnonzero(np.isin(fold, network.left_out))
        if len(network.left_out) == 1:
            before[rows] = network.margins
            continue
        first, second = network.left_out
        own = fold[rows]
        others[second, rows[own == first]] = network.margins[own == first]
        others[first, rows[own == second]] = network.margins[own == second]
    return FoldMargins(before, others, fold, len(networks), sum(network.seconds for network in networks), kept)
