"""A candidate: one configuration, and the folder in which every stage leaves its record and its file."""

from __future__ import annotations

import operator
import shlex
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ecm_edge import tasks
from ecm_edge.base import contents, files, trust
from ecm_edge.base.errors import CandidateError
from ecm_edge.base.names import path_meant
from ecm_edge.base.parsing import json_of
from ecm_edge.base.records import Form, Record
from ecm_edge.candidate.networks import command_of
from ecm_edge.candidate.training_config import Sampling, Scalar, TrainingConfig
from ecm_edge.data.splits import Split
from ecm_edge.tasks import Task

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from ecm_edge.data.dataset import Dataset

CONFIG = "candidate.json"
COST = "cost.json"
TRAINING = "training.json"
EPOCHS = "epochs.csv"
CHECKPOINT = "checkpoint.safetensors"
MADE_FROM = "config_sha256"  # in a checkpoint's metadata: the hash of the configuration that it was trained for
EXPORT = "export.json"
EXPORT_LOG = "export.log"
EXPORTED = "model.onnx"
SIMPLIFY = "simplify.json"
QUANTIZE = "quantize.json"
VERIFY = "verify.json"
BENCH = "bench.json"
SCORE = "score.json"
FIRMWARE = "firmware.json"
IMAGES = "firmware"  # a folder
RUN_SETTINGS = "search.json"
RUN_SUMMARY = "summary.json"
RUN_TRIALS = "trials"
_LARGEST_SUMMARY_BYTES = 1 << 28
FORM_FILES: dict[Form, str] = {
    "float32": "model.simplified.onnx",
    "float16": "model.float16.onnx",
    "int8": "model.int8.onnx",
}
"""The ONNX file of each form that ships."""


class CandidateConfig(Record):
    """Everything that decides what a candidate is; with the same data set it is trained to the same weights.

    `task` is that of the data set, with the positive rhythms that it was imported with.
    `source_sha256` are the content hashes of the sets that the data set was merged from; [] if it was not. `unit` is
    that of the samples, or "unstated".
    """

    family: str
    factory: str | None = None
    network: dict[str, Scalar]
    training: TrainingConfig
    seed: int
    split: Split
    dataset_sha256: str
    source_sha256: list[str] = Field(default_factory=list)
    synthetic: bool
    sampling_rate_hz: float
    samples_per_segment: int
    unit: str = "mV"
    task: Task = Field(default_factory=tasks.default)

    @property
    def sha256(self) -> str:
        """Hash of the configuration, for provenance.

        A field of `_ADDED_LATER` counts only where it is used, so that older configurations keep their hashes. The
        task does not count: the data set's hash binds it.
        """
        return files.sha256_json(_without_unused(self.model_dump(mode="json", exclude={"task"})))


_TRAINING_ADDED: dict[str, Any] = {
    "sampling": Sampling().model_dump(),
    "augmentation.splice": 0,
    "augmentation.in_band": 0.0,
    "augmentation.recut": False,
    "augmentation.tempo": 0.0,
    "augmentation.qrs": 0.0,
    "augmentation.p_wave": 0.0,
    "augmentation.t_wave": 0.0,
    "augmentation.recorded": "",
    "augmentation.recorded_snr_db": 0.0,
    "bag_windows": 1,
    "bag": "mean",
    "quiet_below": 0.0,
    "unlabelled": False,
    "auxiliary": 0.0,
}
_ADDED_LATER: dict[str, Any] = {
    "source_sha256": [],
    "unit": "mV",
    **{f"training.{name}": unused for name, unused in _TRAINING_ADDED.items()},
    **{f"training.teacher.training.{name}": unused for name, unused in _TRAINING_ADDED.items()},
    "training.teacher.count": 1,
}
"""Fields that configurations did not have at first, by their path, and the value that stands for their absence."""


def _without_unused(fields: dict[str, Any], path: str = "") -> dict[str, Any]:
    """The fields of the table at `path`, and of the tables in it, without those of `_ADDED_LATER` that are not used."""
    kept = {}
    for name, value in fields.items():
        here = f"{path}{name}"
        if here not in _ADDED_LATER or value != _ADDED_LATER[here]:
            kept[name] = _without_unused(value, f"{here}.") if isinstance(value, dict) else value
    return kept


