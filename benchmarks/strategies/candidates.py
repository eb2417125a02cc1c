"""The table of candidates: points of the default space, each trained once on a quarter of the contest's segments.

Points are those that Optuna's random sampler draws with the table's seed, one after the other, those that do not fit
the board included. WORK keeps one file a candidate, so that an interrupted run goes on, and several processes can share
the work.

A quarter is that of each training subject's episodes (`data_share`), and every fourth validation segment. All test
segments are scored, once, and nothing is chosen on them.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna
import torch
from pydantic import Field

from ecm_edge import metrics, targets
from ecm_edge.base import provenance
from ecm_edge.base.errors import CandidateError, EcmEdgeError
from ecm_edge.base.records import Record, Verdict
from ecm_edge.candidate import candidate, space
from ecm_edge.candidate.training_config import Scalar
from ecm_edge.data import splits
from ecm_edge.data.dataset import open_dataset
from ecm_edge.evaluate import timing
from ecm_edge.search import ladder
from ecm_edge.search.gate import gate_candidate
from ecm_edge.search.ladder import RungRecord
from ecm_edge.search.trial import Setting, objective_value
from ecm_edge.training import epochs, train
from ecm_edge.training.epochs import Epoch, Stopped
from ecm_edge.training.mapped import mapped_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.candidate.space import Point
    from ecm_edge.data.splits import Split
    from ecm_edge.forms.gate import CostRecord

RECORD = Path(__file__).parents[1] / "records" / "strategies.json"
TARGET, SPACE = "loongson-2k0500", "default"
SEED = 0  # of the split, the points and the weights
DATA_SHARE = 0.25
CANDIDATES, SECOND_SEEDS = 200, 40  # trained; those of two seeds are the first ones
UNFIT = "does not fit"
_SECOND_SEED = 100_000  # added to that of a candidate


class Result(Record):
    """What a network is worth on some subjects."""

    objective: float
    f1: float
    fbeta_mean: float
    g: float


class EpochResult(Result):
    """A network after an epoch, on the validation subjects; `passes` are training segments seen until then."""

    epoch: int
    passes: int
    validation_loss: float


class Training(Record):
    """One training in full; `kept` is the epoch whose weights are kept, and `test` what they are worth elsewhere."""

    seed: int
    stopped: Stopped
    epochs: list[EpochResult]
    kept: int
    test: Result
    seconds: float

    @property
    def objective(self) -> float:
        """What a search would rank it by."""
        return next(epoch.objective for epoch in self.epochs if epoch.epoch == self.kept)


class Candidate(Record):
    """A point of the space and what came of it; one that does not fit, or that failed, has the reason."""

    number: int
    point: dict[str, Scalar]
    macs: int
    flash_bytes: int
    latency_ms: float
    reason: str = ""
    rungs: list[RungRecord] = Field(default=[])
    trained: Training | None = None
    second: Training | None = None


class Table(Record):
    """All candidates so far, in the order in which they were drawn."""

    command: str
    commit: str | None
    date_utc: str
    machine: str
    dataset_sha256: str
    target: str
    space: str
    seed: int
    data_share: float
    subjects: dict[str, int]
    candidates: list[Candidate]

    @property
    def trained(self) -> list[Candidate]:
        """Those that fit and did not fail."""
        return [one for one in self.candidates if one.trained]


@dataclasses.dataclass(frozen=True)
class Work:
    """The folder of one process that trains; of `shares` processes it is number `share`."""

    data: Path
    out: Path
    share: int = 0
    shares: int = 1

    def path(self, number: int, *, second: bool = False) -> Path:
        """Where a candidate is kept, or its second training."""
        return self.out / f"{number:04d}{'-second' if second else ''}.json"

    def saved(self) -> list[Candidate]:
        """The candidates in the folder without a gap below them, each with its second training if there is one."""
        found = []
        while self.path(len(found)).is_file():
            one, again = Candidate.load(self.path(len(found))), self.path(len(found), second=True)
            second = Training.load(again) if again.is_file() else None
            found.append(one.model_copy(update={"second": second}))
        return found


class Trainer:
    """Trains candidates on the data of a fixed split."""

    def __init__(self, data: Path) -> None:
        torch.set_num_threads(1)
        self.dataset, self.target = open_dataset(data), targets.load(TARGET)
        self.space = space.load(SPACE)
        self.split = splits.holdout(self.dataset, seed=SEED)
        whole = train.load_data(self.dataset, self.split)
        some = slice(None, None, round(1 / DATA_SHARE))
        quarter = dataclasses.replace(
            whole,
            validation_samples=whole.validation_samples[some],
            validation_labels=whole.validation_labels[some],
            validation_subjects=whole.validation_subjects[some],
            validation_sources=whole.validation_sources[some],
        )
        self.setting = Setting(self.dataset, quarter, self.target, "board_score")

    def config(self, point: Point, seed: int) -> CandidateConfig:
        """A point as it is trained in full here."""
        family, network, training = space.split_point(point)
        training = training.model_copy(update={"data_share": DATA_SHARE})
        return candidate.configure(self.dataset, self.split, family, network, training, seed)

    def candidate(self, number: int, point: Point) -> Candidate:
        """Gate, rungs, training in full."""
        config = self.config(point, SEED + number)
        segment = self.setting.data.validation_samples[:1, 0].numpy()
        _, costs = gate_candidate(config, self.target, segment)
        gated = Candidate(
            number=number,
            point=point,
            macs=costs.macs,
            flash_bytes=costs.flash_bytes,
            latency_ms=costs.latency_ms.mean_ms,
            reason="" if costs.verdict == Verdict.PASS else UNFIT,
        )
        if gated.reason:
            return gated
        try:
            rungs = [self._rung(config, number, costs) for number in range(len(ladder.RUNGS))]
            return gated.model_copy(update={"rungs": rungs, "trained": self.train(config, costs)})
        except EcmEdgeError as problem:
            return gated.model_copy(update={"reason": str(problem)})

    def again(self, one: Candidate) -> Training:
        """The candidate's training with its second seed."""
        config = self.config(one.point, SEED + one.number + _SECOND_SEED)
        _, costs = gate_candidate(config, self.target, self.setting.data.validation_samples[:1, 0].numpy())
        return self.train(config, costs)

    def _rung(self, config: CandidateConfig, number: int, costs: CostRecord) -> RungRecord:
        rung = ladder.RUNGS[number]
        trained = train.fit(ladder.config_at(rung, config), self.setting.data, rule=self.setting.rule).record
        return ladder.rung_record(rung, trained, self.setting.value_of(trained.best, costs))

    def train(self, config: CandidateConfig, costs: CostRecord) -> Training:
        """Train in full, and score what is kept on the test subjects."""
        began = time.process_time()
        trained = train.fit(config, self.setting.data, rule=self.setting.rule)
        record = trained.record
        passes = record.windows_seen // len(record.epochs)
        curve = [self._epoch(epoch, passes, costs) for epoch in record.epochs]
        test = self._test(trained.network, record.best, costs)
        return Training(
            seed=config.seed,
            stopped=record.stopped,
            epochs=curve,
            kept=record.best.epoch,
            test=test,
            seconds=time.process_time() - began,
        )

    def _epoch(self, epoch: Epoch, passes: int, costs: CostRecord) -> EpochResult:
        return EpochResult(
            **self._result(epoch, costs).model_dump(),
            epoch=epoch.epoch,
            passes=passes * epoch.epoch,
            validation_loss=epoch.validation_loss,
        )

    def _result(self, epoch: Epoch, costs: CostRecord) -> Result:
        objective = objective_value(epoch, costs, self.setting.rule, self.setting.objective)
        return Result(objective=objective, f1=epoch.f1, fbeta_mean=epoch.fbeta_mean, g=epoch.g)

    def _test(self, network: torch.nn.Module, kept: Epoch, costs: CostRecord) -> Result:
        """At the threshold that was chosen on the validation subjects, which is in the network's bias."""
        rows = self.dataset.rows_of(self.split.test)
        scores = epochs.predict(network, mapped_samples(self.dataset, rows), torch.device("cpu")).numpy()
        margins = scores[:, 1] - scores[:, 0]
        labels, subjects = self.dataset.labels[rows], np.array(self.dataset.subject_names(rows))
        beta, good_above = metrics.criteria(self.setting.rule)
        figures = {
            "f1": metrics.f1(labels, margins, subjects),
            "fbeta_mean": metrics.fbeta_mean(labels, margins, subjects, beta),
            "g": metrics.g(labels, margins, subjects, beta, good_above),
            "fbeta_pooled": metrics.fbeta_pooled(labels, margins, subjects, beta),
        }
        return self._result(kept.model_copy(update=figures), costs)


