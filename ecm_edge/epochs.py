"""The loop over the epochs of one training: batches, schedule, average of weights, and the rules that end it.

Shapes: N segments, T samples.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ecm_edge import metrics
from ecm_edge.augment import augment
from ecm_edge.errors import DatasetError
from ecm_edge.losses import cross_entropy, loss_function
from ecm_edge.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from ecm_edge.candidate import CandidateConfig, TrainingConfig
    from ecm_edge.targets import ScoreRule

_EVALUATION_BATCH = 1024
_EMA_DECAY = 0.99
_PLATEAU_PATIENCE = 2
_FEWEST_IN_BATCH = 2  # batch norm needs more than one segment

Stopped = Literal["finished", "patience", "gap", "pruned", "diverged"]


@dataclass(frozen=True)
class TrainingData:
    """The tensors of a split, in memory; shared by every candidate that is trained on it."""

    train_samples: Tensor  # (N, 1, T) float32
    train_labels: Tensor  # (N,) int64, 0 or 1
    train_blank: np.ndarray  # (N,) bool: the rhythm of the segment is blank
    validation_samples: Tensor  # (N, 1, T) float32
    validation_labels: np.ndarray  # (N,) int8, 0 or 1
    validation_subjects: np.ndarray  # (N,) str


class Epoch(Record):
    """The figures of one epoch; losses are cross-entropies, so that any two epochs compare, whatever was minimised.

    The scores are those of the validation subjects at `threshold`, the best one on them.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    validation_loss: float
    f1: float
    fbeta_mean: float
    g: float
    threshold: float
    seconds: float


class Loop:
    """The state of one training: weights, schedule, epochs so far and the best of them.

    Raises:
        DatasetError: without the blank rhythms the training segments are of one class only.
    """

    def __init__(
        self,
        network: nn.Module,
        config: CandidateConfig,
        data: TrainingData,
        device: torch.device,
        rule: ScoreRule | None,
    ) -> None:
        how = config.training
        self.network, self.how, self.data, self.device, self.rule = network, how, data, device, rule
        self.rows = torch.from_numpy(np.flatnonzero(~data.train_blank | how.train_on_blank))
        positive = int(data.train_labels[self.rows].sum())
        if not 0 < positive < len(self.rows):
            raise DatasetError(
                "training needs segments with AF and without",
                f"{positive} with AF of {len(self.rows)} that are trained on",
                "Import more subjects, or train on blank rhythms.",
            )
        self.generator = torch.Generator().manual_seed(config.seed)
        self.loss = loss_function(how.loss)
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay, fused=True
        )
        self.schedule = _schedule(self.optimizer, how, batches=len(self.batches()))
        self.average = _average(network, how)
        self.epochs: list[Epoch] = []
        self.best: Epoch | None = None
        self.best_state: dict[str, Tensor] = {}

    def run(self, prune: Callable[[Epoch], bool]) -> Stopped:
        """Epochs until one of the rules says stop."""
        for number in range(1, self.how.epochs + 1):
            epoch = self._epoch(number)
            if epoch is None:
                return "diverged"
            self.epochs.append(epoch)
            if self.best is None or epoch.validation_loss < self.best.validation_loss:
                self.best = epoch
                self.best_state = copy.deepcopy(self._evaluated().state_dict())
            if prune(epoch):
                return "pruned"
            if number - self.best.epoch >= self.how.patience:
                return "patience"
            if epoch.validation_loss - epoch.train_loss > self.how.gap_limit:
                return "gap"
        return "finished"

    def batches(self) -> list[Tensor]:
        """Row numbers by batch, in a fresh order; a last batch too small for batch norm is left out."""
        order = self.rows[torch.randperm(len(self.rows), generator=self.generator)]
        return [batch for batch in torch.split(order, self.how.batch_size) if len(batch) >= _FEWEST_IN_BATCH]

    def _evaluated(self) -> nn.Module:
        """The network whose answers count: the average of weights if one is kept."""
        if self.average is None:
            return self.network
        averaged: nn.Module = self.average.module
        return averaged

    def _epoch(self, number: int) -> Epoch | None:
        """One pass over the training segments and its figures; None if the loss is no longer finite."""
        started = time.perf_counter()
        learning_rate = self.optimizer.param_groups[0]["lr"]
        train_loss = self._pass()
        seconds = time.perf_counter() - started
        margins, validation_loss = self._validate()
        if not (math.isfinite(train_loss) and math.isfinite(validation_loss)):
            return None
        if isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.schedule.step(validation_loss)
        labels, subjects = self.data.validation_labels, self.data.validation_subjects
        threshold = metrics.choose_threshold(labels, margins, subjects, self.rule)
        beta, good_above = metrics.criteria(self.rule)
        decided = margins - np.float32(threshold)
        return Epoch(
            epoch=number,
            learning_rate=learning_rate,
            train_loss=train_loss,
            validation_loss=validation_loss,
            f1=metrics.f1(labels, decided, subjects),
            fbeta_mean=metrics.fbeta_mean(labels, decided, subjects, beta),
            g=metrics.g(labels, decided, subjects, beta, good_above),
            threshold=threshold,
            seconds=seconds,
        )

    def _pass(self) -> float:
        """Train on every batch once; the mean cross-entropy over segments, as trained."""
        self.network.train()
        total, count = torch.zeros((), device=self.device), 0
        for rows in self.batches():
            samples = augment(self.data.train_samples[rows].to(self.device), self.how.augmentation, self.generator)
            labels = self.data.train_labels[rows].to(self.device)
            scores = self.network(samples)
            self.optimizer.zero_grad(set_to_none=True)
            self.loss(scores, labels).backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
            self.optimizer.step()
            if isinstance(self.schedule, torch.optim.lr_scheduler.OneCycleLR):
                self.schedule.step()
            if self.average is not None:
                self.average.update_parameters(self.network)
            total += cross_entropy(scores.detach(), labels) * len(rows)
            count += len(rows)
        return float(total) / count

    def _validate(self) -> tuple[np.ndarray, float]:
        """(N,) float32 margins of the validation segments, and their mean cross-entropy."""
        scores = predict(self._evaluated(), self.data.validation_samples, self.device)
        loss = cross_entropy(scores, torch.from_numpy(self.data.validation_labels.astype(np.int64)))
        return (scores[:, 1] - scores[:, 0]).numpy(), float(loss)


def predict(network: nn.Module, samples: Tensor, device: torch.device) -> Tensor:
    """(N, 2) scores of (N, 1, T) samples in evaluation mode, on the CPU."""
    network.eval()
    with torch.no_grad():
        return torch.cat([network(batch.to(device)).cpu() for batch in torch.split(samples, _EVALUATION_BATCH)])


def _schedule(
    optimizer: torch.optim.Optimizer, how: TrainingConfig, batches: int
) -> torch.optim.lr_scheduler.OneCycleLR | torch.optim.lr_scheduler.ReduceLROnPlateau:
    if how.schedule == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=_PLATEAU_PATIENCE)
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, how.learning_rate, total_steps=how.epochs * batches)


def _average(network: nn.Module, how: TrainingConfig) -> AveragedModel | None:
    if how.weight_average == "none":
        return None
    averaging = get_ema_multi_avg_fn(_EMA_DECAY)  # type: ignore[no-untyped-call] # torch leaves it untyped
    return AveragedModel(network, multi_avg_fn=averaging, use_buffers=True)
