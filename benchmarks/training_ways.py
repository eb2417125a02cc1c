"""A training step in three ways, on the same segments, in turns: ours, a plain PyTorch loop, and the seed work's.

    ours     an epoch's batches, forward pass, loss, optimiser and schedule of `ecm_edge.training.epochs.Loop`
    loop     what a user would write: the same network's modules, Adam, shuffled indices into a tensor in memory
    seed's   one numpy.loadtxt a segment through a DataLoader; AFNet in its 2-D form, other networks as they are

All have the recipe of the seed work: batches of one size, a constant learning rate, no augmentation.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ecm_edge.candidate import candidate
from ecm_edge.candidate.training_config import Augmentation, TrainingConfig
from ecm_edge.training.epochs import Loop
from ecm_edge.training.losses import cross_entropy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LEARNING_RATE = 1e-3
NOTHING = Augmentation(sign_flip=0, gain=0, noise=0, shift=0)


def recipe(batch: int, epochs: int) -> TrainingConfig:
    """The seed work's recipe as a configuration of ours."""
    return TrainingConfig(
        batch_size=batch,
        epochs=epochs,
        learning_rate=LEARNING_RATE,
        weight_decay=0.0,
        schedule="constant",
        keep="last",
        augmentation=NOTHING,
    )


class SegmentFiles(torch.utils.data.Dataset):
    """One text file a segment, read when it is asked for."""

    def __init__(self, folder, names, labels, shape):
        self.folder, self.names, self.labels, self.shape = folder, names, labels, shape

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        return np.loadtxt(self.folder / self.names[index], dtype=np.float32).reshape(self.shape), self.labels[index]


class SqueezeExcite2d(nn.Module):
    """AFNet's, in its 2-D form."""

    def __init__(self, channels):
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels // 4, 1),
            nn.SiLU(),
            nn.Conv2d(channels // 4, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x):
        """(N, C, T, 1) -> (N, C, T, 1)."""
        return x * self.gate(x)


def seed_works_net(factor=4, head=2):
    """The AFNet in its 2-D form, (N, 1, T, 1)."""
    layers, inputs = [], 1
    for index, (kernel, width) in enumerate(zip((6, 5, 4, 4, 4), (1, 2, 4, 8, 8), strict=True)):
        outputs = width * factor
        layers += [nn.Conv2d(inputs, outputs, (kernel, 1), (2, 1)), nn.SiLU(), nn.BatchNorm2d(outputs)]
        layers += [SqueezeExcite2d(outputs)] if index in {2, 4} else []
        inputs = outputs
    head_layers = [nn.Dropout(0.5), nn.Linear(inputs * 37, 5 * head), nn.SiLU(), nn.Linear(5 * head, 2)]
    return nn.Sequential(*layers, nn.Flatten(), *head_layers)


@dataclass
class Way:
    """One way of training: its steps, one after the other, and what they took, on the clock and of the processors."""

    steps: Iterator[int]  # segments of a step
    seconds: list[float] = field(default_factory=list)  # a segment, by round
    cpu_seconds: list[float] = field(default_factory=list)

    def run(self, least_segments: int) -> None:
        """One round: steps until so many segments have been trained on."""
        done, wall, cpu = 0, time.perf_counter(), time.process_time()
        while done < least_segments:
            done += next(self.steps)
        self.seconds.append((time.perf_counter() - wall) / done)
        self.cpu_seconds.append((time.process_time() - cpu) / done)

    def forget_first(self) -> None:
        """Leave out the round that warmed up."""
        del self.seconds[0], self.cpu_seconds[0]

    def figures(self, name: str) -> dict[str, float]:
        """Segments a second, by the fastest and by the median round, and the processors' time a segment."""
        return {
            f"{name}_samples_per_second": 1 / min(self.seconds),
            f"{name}_median_samples_per_second": 1 / float(np.median(self.seconds)),
            f"{name}_cpu_ms_a_sample": 1000 * min(self.cpu_seconds),
        }


def ours(config, data) -> tuple[Loop, Iterator[int], list[float]]:
    """Our loop, its steps, and the loss before each of these; the first step compiles where that is the fastest way."""
    torch.manual_seed(config.seed)
    loop, losses = Loop(candidate.build_network(config), config, data, torch.device("cpu"), None), []

    def epoch():
        for scores, labels in loop.steps():
            losses.append(float(cross_entropy(scores, labels.float())))
            yield len(labels)

    return loop, _endless(epoch), losses


def plain_loop(network, samples, labels, batch) -> Iterator[int]:
    """The steps that a user would write for (N, 1, T) samples and (N,) labels in memory."""
    network = copy.deepcopy(network).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)

    def epoch():
        for index in torch.randperm(len(labels)).split(batch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(samples[index]), labels[index]).backward()
            optimizer.step()
            yield len(index)

    return _endless(epoch)


def seed_works_way(network, files, batch) -> Iterator[int]:
    """The seed work's steps: from text files."""
    network = copy.deepcopy(network).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    loader = torch.utils.data.DataLoader(files, batch_size=batch, shuffle=True)

    def epoch():
        for samples, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(samples), labels).backward()
            optimizer.step()
            yield len(labels)

    return _endless(epoch)


def _endless(epoch: Callable[[], Iterator[int]]) -> Iterator[int]:
    while True:
        yield from epoch()
