"""A candidate: one configuration, and the folder in which every stage leaves its record and its file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError
from ecm_edge.base.records import Form, Record
from ecm_edge.data.splits import Split
from ecm_edge.metrics import ThresholdRule

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from ecm_edge.data.dataset import Dataset

CONFIG = "candidate.json"
COST = "cost.json"
TRAINING = "training.json"
EPOCHS = "epochs.csv"
CHECKPOINT = "checkpoint.safetensors"
MADE_FROM = "config_sha256"  # what a checkpoint's metadata calls the configuration that it was trained for
EXPORT = "export.json"
EXPORT_LOG = "export.log"
EXPORTED = "model.onnx"
SIMPLIFY = "simplify.json"
QUANTIZE = "quantize.json"
VERIFY = "verify.json"
BENCH = "bench.json"
SCORE = "score.json"
FIRMWARE = "firmware.json"
IMAGES = "firmware"  # the folder of the images, beside it
RUN_SETTINGS = "search.json"
RUN_SUMMARY = "summary.json"
RUN_TRIALS = "trials"
FORM_FILES: dict[Form, str] = {
    "float32": "model.simplified.onnx",
    "float16": "model.float16.onnx",
    "int8": "model.int8.onnx",
}
"""The ONNX file of each form that ships."""

Scalar = bool | int | float | str


class Augmentation(Record):
    """What is done to a training segment, drawn anew every time; never a time-warp, which would change the rhythm."""

    sign_flip: float = Field(default=0.5, ge=0, le=1, description="probability")
    gain: float = Field(default=0.2, ge=0, lt=1, description="factor drawn from 1 - gain to 1 + gain")
    noise: float = Field(default=0.02, ge=0, le=1, description="standard deviation, as a share of the segment's own")
    shift: int = Field(default=25, ge=0, description="at most so many samples, edges repeated")
    recut: bool = Field(
        default=False, description="whether segments are cut anew each time, anywhere in their 10 s episode"
    )
    tempo: float = Field(
        default=0,
        ge=0,
        le=0.5,
        description="half of the recut segments are slowed or hastened, evenly, by a factor of up to 1 + tempo",
    )
    stretch: float = Field(
        default=0,
        ge=0,
        le=0.5,
        description="half of the segments are slowed, evenly, to 1 - stretch of their rate at most",
    )
    splice: int = Field(
        default=0, ge=0, description="at most so many samples are cut out of 3 of 10 segments: a beat comes early"
    )
    filter: float = Field(default=0, ge=0, le=1, description="how far a random filter of 9 taps strays from none")
    disturbance: float = Field(
        default=0,
        ge=0,
        le=3,
        description="largest share of the segment's spread: wander, hum, muscle, motion, steps, noise",
    )
    disturbance_layers: int = Field(
        default=2, ge=1, le=8, description="disturbances on top of each other, each on half"
    )
    in_band: float = Field(
        default=0, ge=0, le=1, description="share of the disturbances that lie where the ECG itself does"
    )
    cutout: int = Field(default=0, ge=0, description="so many samples in a row become the mean, in 3 of 10 segments")


class TrainingConfig(Record):
    """How a candidate is trained."""

    learning_rate: float = Field(default=3e-3, gt=0, le=1)
    weight_decay: float = Field(default=1e-2, ge=0, le=1)
    batch_size: int = Field(default=256, ge=2, le=65536)
    epochs: int = Field(default=10, ge=1, le=10_000)
    keep: Literal["best", "last"] = Field(
        default="best",
        description="weights of the least validation loss, or of the last epoch; then nothing stops early",
    )
    loss: Literal["cross_entropy", "soft_fbeta", "focal"] = "cross_entropy"
    focus: float = Field(default=2, ge=0, le=10, description="of the focal loss: how little the easy segments count")
    schedule: Literal["one_cycle", "plateau", "constant"] = Field(
        default="one_cycle", description="of the learning rate; a constant one is for a slow average of weights"
    )
    patience: int = Field(default=4, ge=1, description="epochs without a better validation loss before stopping")
    gap_limit: float = Field(default=1.0, gt=0, description="stop when validation loss exceeds training loss by more")
    weight_average: Literal["none", "ema"] = "none"
    average_decay: float = Field(default=0.99, gt=0, lt=1, description="of the average, by batch")
    threshold: ThresholdRule = Field(
        default="chosen",
        description="chosen where the predictions of validation subjects score best; or -ln β; or 0, even odds",
    )
    train_on_blank: bool = Field(default=False, description="whether segments of blank rhythm are trained on")
    data_share: float = Field(
        default=1, gt=0, le=1, description="of each subject's episodes; a smaller part of a larger"
    )
    label_smoothing: float = Field(
        default=0, ge=0, lt=1, description="how much of the target is spread over both classes"
    )
    mixup: float = Field(default=0, ge=0, le=1, description="share of the batches whose segments are mixed in pairs")
    teacher: Teacher | None = Field(default=None, description="what `distill` and `doubted` listen to")
    distill: float = Field(default=0, ge=0, le=1, description="the teachers' share in the target, beside the label's")
    doubted: Literal["keep", "drop"] = Field(
        default="keep", description="whether to train on segments whose label the teacher contradicts"
    )
    doubt_above: float = Field(default=0.95, ge=0.5, lt=1, description="the least probability of a contradiction")
    qat_epochs: int = Field(default=0, ge=0, le=1000, description="epochs after those, with int8 simulated")
    qat_learning_rate: float = Field(default=3e-4, gt=0, le=1, description="the highest one of those")
    augmentation: Augmentation = Augmentation()

    @model_validator(mode="after")
    def _taught(self) -> TrainingConfig:
        if self.teacher is None and self.listens:
            raise ValueError("distill and doubted = drop need a teacher")
        return self

    @property
    def listens(self) -> bool:
        """Whether teachers have a part in the training."""
        return self.distill > 0 or self.doubted == "drop"


class Teacher(Record):
    """Networks of any size, never shipped, whose answers another one is trained with.

    To `distill`, `count` of them that differ in their seeds answer together. `doubted` asks one, the first seed's.
    """

    family: str
    factory: str | None = None
    network: dict[str, Scalar]
    training: TrainingConfig = Field(default_factory=lambda: TrainingConfig(keep="last"))
    seed: int = Field(default=1, description="of the first; the others have the next ones, but for that of the student")
    count: int = Field(default=1, ge=1, le=32)

    @model_validator(mode="after")
    def _by_itself(self) -> Teacher:
        if self.training.keep != "last" or self.training.schedule == "plateau":
            raise ValueError("a teacher is trained without validation: keep = last, schedule = one_cycle")
        if self.training.teacher is not None:
            raise ValueError("a teacher has no teacher")
        return self


TrainingConfig.model_rebuild()


class CandidateConfig(Record):
    """Everything that decides what a candidate is; with the same data set it is trained to the same weights."""

    family: str
    factory: str | None = None
    network: dict[str, Scalar]
    training: TrainingConfig
    seed: int
    split: Split
    dataset_sha256: str
    synthetic: bool
    sampling_rate_hz: float
    samples_per_segment: int

    @property
    def sha256(self) -> str:
        """Hash of the configuration, for provenance; that of an earlier version's stays what it was."""
        fields = self.model_dump(mode="json")
        return files.sha256_json({**fields, "training": _without_unused(fields["training"])})


