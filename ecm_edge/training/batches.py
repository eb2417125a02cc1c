"""The batches of one training: which segments, how they are changed, and what the network is to answer.

Shapes: N training segments, n of them in a batch, each as a bag of k windows (1 where the training has no bags), T
samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ecm_edge.base.errors import CandidateError
from ecm_edge.candidate.networks import fastest
from ecm_edge.candidate.training_config import Sampling
from ecm_edge.data import recorded_noise
from ecm_edge.training.augment import Augmenter, mix
from ecm_edge.training.bags import pooled
from ecm_edge.training.random_crop import RandomCrop
from ecm_edge.training.read_ahead import read_ahead
from ecm_edge.training.sampling import draw, draws
from ecm_edge.training.train_rows import by_row, trained_rows, windows_per_epoch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.candidate.training_config import TrainingConfig
    from ecm_edge.data.recorded_noise import RecordedNoise
    from ecm_edge.training.data import Teaching, TrainingData

_FEWEST_IN_BATCH = 2  # batch norm needs more than one segment


class Batches:
    """Iterated once an epoch: the segments that are trained on, in a new order, as batches of `Batches.__iter__`.

    Each comes once, or as often as `sampling` says.

    Attributes:
        rows: the training rows that are trained on, ascending.
        noise_sha256: the hash of the recorded noise, if there is any.
        left_out_quiet: how many rows are not, only because they are quiet.
        softened: how many of `rows` have a teacher's answer in place of their label.
        unlabelled: how many of `rows` have no label.
        segments: how many windows a network sees in an epoch.
        passes: how many in all epochs.
        per_epoch: how many batches an epoch has.

    Raises:
        CandidateError: the training needs teachers that are not there, or an epoch would have no batch.
        DatasetError: the segments that are trained on are of one class only.
        RecordingError: recorded noise that cannot be read.
    """

    def __init__(self, config: CandidateConfig, data: TrainingData, teaching: Teaching, device: torch.device) -> None:
        training = config.training
        chosen = trained_rows(data, training, config.seed, teaching.unseen)
        rows = chosen.rows
        self.rows = torch.from_numpy(rows)
        self._times = _times(data, rows, training.sampling)
        self.left_out_quiet, self.softened = chosen.quiet, int(chosen.softened.sum())
        self.unlabelled = int((data.train_labels[self.rows] < 0).sum())
        self.segments = windows_per_epoch(training, len(rows))
        self.passes = self.segments * training.epochs
        self._training, self._samples, self._device = training, data.train_samples, device
        self._answers = _answers(data.train_labels, training.label_smoothing)
        if self.softened and teaching.unseen is not None:
            said = by_row(data.train_labels.numpy(), teaching.unseen)
            self._answers[chosen.softened, 1] = torch.from_numpy(said[chosen.softened])
        self._generator = torch.Generator().manual_seed(config.seed)
        self._mixing = np.random.default_rng(config.seed)
        self.crop = _crop(training, data, rows)
        length = data.train_samples.shape[2]
        noise = _noise(config)
        self.noise_sha256 = noise.sha256 if noise else None
        self._augment = Augmenter(
            training.augmentation,
            length,
            config.sampling_rate_hz,
            seed=config.seed,
            noise=noise.signals if noise else (),
        )
        self._teachers = _teachers(training, teaching, device, self.passes, length)
        self.per_epoch = len(self._order())  # this draws an order, and the weights of a seed depend on it
        if not self.per_epoch:
            raise CandidateError(
                "an epoch has a batch, of two windows at least",
                f"sampling.segments {training.sampling.segments}, bag_windows {training.bag_windows}",
                "Set training.sampling.segments to more, or to 0.",
            )

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Samples (n x k, 1, T), labels (n,) and targets (n,), probabilities of AF; the windows of a bag adjoin.

        A mixed segment has a mixed label, and bags are mixed window by window. A label is NaN where there is none, and
        so is that of a mixture with such a segment: there the teachers' answer is all of the target.
        """
        for samples, answers in read_ahead(self._changed()):
            labels, targets = answers.unbind(1)
            if self._teachers:
                said = _mean_answer(self._teachers, samples, self._training)
                targets = torch.where(targets.isnan(), said, torch.lerp(targets, said, self._training.distill))
            yield samples, labels, targets

    def _changed(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(n x k, 1, T) changed samples of each batch and (n, 2) their answers.

        All that an epoch draws is drawn here, in one order, so that it is the same in whatever thread this runs.
        """
        training = self._training
        for rows in self._order():
            windows = rows.repeat_interleave(training.bag_windows)
            samples = self.crop(windows, self._generator) if self.crop else self._samples[windows]
            samples = self._augment(samples.to(self._device), self._generator)
            answers = self._answers[rows].to(self._device)  # (n, 2)
            if training.mixup and self._mixing.random() < training.mixup:
                bags, answers = mix(samples.view(len(rows), -1, samples.shape[2]), answers, self._mixing)
                samples = bags.view(samples.shape)
            yield samples, answers

    def _order(self) -> list[Tensor]:
        """Row numbers by batch, in a new order; a last batch too small for batch norm is left out."""
        if self._times is None:
            order = self.rows[torch.randperm(len(self.rows), generator=self._generator)]
        else:
            order = draw(self.rows, self._times, self._generator)
        windows = self._training.bag_windows
        batches = torch.split(order, self._training.batch_size // windows)
        return [rows for rows in batches if len(rows) * windows >= _FEWEST_IN_BATCH]


def _answers(labels: Tensor, smoothing: float) -> Tensor:
    """(N,) labels -> (N, 2): the labels themselves, and smoothed to targets; both NaN where there is no label."""
    labels = torch.where(labels < 0, torch.nan, labels.float())
    return torch.stack([labels, labels * (1 - smoothing) + smoothing / 2], 1)


def _crop(training: TrainingConfig, data: TrainingData, rows: np.ndarray) -> RandomCrop | None:
    """What cuts segments out of their passages, if the training asks for it."""
    augmentation = training.augmentation
    if not augmentation.recut:
        return None
    return RandomCrop(data.train_samples, data.train_passages, data.train_labels.numpy(), rows, augmentation.tempo)


def _times(data: TrainingData, rows: np.ndarray, sampling: Sampling) -> Tensor | None:
    """(N,) how often each row is drawn in an epoch, on average; None for once."""
    return None if sampling == Sampling() else torch.from_numpy(draws(data, rows, sampling))


def _noise(config: CandidateConfig) -> RecordedNoise | None:
    """The recorded noise that the training adds, if it adds any."""
    folder = config.training.augmentation.recorded
    return recorded_noise.read(Path(folder), config.task) if folder else None


def _teachers(
    training: TrainingConfig, teaching: Teaching, device: torch.device, passes: int, length: int
) -> list[Callable[[Tensor], Tensor]]:
    """The forward passes of the teachers whose answers the training follows, if it follows any."""
    if not training.distill:
        return []
    if not teaching.ensemble:
        raise CandidateError("distill needs teachers", "none", "Make them with `ecm_edge.training.distill`.")
    shape = training.batch_size, 1, length
    return [fastest.choose(network.to(device).eval(), passes, shape).forward for network in teaching.ensemble]


@torch.no_grad()
def _mean_answer(teachers: Sequence[Callable[[Tensor], Tensor]], samples: Tensor, training: TrainingConfig) -> Tensor:
    """(n,) mean probability of AF, over the teachers, of (n x k, 1, T) samples."""
    return torch.stack([pooled(teacher(samples), training).softmax(1)[:, 1] for teacher in teachers]).mean(0)
