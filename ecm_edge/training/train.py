"""Training of one candidate: batches from a memory map, early stopping, a threshold chosen on validation.

Shapes: N segments, T samples. Deterministic by seed on the CPU for a given number of threads.
"""

from __future__ import annotations

import csv
import io
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes

from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError, DatasetError
from ecm_edge.base.progress import doing
from ecm_edge.base.records import Drawable
from ecm_edge.base.shown import Tables
from ecm_edge.candidate import candidate
from ecm_edge.candidate.networks.fastest import Way
from ecm_edge.training import auxiliary
from ecm_edge.training.data import NOT_TAUGHT, Teaching, TrainingData
from ecm_edge.training.epochs import Epoch, Loop, Stopped
from ecm_edge.training.mapped import mapped_samples
from ecm_edge.training.passages import passages
from ecm_edge.training.threshold_in_bias import fold_threshold

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.axes import Axes
    from torch import nn

    from ecm_edge.base.plots import Colours
    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.data.splits import Split
    from ecm_edge.tasks.score import ScoreRule


class TrainingRecord(Drawable):
    """How a candidate was trained; `best` is the epoch whose weights were kept, be it the last one.

    The last `qat_epochs` of `epochs` simulated int8: their training loss is that of the rounded network, all else that
    of the float one. `samples_per_second`, `layout` and `compiled` are those of the epochs before.

    train_segments: those that were trained on; `unlabelled_segments` of them have no label, and `softened_labels` a
              doubting teacher's answer in place of it.
    left_out_quiet: windows that were not trained on only because they are quiet.
    windows_seen: how many windows the network was trained on in all epochs, each time counted.
    layout:   which axis came last in training: the batch where that was to be compiled, which is several times as fast,
              and else time, since without compiling it would be slower.
    validation_positive_subjects: those with a positive segment; absent in records of earlier versions.
    validation_sources: how many sources of a merged data set they are of, over which the figures are means.
    noise_sha256: the hash of the recorded noise that was added, if any was.
    compiled: whether the training's forward pass ran compiled; not where compiling was tried and failed.
    forward:  which way it ran: plain (by the network's modules), eager (with the batch last) or compiled; the weights
              depend on it within what rounding does in a training. Absent in records of earlier versions.
    forward_because: why that way: what was timed, or what ECM_EDGE_FORWARD says.
    """

    family: str
    config_sha256: str
    dataset_sha256: str
    synthetic: bool
    stopped: Stopped
    best: Epoch
    epochs: list[Epoch]
    qat_epochs: int = 0
    train_segments: int
    unlabelled_segments: int = 0
    softened_labels: int = 0
    left_out_quiet: int = 0
    windows_seen: int = 0
    validation_segments: int
    train_subjects: int
    validation_subjects: int
    validation_positive_subjects: int | None = None
    validation_sources: int = 1
    samples_per_second: float
    seconds: float
    device: str
    threads: int
    layout: Literal["batch_first", "batch_last"] = "batch_first"
    compiled: bool = False
    forward: Way | None = None
    forward_because: str = ""
    noise_sha256: str | None = None

    KEYS = ("family", "best.epoch", "best.f1", "stopped")
    TABLES: ClassVar[Tables] = {
        "epochs": ("epoch", "train_loss", "validation_loss", "f1", "fbeta_mean", "g", "specificity", "seconds")
    }

    def draw(self, axes: Axes, colours: Colours) -> None:
        """Training and validation loss by epoch, the kept epoch marked."""
        from ecm_edge.base import plots

        numbers = [epoch.epoch for epoch in self.epochs]
        losses = [epoch.train_loss for epoch in self.epochs]
        axes.plot(numbers, losses, "o-", color=colours.blue, label="training", markersize=4.5)
        if self.validation_subjects:
            losses = [math.nan if epoch.validation_loss is None else epoch.validation_loss for epoch in self.epochs]
            axes.plot(numbers, losses, "s--", color=colours.orange, label="validation", markersize=4.5)
        axes.axvline(self.best.epoch, color=colours.muted, linewidth=1, linestyle=plots.DOTTED, label="kept epoch")
        plots.whole_numbers(axes)
        axes.set_xlim(0.7, len(self.epochs) + 0.3)
        axes.set_xlabel("epoch")
        axes.set_ylabel("cross-entropy")
        plots.legend(axes, columns=3)


@dataclass(frozen=True)
class Trained:
    """A trained network, its threshold folded in, and how it was trained.

    Without validation subjects no threshold was chosen: it is 0 and the network is as trained. `fold_threshold` folds a
    threshold from elsewhere into it.
    """

    network: nn.Module
    record: TrainingRecord


@doing("read segments")
def load_data(dataset: Dataset, split: Split, *, unlabelled: bool = False) -> TrainingData:
    """The training and validation segments of a split, whose samples stay in the data set's map; V may be 0.

    Args:
        dataset: the one that the split is of.
        split: names the subjects.
        unlabelled: read the training subjects' segments without a label too, for `training.unlabelled`.

    Raises:
        DatasetError: validation segments of one class only, so that no threshold could be chosen.
    """
    train, validation = dataset.rows_of(split.train), dataset.rows_of(split.validation)
    if unlabelled:
        train = np.union1d(train, _unlabelled_rows(dataset, split.train))
    labels = dataset.labels[validation]
    if split.validation and not 0 < labels.sum() < len(labels):
        raise DatasetError(
            "validation needs positive and negative segments",
            f"{int(labels.sum())} of {len(labels)} positive among {', '.join(split.validation)}",
            "Use another split seed, or import more subjects.",
        )
    rhythms = np.array(dataset.header.rhythms)
    return TrainingData(
        train_samples=mapped_samples(dataset, train),
        train_labels=torch.from_numpy(dataset.labels[train].astype(np.int64)),
        train_blank=rhythms[dataset.table["rhythm"][train]] == "",
        train_subjects=np.array(dataset.subject_names(train)),
        train_rhythms=np.asarray(dataset.table["rhythm"][train]),
        train_sources=dataset.sources[dataset.table["subject"][train]],
        train_episodes=np.asarray(dataset.table["episode"][train]),
        train_passages=passages(dataset, train),
        validation_samples=mapped_samples(dataset, validation),
        validation_labels=labels,
        validation_subjects=np.array(dataset.subject_names(validation)),
        validation_sources=dataset.sources[dataset.table["subject"][validation]],
    )