def configure(
    dataset: Dataset,
    split: Split,
    family: str,
    network: dict[str, Scalar],
    training: TrainingConfig,
    seed: int,
    factory: str | None = None,
) -> CandidateConfig:
    """A configuration bound to a data set and a split of its subjects."""
    return CandidateConfig(
        family=family,
        factory=factory,
        network=network,
        training=training,
        seed=seed,
        split=split,
        dataset_sha256=dataset.header.content_sha256,
        source_sha256=dataset.header.source_sha256,
        synthetic=dataset.header.synthetic,
        sampling_rate_hz=dataset.header.sampling_rate_hz,
        samples_per_segment=dataset.header.samples_per_segment,
        unit=dataset.header.unit,
        task=_task_of(dataset),
    )


def _task_of(dataset: Dataset) -> Task:
    return dataset.header.task.model_copy(update={"positive": dataset.header.positive_rhythms})


def load_config(folder: Path) -> CandidateConfig:
    """The configuration of the candidate in `folder`.

    Raises:
        CandidateError: no such folder, or not a candidate.
    """
    if not (folder / CONFIG).exists():
        of_file = " An ONNX file goes into `fit`, `quantize`, `verify`, `bench`, `score`, `firmware` and `bundle`."
        entry = contents.incumbent_of(folder)
        meant = f"Type {shlex.quote(str(entry))}, the entry in use. " if entry else path_meant(folder)
        hint = f"{meant}Check the path and the order of the arguments."
        raise CandidateError(
            "a candidate is a folder that `ecm-edge train` or `ecm-edge search` made",
            f"{contents.of_path(folder)} at {folder}",
            hint + of_file * folder.is_file(),
        )
    config = CandidateConfig.load(folder / CONFIG)
    trust.found(commands(config), folder / CONFIG)
    return config


def commands(config: CandidateConfig) -> list[str]:
    """What building the networks of a configuration would run that is not the package's own: factories.

    The family, the parameters and the training are words and figures for the package's code.
    """
    teacher = config.training.teacher
    return [command_of(name) for name in (config.factory, teacher.factory if teacher else None) if name is not None]


def locate(path: Path) -> Path:
    """A candidate's own folder; a run's folder stands for the run's best candidate.

    Raises:
        CandidateError: the run has no verified candidate, a better one that is not verified yet, or a damaged summary.
    """
    summary = path / RUN_SUMMARY
    if not summary.is_file():
        if (path / RUN_SETTINGS).is_file():
            raise CandidateError("a run has a finished trial", f"none in {path}", "Search with --resume.")
        return path
    try:
        run = json_of(files.read_bounded(summary, _LARGEST_SUMMARY_BYTES))
        best, unproven, hosts = _best(run), _unproven(run), _hosts(run)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise CandidateError("a run has a summary", f"no best trial in {summary}", "Search with --resume.") from None
    if unproven:
        known = "none is proven" if best is None else f"the best that is proven is {trial_folder(path, best)}"
        raise CandidateError(
            "the best trial of a run is proven: exported, verified and built",
            f"trial {', '.join(map(str, unproven))} not yet in {path}; {known}",
            "Type `ecm-edge search … --resume`, which proves the best" + (", or name that folder." if best else "."),
        )
    if best is None:
        hint = f"Search longer; `ecm-edge verify {path / RUN_TRIALS}/NUMBER …` says why one fails."
        raise CandidateError("a run has a verified candidate", f"none in {path}", hint)
    folder = trial_folder(path, best)
    if not folder.is_dir():
        raise CandidateError(
            "the best trial of a run has its folder there",
            f"no {folder}: another machine trained it{f', {hosts[best]}' if hosts.get(best) else ''}",
            "Copy the folder from its worker's --out, or search with --artifacts and fetch it with `ecm-edge pull`.",
        )
    return folder


def _best(run: dict[str, Any]) -> int | None:
    """The number of the best trial that is proven; raises TypeError where it is no number."""
    return None if run["best"] is None else operator.index(run["best"])


def _hosts(run: dict[str, Any]) -> dict[int, str | None]:
    """Which machine trained each trial, as far as is known."""
    return {trial["number"]: trial.get("host") for trial in run.get("trials", [])}


def _unproven(run: dict[str, Any]) -> list[int]:
    """The trials of a run's summary that are better than its best, as far as is known: trained and not proven yet."""
    least = float("-inf") if run["best"] is None else float(run["best_objective"])
    trials = (trial for trial in run.get("trials", []) if trial["outcome"] == "trained")
    return [trial["number"] for trial in trials if trial["objective"] > least]


def trial_folder(run: Path, number: int) -> Path:
    """Where a run keeps its trial of that number."""
    return run / RUN_TRIALS / f"{number:04d}"