def points() -> Iterator[Point]:
    """The points of the table, without end."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=SEED))
    whole = space.load(SPACE)
    while True:
        yield space.draw(whole, study.ask())


def run(work: Work, report: Callable[[str], None]) -> None:
    """Train this process's share of the candidates that are not in the folder, then of the second seeds.

    It ends when the folder has `CANDIDATES` that trained. Several processes may end with some more.
    """
    work.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(work.data)
    for number, point in enumerate(points()):
        if number % work.shares == work.share and not work.path(number).is_file():
            if sum(one.trained is not None for one in work.saved()) >= CANDIDATES:
                break
            one = trainer.candidate(number, point)
            one.save(work.path(number))
            report(f"{number}: {point['family']}, {_told(one.trained) if one.trained else one.reason}")
    for one in [one for one in work.saved() if one.trained][:SECOND_SEEDS]:
        path = work.path(one.number, second=True)
        if one.number % work.shares == work.share and not path.is_file():
            again = trainer.again(one)
            again.save(path)
            report(f"{one.number} again: {_told(again)}")


def take_over(work: Work, table: Table) -> int:
    """Put the candidates of a table into the folder, where it does not have them; how many.

    Raises:
        CandidateError: a table of another data set, space or seed.
    """
    ours = [open_dataset(work.data).header.content_sha256, SPACE, SEED]
    theirs = [table.dataset_sha256, table.space, table.seed]
    if ours != theirs:
        raise CandidateError(f"a table of {ours} is taken over", f"{theirs}", "Train from the beginning.")
    work.out.mkdir(parents=True, exist_ok=True)
    missing = [one for one in table.candidates if not work.path(one.number).is_file()]
    for one in missing:
        if one.second:
            one.second.save(work.path(one.number, second=True))
        one.model_copy(update={"second": None}).save(work.path(one.number))
    return len(missing)


def _told(trained: Training) -> str:
    return f"{trained.objective:.2f} points, test {trained.test.objective:.2f}, {trained.seconds:.0f} s"


def table(work: Work, command: str) -> Table:
    """What is in the folder so far.

    Raises:
        CandidateError: nothing that trained.
    """
    where, dataset = provenance.collect(), open_dataset(work.data)
    split: Split = splits.holdout(dataset, seed=SEED)
    found = Table(
        command=command,
        commit=where.git_sha,
        date_utc=where.date_utc,
        machine=timing.host().split(",")[0],
        dataset_sha256=dataset.header.content_sha256,
        target=TARGET,
        space=SPACE,
        seed=SEED,
        data_share=DATA_SHARE,
        subjects={"train": len(split.train), "validation": len(split.validation), "test": len(split.test)},
        candidates=work.saved(),
    )
    if not found.trained:
        raise CandidateError("a table has candidates that trained", f"none in {work.out}", "Train some.")
    return found
