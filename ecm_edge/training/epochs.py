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
from pydantic import Field
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau
from torch.optim.swa_utils import PARAM_LIST, AveragedModel, get_ema_multi_avg_fn

from ecm_edge import metrics
from ecm_edge.base.errors import CandidateError
from ecm_edge.base.progress import detail
from ecm_edge.base.records import Record
from ecm_edge.candidate.networks import batch_last, fastest
from ecm_edge.training.auxiliary import variation_loss
from ecm_edge.training.bags import pooled
from ecm_edge.training.batches import Batches
from ecm_edge.training.by_source import mean_over_sources
from ecm_edge.training.data import NOT_TAUGHT, Teaching, TrainingData
from ecm_edge.training.losses import cross_entropy, labelled, loss_function
from ecm_edge.training.mapped import in_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.candidate.training_config import TrainingConfig
    from ecm_edge.tasks.score import ScoreRule
    from ecm_edge.training.mapped import Samples

_PLATEAU_PATIENCE = 2
_WARM_UP = 0.1  # of the batches, before a constant learning rate

Stopped = Literal["finished", "patience", "gap", "pruned", "diverged"]


class Epoch(Record):
    """The figures of one epoch. Losses are cross-entropies, whatever loss was minimised, so that any two compare.

    The scores are those of the validation subjects at `threshold`, by the training's rule for it. In a merged data set
    F1, Fβ and G are those of `mean_over_sources`. Without validation subjects these figures are absent, and the
    threshold is 0. `fbeta_pooled` is there where the rule has a term for it. `recall`, the sensitivity, is absent in
    records of earlier versions.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    validation_loss: float | None = None
    f1: float | None = None
    fbeta_mean: float | None = None
    g: float | None = None
    fbeta_pooled: float | None = Field(default=None, exclude_if=lambda value: value is None)
    recall: float | None = Field(default=None, exclude_if=lambda value: value is None)
    specificity: float | None = None
    threshold: float = 0.0
    seconds: float


class Loop:
    """The state of one training: weights, schedule, the epochs so far, and the one of them that is kept.

    Args:
        network: trained in place; with a third score if the training has an auxiliary loss.
        config: what the network was built from, and how it is trained.
        data: the tensors of the configuration's split.
        device: where the network lies.
        rule: how the threshold weighs Fβ and G; mean Fβ alone without one.
        teaching: what its teachers give to the training.
        forward: (N, 1, T) samples to the network's scores; what gradients come from, the fastest way through the
            network if None.
        begun: epochs of an earlier training of the same weights; numbers go on from there.

    Raises:
        CandidateError: the training needs validation subjects or teachers that are not there.
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
        forward: Callable[[Tensor], Tensor] | None = None,
        begun: int = 0,
    ) -> None:
        training = config.training
        _check_validation_subjects(training, data)
        self.network, self.data, self.device, self.rule = network, data, device, rule
        self.begun = begun
        self.batches = Batches(config, data, teaching, device)
        shape = min(training.batch_size, self.batches.segments), 1, data.train_samples.shape[2]
        self._chosen = (
            fastest.Chosen(forward, "plain", "given")
            if forward
            else fastest.choose(network, self.batches.passes, shape)
        )
        self.forward = self._chosen.forward
        self.epochs: list[Epoch] = []
        self.kept: Epoch | None = None
        self.kept_state: dict[str, Tensor] = {}
        self._training, self._rate_hz = training, config.sampling_rate_hz
        self._loss = loss_function(training.loss, focus=training.focus)
        self._optimizer = torch.optim.AdamW(
            network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
        )
        self._schedule = _schedule(self._optimizer, training, self.batches.per_epoch)
        self._average = average_of(network, training)

    @property
    def compiled(self) -> bool:
        """Whether the forward pass ran compiled; not where that was tried and failed."""
        return isinstance(self.forward, batch_last.Forward) and self.forward.compiled

    @property
    def way(self) -> fastest.Way:
        """Which way the forward pass ran."""
        return "eager" if self._chosen.way == "compiled" and not self.compiled else self._chosen.way

    @property
    def way_because(self) -> str:
        """Why it ran that way."""
        failed = "" if self.way == self._chosen.way else "; compiling failed"
        return f"{self._chosen.reason}{failed}"

    def run(
        self,
        on_epoch: Callable[[Epoch], None] = lambda _: None,
        should_stop: Callable[[Epoch], bool] = lambda _: False,
    ) -> Stopped:
        """Epochs until one of the rules ends the training.

        Args:
            on_epoch: called after every epoch.
            should_stop: called after `on_epoch`; the training is pruned where it returns True.
        """
        for number in range(self.begun + 1, self.begun + self._training.epochs + 1):
            epoch = self._epoch(number)
            if epoch is None:
                return "diverged"
            self.epochs.append(epoch)
            kept = self._keep_better(epoch)
            detail(_told(epoch, self.begun + self._training.epochs))
            on_epoch(epoch)
            if should_stop(epoch):
                return "pruned"
            if number - kept.epoch >= self._training.patience:  # never where the last one is kept
                return "patience"
            if self._training.keep == "best" and _loss(epoch) - epoch.train_loss > self._training.gap_limit:
                return "gap"
        return "finished"

    def _keep_better(self, epoch: Epoch) -> Epoch:
        """The kept epoch, which is this one where the last one is kept or none was better."""
        if self._training.keep == "last" or self.kept is None or _loss(epoch) < _loss(self.kept):
            self.kept = epoch
            self.kept_state = copy.deepcopy(self._evaluated().state_dict())
        return self.kept

    def _evaluated(self) -> nn.Module:
        """The network whose answers count: the average of weights if there is one."""
        if self._average is None:
            return self.network
        averaged: nn.Module = self._average.module
        return averaged

    def _epoch(self, number: int) -> Epoch | None:
        """One pass over the training segments and its figures; None if a loss is no longer finite."""
        started = time.perf_counter()
        learning_rate = self._optimizer.param_groups[0]["lr"]
        train_loss = self._pass()
        seconds = time.perf_counter() - started
        validated = self._validate() if len(self.data.validation_labels) else None
        losses = [train_loss] if validated is None else [train_loss, validated[1]]
        if not all(map(math.isfinite, losses)):
            return None
        if isinstance(self._schedule, ReduceLROnPlateau):
            self._schedule.step(losses[-1])
        return Epoch(
            epoch=number,
            learning_rate=learning_rate,
            train_loss=train_loss,
            seconds=seconds,
            **({} if validated is None else self._figures(*validated)),
        )

    def _pass(self) -> float:
        """Train on every batch once; the mean cross-entropy over what has labels, as trained, against these alone."""
        total, count = torch.zeros((), device=self.device), 0
        for answered in self.steps():
            shown = labelled(*answered) if self.batches.unlabelled else answered
            if len(shown[1]):
                total += cross_entropy(*shown) * len(shown[1])
                count += len(shown[1])
        return float(total) / count if count else math.nan

    def steps(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Train on every batch once, a step each time that it is asked: (n, 2) scores before it, and (n,) labels."""
        self.network.train()
        for samples, labels, targets in self.batches:
            answers = self.forward(samples)
            scores = pooled(answers[:, :2], self._training)
            loss = self._loss(scores, targets)
            if self._training.auxiliary:
                loss = loss + self._training.auxiliary * variation_loss(answers[:, 2], samples, self._rate_hz)
            self._step(loss)
            yield scores.detach(), labels

    def _step(self, loss: Tensor) -> None:
        """Move the weights against the gradient of a batch's loss, and the schedule and the average with them."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        self._optimizer.step()
        if not isinstance(self._schedule, ReduceLROnPlateau):
            self._schedule.step()
        if self._average is not None:
            self._average.update_parameters(self.network)

    def _figures(self, margins: np.ndarray, validation_loss: float) -> dict[str, float | None]:
        """The validation figures of an epoch, by their fields, from (V,) margins."""
        labels, subjects = self.data.validation_labels, self.data.validation_subjects
        threshold = metrics.find_threshold(self._training.threshold, labels, margins, subjects, self.rule)
        beta, good_above = metrics.criteria(self.rule)
        decided = margins - np.float32(threshold)
        further = {}
        if self.rule and self.rule.fbeta_pooled:
            further["fbeta_pooled"] = metrics.fbeta_pooled(labels, decided, subjects, beta)
        tp, fp, tn, fn = metrics.confusion(labels, decided, subjects)
        return {
            **further,
            "validation_loss": validation_loss,
            **mean_over_sources(labels, decided, subjects, self.data.validation_sources, (beta, good_above)),
            "recall": tp / (tp + fn) if tp + fn else None,
            "specificity": tn / (tn + fp) if tn + fp else None,
            "threshold": threshold,
        }

    def _validate(self) -> tuple[np.ndarray, float]:
        """(V,) float32 margins of the validation segments, and their mean cross-entropy."""
        scores = predict(self._evaluated(), self.data.validation_samples, self.device)
        loss = cross_entropy(scores, torch.from_numpy(self.data.validation_labels.astype(np.float32)))
        return (scores[:, 1] - scores[:, 0]).numpy(), float(loss)


def _check_validation_subjects(training: TrainingConfig, data: TrainingData) -> None:
    if not len(data.validation_labels) and (training.keep == "best" or training.schedule == "plateau"):
        raise CandidateError(
            "keeping the best epoch and the schedule plateau need validation subjects",
            f"none, keep = {training.keep}, schedule = {training.schedule}",
            "Train with keep = last and schedule = one_cycle.",
        )


def _told(epoch: Epoch, epochs: int) -> str:
    """An epoch as it is shown while training goes on."""
    figure = f"training loss {epoch.train_loss:.4f}" if epoch.f1 is None else f"validation F1 {epoch.f1:.4f}"
    return f"epoch {epoch.epoch} of {epochs}, {figure}"


def _loss(epoch: Epoch) -> float:
    """The validation loss of an epoch that has one."""
    return math.inf if epoch.validation_loss is None else epoch.validation_loss


def predict(network: nn.Module, samples: Samples, device: torch.device) -> Tensor:
    """(N, 2) scores of (N, 1, T) samples in evaluation mode, on the CPU; a third one of the network is left out."""
    network.eval()
    with torch.no_grad():
        return torch.cat([network(batch.to(device))[:, :2].cpu() for batch in in_blocks(samples)])


def _schedule(optimizer: torch.optim.Optimizer, training: TrainingConfig, batches: int) -> LRScheduler:
    """By epoch for plateau, else by batch."""
    steps = training.epochs * batches
    if training.schedule == "plateau":
        return ReduceLROnPlateau(optimizer, patience=_PLATEAU_PATIENCE)
    if training.schedule == "constant":
        warm_up = max(1.0, _WARM_UP * steps)
        return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warm_up))
    return OneCycleLR(optimizer, training.learning_rate, total_steps=steps)


def average_of(network: nn.Module, training: TrainingConfig) -> AveragedModel | None:
    """The average of weights that starts as the network is, if one is kept.

    The decay grows from nearly none, min(decay, (1 + n) / (10 + n)) after n steps, as TensorFlow's does: in a short
    training the weights that it began with would else be most of the average.
    """
    if training.weight_average == "none":
        return None

    def averaging(averages: PARAM_LIST, weights: PARAM_LIST, steps: Tensor | int) -> None:
        done = int(steps)
        decay = min(training.average_decay, (1 + done) / (10 + done))
        get_ema_multi_avg_fn(decay)(averages, weights, steps)  # type: ignore[no-untyped-call] # torch leaves it untyped

    return AveragedModel(network, multi_avg_fn=averaging, use_buffers=True)
