"""How a candidate is trained: the options of the training, of its augmentation and of its teachers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ecm_edge.base.records import Record
from ecm_edge.metrics import ThresholdRule

Scalar = bool | int | float | str


class Augmentation(Record):
    """How training segments are changed, drawn again for every batch.

    Time is scaled evenly or a piece is cut out. It is never warped, which would change the rhythm.
    """

    sign_flip: float = Field(default=0.5, ge=0, le=1, description="probability")
    gain: float = Field(default=0.2, ge=0, lt=1, description="factor drawn from 1 - gain to 1 + gain")
    noise: float = Field(default=0.02, ge=0, le=1, description="standard deviation, as a share of the segment's own")
    shift: int = Field(default=25, ge=0, description="largest shift in samples; the edge is repeated")
    recut: bool = Field(
        default=False,
        description="random crop: each time, a segment is cut from another place of its passage of the recording",
    )
    tempo: float = Field(
        default=0,
        ge=0,
        le=0.5,
        description="with recut: half of the segments are read slower or faster by a factor of up to 1 + tempo",
    )
    stretch: float = Field(
        default=0,
        ge=0,
        le=0.5,
        description="half of the segments are slowed evenly, at most to 1 - stretch of their rate",
    )
    splice: int = Field(
        default=0,
        ge=0,
        description="most samples that are cut out, in 3 of 10 segments, so that a beat comes early",
    )
    filter: float = Field(
        default=0,
        ge=0,
        le=1,
        description="standard deviation of the 9 taps of a random filter around those that change nothing",
    )
    disturbance: float = Field(
        default=0,
        ge=0,
        le=3,
        description="largest disturbance (wander, hum, muscle, motion, steps, noise), as a share of the deviation",
    )
    disturbance_layers: int = Field(
        default=2, ge=1, le=8, description="disturbances on top of each other, each on half of the segments"
    )
    in_band: float = Field(
        default=0, ge=0, le=1, description="share of the disturbances whose frequencies are those of the ECG itself"
    )
    cutout: int = Field(
        default=0, ge=0, description="number of samples in a row that become the segment's mean, in 3 of 10 segments"
    )
    qrs: float = Field(
        default=0, ge=0, le=1, description="share of the segments whose QRS is broadened, alike for all of their beats"
    )
    p_wave: float = Field(
        default=0, ge=0, le=1, description="share of the segments whose P waves are taken out, scaled or inverted"
    )
    t_wave: float = Field(default=0, ge=0, le=1, description="share of the segments whose T waves are moved")
    recorded: str = Field(
        default="", description="a folder of WFDB records of noise; half of the segments get some of it"
    )
    recorded_snr_db: float = Field(
        default=0, ge=-20, le=40, description="least ratio of ECG to recorded noise; drawn from there to 24 dB above"
    )


class Sampling(Record):
    """How often segments are drawn in an epoch; `ecm_edge.training.sampling` says how balances work.

    Without any of it every segment is drawn once.
    """

    segments: int = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="draws in an epoch: segments, or bags where bag_windows is above 1; 0: one a segment",
    )
    source: float = Field(default=0, ge=0, le=1, description="balance of sources: 0 as they are, 1 all alike")
    label: float = Field(default=0, ge=0, le=1, description="balance of the classes of a source")
    rhythm: float = Field(default=0, ge=0, le=1, description="balance of the rhythms of a class")
    subject: float = Field(default=0, ge=0, le=1, description="balance of the subjects of a rhythm")


class TrainingConfig(Record):
    """How a candidate is trained."""

    learning_rate: float = Field(default=3e-3, gt=0, le=1)
    weight_decay: float = Field(default=1e-2, ge=0, le=1)
    batch_size: int = Field(default=256, ge=2, le=65536)
    bag_windows: int = Field(
        default=1,
        ge=1,
        le=64,
        description="random crops of a segment's passage that form a bag, with one answer; they may overlap",
    )
    bag: Literal["mean", "loudest"] = Field(
        default="mean",
        description="the answer of a bag: the mean of the margins of its windows, or the largest",
    )
    epochs: int = Field(default=10, ge=1, le=10_000)
    keep: Literal["best", "last"] = Field(
        default="best",
        description="weights of the epoch with the lowest validation loss; or the last, without early stopping",
    )
    loss: Literal["cross_entropy", "soft_fbeta", "focal"] = "cross_entropy"
    focus: float = Field(
        default=2, ge=0, le=10, description="gamma of the focal loss: the larger, the less easy segments count"
    )
    schedule: Literal["one_cycle", "plateau", "constant"] = Field(
        default="one_cycle",
        description="course of the learning rate; use a constant one with a slow average of weights",
    )
    patience: int = Field(default=4, ge=1, description="epochs without a better validation loss before stopping")
    gap_limit: float = Field(
        default=1.0, gt=0, description="stop when the validation loss exceeds the training loss by more than this"
    )
    weight_average: Literal["none", "ema"] = "none"
    average_decay: float = Field(
        default=0.99,
        gt=0,
        lt=1,
        description="decay of the average of weights, for each batch; less in the first batches",
    )
    threshold: ThresholdRule = Field(
        default="chosen",
        description="chosen: where validation subjects score best; by_beta: -ln β; even_odds: 0",
    )
    train_on_blank: bool = Field(default=False, description="whether to train on segments of blank rhythm")
    data_share: float = Field(
        default=1,
        gt=0,
        le=1,
        description="share of each subject's episodes to train on; a smaller share lies within a larger one",
    )
    quiet_below: float = Field(
        default=0,
        ge=0,
        lt=1,
        description="leave out windows whose standard deviation is below this share of the median over their passage",
    )
    label_smoothing: float = Field(
        default=0, ge=0, lt=1, description="how much of the target is spread over both classes"
    )
    mixup: float = Field(default=0, ge=0, le=1, description="share of the batches whose segments are mixed in pairs")
    teacher: Teacher | None = Field(default=None, description="whose answers `distill` and `doubted` use")
    distill: float = Field(
        default=0, ge=0, le=1, description="share of the teachers' answer in the target; the label has the rest"
    )
    unlabelled: bool = Field(
        default=False,
        description="with distill: segments without a label too; the teachers' answer is all their target",
    )
    doubted: Literal["keep", "drop", "soften"] = Field(
        default="keep",
        description="segments whose label the out-of-fold teacher contradicts: trained on, left out, or taught by "
        "its answer",
    )
    doubt_above: float = Field(
        default=0.95,
        ge=0.5,
        lt=1,
        description="the probability of the other class from which a teacher contradicts a label",
    )
    qat_epochs: int = Field(default=0, ge=0, le=1000, description="further epochs, with int8 simulated")
    qat_learning_rate: float = Field(
        default=3e-4, gt=0, le=1, description="the highest learning rate of the epochs with int8 simulated"
    )
    auxiliary: float = Field(
        default=0,
        ge=0,
        le=100,
        description="weight of a further loss: the network also predicts how much RR intervals vary; "
        "that output is cut off after training",
    )
    augmentation: Augmentation = Augmentation()
    sampling: Sampling = Sampling()

    @model_validator(mode="after")
    def _has_teacher(self) -> TrainingConfig:
        if self.teacher is None and self.uses_teachers:
            raise ValueError("distill and doubted = drop or soften need a teacher")
        if self.unlabelled and not self.distill:
            raise ValueError("unlabelled segments have no target but that of distill, which is 0")
        return self

    @model_validator(mode="after")
    def _bags_are_whole(self) -> TrainingConfig:
        if self.bag_windows > 1 and not self.augmentation.recut:
            raise ValueError("bag_windows takes random crops: set augmentation.recut = true")
        if self.batch_size % self.bag_windows:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of bag_windows {self.bag_windows}")
        return self

    @property
    def uses_teachers(self) -> bool:
        """Whether teachers have a part in the training."""
        return self.distill > 0 or self.doubted != "keep"


class Teacher(Record):
    """Networks of any size that another network is trained with, and that never ship.

    For `distill`, `count` networks of different seeds answer together. For `doubted`, one network a fold answers for
    subjects that it has not seen; its seed is the first one.
    """

    family: str
    factory: str | None = None
    network: dict[str, Scalar]
    training: TrainingConfig = Field(default_factory=lambda: TrainingConfig(keep="last"))
    seed: int = Field(
        default=1, description="of the first teacher; the others have the next ones, without that of the student"
    )
    count: int = Field(default=1, ge=1, le=32)

    @model_validator(mode="after")
    def _needs_no_validation(self) -> Teacher:
        if self.training.keep != "last" or self.training.schedule == "plateau":
            raise ValueError("a teacher is trained without validation: keep = last, schedule = one_cycle")
        if self.training.teacher is not None:
            raise ValueError("a teacher has no teacher")
        return self


TrainingConfig.model_rebuild()