_ADDED_LATER = {"splice": 0, "in_band": 0.0, "count": 1, "recut": False, "tempo": 0.0}
"""Training parameters that configurations once did not have, and what makes them those configurations."""


def _without_unused(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a training, tables in it too, without those that were added later and are not used."""
    return {
        name: _without_unused(value) if isinstance(value, dict) and name != "network" else value
        for name, value in fields.items()
        if name not in _ADDED_LATER or value != _ADDED_LATER[name]
    }


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
        synthetic=dataset.header.synthetic,
        sampling_rate_hz=dataset.header.sampling_rate_hz,
        samples_per_segment=dataset.header.samples_per_segment,
    )


def load_config(folder: Path) -> CandidateConfig:
    """The configuration of the candidate in `folder`.

    Raises:
        CandidateError: no such folder, or not a candidate.
    """
    if not folder.is_dir():
        raise CandidateError(
            "a candidate is a folder", f"{folder}", "Make one with `ecm-edge train` or `ecm-edge search`."
        )
    return CandidateConfig.load(folder / CONFIG)


def locate(path: Path) -> Path:
    """A candidate's own folder; a run's folder stands for the run's best candidate.

    Raises:
        CandidateError: the run has no verified candidate, or its summary is damaged.
    """
    summary = path / RUN_SUMMARY
    if not summary.is_file():
        if (path / RUN_SETTINGS).is_file():
            raise CandidateError("a run has a finished trial", f"none in {path}", "Search with --resume.")
        return path
    try:
        best = json.loads(summary.read_text(encoding="utf-8"))["best"]
    except (ValueError, KeyError, TypeError):
        raise CandidateError("a run has a summary", f"no best trial in {summary}", "Search with --resume.") from None
    if best is None:
        hint = f"Search longer; `ecm-edge verify {path / RUN_TRIALS}/NUMBER …` says why one fails."
        raise CandidateError("a run has a verified candidate", f"none in {path}", hint)
    return trial_folder(path, best)


def trial_folder(run: Path, number: int) -> Path:
    """Where a run keeps its trial of that number."""
    return run / RUN_TRIALS / f"{number:04d}"


def check_dataset(config: CandidateConfig, dataset: Dataset) -> None:
    """Whether this is the data set that the candidate was made from.

    Raises:
        CandidateError: another content hash.
    """
    if config.dataset_sha256 != dataset.header.content_sha256:
        raise CandidateError(
            "a candidate goes with the data set it was made from",
            f"content {dataset.header.content_sha256[:12]} in {dataset.folder}, not {config.dataset_sha256[:12]}",
            "Give the data set that it was trained with.",
        )


def build_network(config: CandidateConfig) -> nn.Module:
    """The untrained network of a configuration; the same weights each time."""
    import torch

    from ecm_edge.candidate import networks

    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        return networks.build(config.family, config.network, config.samples_per_segment, config.factory)


def load_network(folder: Path) -> nn.Module:
    """The trained network in evaluation mode, its decision threshold folded into the last bias.

    Raises:
        CandidateError: no checkpoint, or one that does not fit the configuration or was trained for another.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    config = load_config(folder)
    network, path = build_network(config), folder / CHECKPOINT
    try:
        with safe_open(path, "pt") as checkpoint:
            made_from = (checkpoint.metadata() or {}).get(MADE_FROM, config.sha256)
        network.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise CandidateError(
            "a trained candidate has a checkpoint", f"none at {path}", "Run `ecm-edge train` first."
        ) from None
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