def _unlabelled_rows(dataset: Dataset, subjects: list[str]) -> np.ndarray:
    """(n,) the rows of these subjects that have no label, ascending."""
    wanted = np.isin(dataset.header.subjects, subjects)
    return np.flatnonzero((dataset.labels < 0) & wanted[dataset.table["subject"]])


def fit(
    config: CandidateConfig,
    data: TrainingData,
    *,
    rule: ScoreRule | None = None,
    teaching: Teaching = NOT_TAUGHT,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    should_stop: Callable[[Epoch], bool] = lambda _: False,
) -> Trained:
    """Train the configuration's network on `data`.

    Args:
        config: the network and its training.
        data: the tensors of the configuration's split.
        rule: how the threshold weighs Fβ and G; mean Fβ alone without one.
        teaching: what its teachers give it, as `distill.teaching` makes it.
        on_epoch: called after every epoch.
        should_stop: called after `on_epoch`; training ends early where it returns True.

    Raises:
        CandidateError: the network gave no finite loss in its first epoch, or the training needs validation subjects or
            teachers that are not there.
        DatasetError: the segments that are trained on are of one class only.
        ModelError: the network does not end in a linear layer into which the threshold can be folded, and that can give
            the auxiliary output.
    """
    started = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = candidate.build_network(config).to(device)
        if config.training.auxiliary:
            auxiliary.widen(network, data.train_samples[:1].to(device))
        loop = Loop(network, config, data, device, rule, teaching)
        stopped = loop.run(on_epoch, should_stop)
        best, finer = _kept(loop, config), loop
        if config.training.auxiliary:
            auxiliary.narrow(network)
        if config.training.qat_epochs and stopped != "pruned":
            from ecm_edge.training import qat

            finer, stopped = qat.fine_tune(network, config, loop, teaching, on_epoch, should_stop)
            best = _kept(finer, config)
    seconds = time.perf_counter() - started
    folded = fold_threshold(network.cpu().eval(), best.threshold, data.train_samples[:1])
    return Trained(folded, _record(config, loop, finer, best, stopped, seconds))


def _kept(loop: Loop, config: CandidateConfig) -> Epoch:
    """The kept epoch of a loop, whose weights its network has then."""
    if loop.kept is None:
        number = loop.begun + 1
        raise CandidateError(
            "training gives finite losses",
            f"a loss that is not, in {f'epoch {number}' if loop.begun else 'the first epoch'} of {config.family}",
            "Lower the learning rate.",
        )
    loop.network.load_state_dict(loop.kept_state)
    return loop.kept


def _record(
    config: CandidateConfig, loop: Loop, finer: Loop, best: Epoch, stopped: Stopped, seconds: float
) -> TrainingRecord:
    """The record of a training by `loop`, and then by `finer` if that is another."""
    fine_tuned = [] if finer is loop else finer.epochs
    return TrainingRecord(
        family=config.family,
        config_sha256=config.sha256,
        dataset_sha256=config.dataset_sha256,
        synthetic=config.synthetic,
        stopped=stopped,
        best=best,
        epochs=[*loop.epochs, *fine_tuned],
        qat_epochs=len(fine_tuned),
        train_segments=len(loop.batches.rows),
        unlabelled_segments=loop.batches.unlabelled,
        softened_labels=loop.batches.softened,
        left_out_quiet=loop.batches.left_out_quiet,
        windows_seen=loop.batches.segments * (len(loop.epochs) + len(fine_tuned)),
        validation_segments=len(loop.data.validation_labels),
        train_subjects=len(config.split.train),
        validation_subjects=len(config.split.validation),
        validation_positive_subjects=_positive_subjects(loop),
        validation_sources=max(1, len(np.unique(loop.data.validation_sources))),
        samples_per_second=loop.batches.segments * len(loop.epochs) / sum(epoch.seconds for epoch in loop.epochs),
        seconds=seconds,
        device=str(loop.device),
        threads=torch.get_num_threads(),
        layout="batch_first" if loop.forward is loop.network else "batch_last",
        compiled=loop.compiled,
        forward=loop.way,
        forward_because=loop.way_because,
        noise_sha256=loop.batches.noise_sha256,
    )


def _positive_subjects(loop: Loop) -> int:
    return len(np.unique(loop.data.validation_subjects[loop.data.validation_labels == 1]))


def save_trained(folder: Path, config: CandidateConfig, trained: Trained) -> None:
    """Write the configuration, checkpoint, record and epochs of a trained candidate into `folder`."""
    checkpoint = safetensors_bytes(candidate.network_state(trained.network), {candidate.MADE_FROM: config.sha256})
    files.write_atomic(folder / candidate.CHECKPOINT, checkpoint)
    files.write_atomic(folder / candidate.EPOCHS, _epochs_csv(trained.record.epochs).encode())
    trained.record.save(folder / candidate.TRAINING)
    config.save(folder / candidate.CONFIG)


def _epochs_csv(epochs: list[Epoch]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(Epoch.model_fields))
    writer.writeheader()
    writer.writerows(epoch.model_dump() for epoch in epochs)
    return stream.getvalue()
