"""The loop over the epochs of one training: batches, schedule, average of weights, and the rules that end it.

Shapes: N segments, T samples.
"""

from __future__ import annotations

import copy
import math
import time
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ecm_edge import metrics
from ecm_edge.base.errors import CandidateError
from ecm_edge.base.records import Record
from ecm_edge.candidate.networks import batch_last
from ecm_edge.training.augment import Augmenter, mix
from ecm_edge.training.data import NOT_TAUGHT, Teaching, TrainingData
from ecm_edge.training.losses import cross_entropy, loss_function
from ecm_edge.training.random_crop import RandomCrop
from ecm_edge.training.train_rows import trained_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.candidate.training_config import TrainingConfig
    from ecm_edge.targets import ScoreRule

_EVALUATION_BATCH = 1024
_PLATEAU_PATIENCE = 2
_WARM_UP = 0.1  # of the batches, before a constant learning rate
_FEWEST_IN_BATCH = 2  # batch norm needs more than one segment
_WORTH_COMPILING = 150_000  # passes of a segment; compiling takes as long as 100,000, and then three quarters are saved

Stopped = Literal["finished", "patience", "gap", "pruned", "diverged"]


class Epoch(Record):
    """The figures of one epoch; losses are cross-entropies, so that any two epochs compare, whatever was minimised.

    The scores are those of the validation subjects at `threshold`, the best one on them; without validation subjects
    there is none of these figures, and the threshold is 0.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    validation_loss: float | None = None
    f1: float | None = None
    fbeta_mean: float | None = None
    g: float | None = None
    threshold: float = 0.0
    seconds: float


class Loop:
    """The state of one training: weights, schedule, epochs so far and the kept one of them.

    Epochs are numbered on from `begun`, those of an earlier training of the same weights.

    Raises:
        CandidateError: the training needs what is not there, validation subjects or teachers.
        DatasetError: the segments that are trained on are of one class only.
    """

    def __init__(
        self,
        network: nn.Module,
        config: CandidateConfig,
        data: TrainingData,
        device: torch.device,
        rule: ScoreRule | None,
        teaching: Teaching = NOT_TAUGHT,
        *,
        begun: int = 0,
    ) -> None:
        how = config.training
        self.network, self.how, self.data, self.device, self.rule = network, how, data, device, rule
        if not len(data.validation_labels) and (how.keep == "best" or how.schedule == "plateau"):
            raise CandidateError(
                "keeping the best epoch and the schedule plateau need validation subjects",
                f"none, keep = {how.keep}, schedule = {how.schedule}",
                "Train with keep = last and schedule = one_cycle.",
            )
        rows = trained_rows(data, how, config.seed, teaching.unseen)
        self.rows = torch.from_numpy(rows)
        self.labels = data.train_labels.float()  # (N,)
        self.targets = self.labels * (1 - how.label_smoothing) + how.label_smoothing / 2  # (N,)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.mixing = np.random.default_rng(config.seed)
        self.recut = None
        if how.augmentation.recut:
            labels = data.train_labels.numpy()
            self.recut = RandomCrop(data.train_samples, data.train_episodes, labels, rows, how.augmentation.tempo)
        self.augment = Augmenter(
            how.augmentation, data.train_samples.shape[2], config.sampling_rate_hz, seed=config.seed
        )
        worth = device.type == "cpu" and len(self.rows) * how.epochs >= _WORTH_COMPILING
        fast = worth and batch_last.supports(network) and batch_last.can_compile()
        self.forward: Callable[[Tensor], Tensor] = network
        if fast:
            self.forward = batch_last.training_forward(network, compiled=True)
        self.teachers = _teachers(how, teaching, device, worth=worth)
        self.loss = loss_function(how.loss, focus=how.focus)
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay, fused=True
        )
        self.schedule = _schedule(self.optimizer, how, batches=len(self.batches()))
        self.average = _average(network, how)
        self.begun = begun
        self.epochs: list[Epoch] = []
        self.kept: Epoch | None = None
        self.kept_state: dict[str, Tensor] = {}

    @property
    def compiled(self) -> bool:
        """Whether the forward pass ran compiled; not where that was tried and failed."""
        return isinstance(self.forward, batch_last.Forward) and self.forward.compiled

    def run(self, prune: Callable[[Epoch], bool]) -> Stopped:
        """Epochs until one of the rules says stop."""
        for number in range(self.begun + 1, self.begun + self.how.epochs + 1):
            epoch = self._epoch(number)
            if epoch is None:
                return "diverged"
            self.epochs.append(epoch)
            if self.how.keep == "last" or self.kept is None or _loss(epoch) < _loss(self.kept):
                self.kept = epoch
                self.kept_state = copy.deepcopy(self._evaluated().state_dict())
            if prune(epoch):
                return "pruned"
            if number - self.kept.epoch >= self.how.patience:  # never where the last one is kept
                return "patience"
            if self.how.keep == "best" and _loss(epoch) - epoch.train_loss > self.how.gap_limit:
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
        validated = self._validate() if len(self.data.validation_labels) else None
        losses = [train_loss] if validated is None else [train_loss, validated[1]]
        if not all(map(math.isfinite, losses)):
            return None
        if isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.schedule.step(losses[-1])
        return Epoch(
            epoch=number,
            learning_rate=learning_rate,
            train_loss=train_loss,
            seconds=seconds,
            **({} if validated is None else self._figures(*validated)),
        )

    def _figures(self, margins: np.ndarray, validation_loss: float) -> dict[str, float]:
        """The validation figures of an epoch, by their fields, from (V,) margins."""
        labels, subjects = self.data.validation_labels, self.data.validation_subjects
        threshold = metrics.find_threshold(self.how.threshold, labels, margins, subjects, self.rule)
        beta, good_above = metrics.criteria(self.rule)
        decided = margins - np.float32(threshold)
        return {
            "validation_loss": validation_loss,
            "f1": metrics.f1(labels, decided, subjects),
            "fbeta_mean": metrics.fbeta_mean(labels, decided, subjects, beta),
            "g": metrics.g(labels, decided, subjects, beta, good_above),
            "threshold": threshold,
        }

    def _pass(self) -> float:
        """Train on every batch once; the mean cross-entropy over segments, as trained, against their labels alone."""
        self.network.train()
        total, count = torch.zeros((), device=self.device), 0
        for rows in self.batches():
            samples = self.recut(rows, self.generator) if self.recut else self.data.train_samples[rows]
            samples = self.augment(samples.to(self.device), self.generator)
            answers = torch.stack([self.labels[rows], self.targets[rows]], 1).to(self.device)  # (N, 2)
            if self.how.mixup and self.mixing.random() < self.how.mixup:
                samples, answers = mix(samples, answers, self.mixing)
            labels, targets = answers.unbind(1)
            if self.teachers:
                targets = torch.lerp(targets, _answers(self.teachers, samples), self.how.distill)
            scores = self.forward(samples)
            self.optimizer.zero_grad(set_to_none=True)
            self.loss(scores, targets).backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
            self.optimizer.step()
            if not isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
                self.schedule.step()
            if self.average is not None:
                self.average.update_parameters(self.network)
            total += cross_entropy(scores.detach(), labels) * len(rows)
            count += len(rows)
        return float(total) / count

    def _validate(self) -> tuple[np.ndarray, float]:
        """(V,) float32 margins of the validation segments, and their mean cross-entropy."""
        scores = predict(self._evaluated(), self.data.validation_samples, self.device)
        loss = cross_entropy(scores, torch.from_numpy(self.data.validation_labels.astype(np.float32)))
        return (scores[:, 1] - scores[:, 0]).numpy(), float(loss)


def _loss(epoch: Epoch) -> float:
    """The validation loss of an epoch that has one."""
    return math.inf if epoch.validation_loss is None else epoch.validation_loss


def _teachers(
    how: TrainingConfig, teaching: Teaching, device: torch.device, *, worth: bool
) -> list[Callable[[Tensor], Tensor]]:
    """The forward passes of the teachers that a training listens to, compiled where that is `worth` its time."""
    if not how.distill:
        return []
    if not teaching.ensemble:
        raise CandidateError("distill needs teachers", "none", "Make them with `ecm_edge.training.distill`.")
    return [
        batch_last.training_forward(network, compiled=True)
        if worth and batch_last.supports(network) and batch_last.can_compile()
        else network
        for network in (network.to(device).eval() for network in teaching.ensemble)
    ]


@torch.no_grad()
def _answers(teachers: Sequence[Callable[[Tensor], Tensor]], samples: Tensor) -> Tensor:
    """(N,) mean probability of AF, over the teachers, of (N, 1, T) samples."""
    return torch.stack([teacher(samples).softmax(1)[:, 1] for teacher in teachers]).mean(0)


def predict(network: nn.Module, samples: Tensor, device: torch.device) -> Tensor:
    """(N, 2) scores of (N, 1, T) samples in evaluation mode, on the CPU."""
    network.eval()
    with torch.no_grad():
        return torch.cat([network(batch.to(device)).cpu() for batch in torch.split(samples, _EVALUATION_BATCH)])


def _schedule(
    optimizer: torch.optim.Optimizer, how: TrainingConfig, batches: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """By epoch for plateau, else by batch."""
    steps = how.epochs * batches
    if how.schedule == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=_PLATEAU_PATIENCE)
    if how.schedule == "constant":
        warm_up = max(1.0, _WARM_UP * steps)
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warm_up))
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, how.learning_rate, total_steps=steps)


def _average(network: nn.Module, how: TrainingConfig) -> AveragedModel | None:
    if how.weight_average == "none":
        return None
    averaging = get_ema_multi_avg_fn(how.average_decay)  # type: ignore[no-untyped-call] # torch leaves it untyped
    return AveragedModel(network, multi_avg_fn=averaging, use_buffers=True)