def check_forms(folder: Path, *forms: Form, data: Path | None = None) -> None:
    """Check that a candidate has one of these forms, or any where none is named.

    Args:
        folder: the candidate's.
        forms: those that would do.
        data: the data set that it was made from, for the command that makes them, if it is known.

    Raises:
        CandidateError: it has none of them; the command to type is named.
    """
    wanted = forms or tuple(FORM_FILES)
    if any((folder / FORM_FILES[form]).is_file() for form in wanted):
        return
    verbs = [] if (folder / FORM_FILES["float32"]).is_file() else ["export"]
    verbs += [] if "float32" in wanted else ["quantize"]
    place = f"{shlex.quote(str(folder))} --data {shlex.quote(str(data)) if data else 'DATA'}"
    raise CandidateError(
        f"a candidate has its {' or '.join(wanted)} form",
        f"no {', '.join(FORM_FILES[form] for form in wanted)} in {folder}",
        f"Type `{' && '.join(f'ecm-edge {verb} {place}' for verb in verbs)}` first.",
    )


def check_dataset(config: CandidateConfig, dataset: Dataset) -> None:
    """Check that this is the data set that the candidate was made from.

    Raises:
        CandidateError: another content hash.
    """
    if config.dataset_sha256 != dataset.header.content_sha256:
        raise CandidateError(
            "a candidate goes with the data set it was made from",
            f"content {dataset.header.content_sha256[:12]} in {dataset.folder}, not {config.dataset_sha256[:12]}",
            "Give the data set that it was trained with.",
        )


def check_task(config: CandidateConfig, dataset: Dataset) -> list[str]:
    """Warnings where a data set is of another task than a candidate, which can answer it all the same.

    Raises:
        CandidateError: it cannot: other windows, another rate, or no positive rhythm in common.
    """
    own, other = config.task, _task_of(dataset)
    if config.dataset_sha256 == dataset.header.content_sha256:
        return []
    if (
        dataset.header.samples_per_segment != config.samples_per_segment
        or dataset.header.sampling_rate_hz != config.sampling_rate_hz
        or not set(own.positive) & set(other.positive)
    ):
        form = "{} ({} positive), {} samples at {:g} Hz"
        has = (dataset.header.samples_per_segment, dataset.header.sampling_rate_hz)
        wants = (config.samples_per_segment, config.sampling_rate_hz)
        raise CandidateError(
            f"a candidate answers segments of its task: {form.format(own.name, ', '.join(own.positive), *wants)}",
            f"{form.format(other.name, ', '.join(other.positive), *has)}, in {dataset.folder}",
            "Import the recordings again with --task, or train a candidate for that task.",
        )
    fields = {"positive": "positive rhythms", "band_hz": "band in Hz"}
    return [
        f"the {words} of the data set are {getattr(other, name)}, those of the model's task {getattr(own, name)}"
        for name, words in fields.items()
        if getattr(own, name) != getattr(other, name)
    ]


def build_network(config: CandidateConfig) -> nn.Module:
    """The untrained network of a configuration; the same weights each time."""
    return new_network(config.family, config.network, config.samples_per_segment, config.factory, config.seed)


def new_network(
    family: str, network: dict[str, Scalar], samples_per_segment: int, factory: str | None = None, seed: int = 0
) -> nn.Module:
    """An untrained network of a family; the same weights each time.

    Raises:
        SpaceError: as `networks.build`.
    """
    import torch

    from ecm_edge.candidate import networks

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return networks.build(family, network, samples_per_segment, factory)


def load_network(folder: Path) -> nn.Module:
    """The trained network in evaluation mode, its decision threshold folded into the last bias.

    Raises:
        CandidateError: no checkpoint, or one that does not fit the configuration or was trained for another.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    config = load_config(folder)
    network, path = build_network(config), folder / CHECKPOINT
    if not path.is_file():  # a pipe would never end
        raise CandidateError("a trained candidate has a checkpoint", f"none at {path}", "Run `ecm-edge train` first.")
    try:
        with safe_open(path, "pt") as checkpoint:
            made_from = (checkpoint.metadata() or {}).get(MADE_FROM, config.sha256)
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as problem:
        reason = str(problem).splitlines()[0]
        raise CandidateError(
            "a checkpoint fits its configuration", f"{reason} in {path}", "Train the candidate again."
        ) from None
    if made_from != config.sha256:
        raise CandidateError(
            "a checkpoint was trained for the configuration beside it",
            f"one of configuration {made_from[:12]}, not {config.sha256[:12]}, at {path}",
            "Restore the two, or train the candidate again.",
        )
    return network.eval()


def network_state(network: nn.Module) -> dict[str, Any]:
    """The state to save: contiguous tensors on the CPU, by name."""
    return {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
