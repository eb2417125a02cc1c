"""The recipes that are compared: a base and its changes, each of one thing or of few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ecm_edge.base.records import Record
from ecm_edge.candidate import candidate
from ecm_edge.candidate.training_config import Augmentation, Scalar, Teacher, TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.data.splits import Split

NOT_CHANGED = "–"
_TEACHERS_FROM = 100  # the seeds of teachers: from 100 on for those of seed 0, from 200 for those of seed 1


class Recipe(Record):
    """A network and how it is trained; `change` says what differs from the base."""

    name: str
    change: str = NOT_CHANGED
    family: str
    network: dict[str, Scalar]
    training: TrainingConfig

    def configure(self, dataset: Dataset, split: Split, seed: int) -> CandidateConfig:
        """The recipe bound to data and a seed; its teachers have seeds that no other network has."""
        training, teacher = self.training, self.training.teacher
        if teacher is not None:
            seeded = teacher.model_copy(update={"seed": _TEACHERS_FROM * (seed + 1)})
            training = training.model_copy(update={"teacher": seeded})
        return candidate.configure(dataset, split, self.family, self.network, training, seed)


BASE = Recipe(
    name="base",
    family="tcn",
    network={
        "normalize": True,
        "channels": 16,
        "stem_channels": 16,
        "first_channels": 8,
        "first_kernel": 11,
        "first_stride": 4,
        "kernel": 9,
        "stride": 2,
        "stem_depth": 3,
        "depth": 4,
        "block_kernel": 5,
        "separable": True,
        "pooling": "mean_max_std",
        "dropout": 0.1,
    },
    training=TrainingConfig(
        epochs=8,
        data_share=0.5,
        batch_size=128,
        learning_rate=6e-3,
        weight_decay=0.02,
        schedule="one_cycle",
        keep="last",
        weight_average="ema",
        average_decay=0.995,
        loss="cross_entropy",
        augmentation=Augmentation(sign_flip=0.5, gain=0.3, shift=60, noise=0.1),
    ),
)

# As many MACs as the base within 2 %.
RHYTHM_WAVE: dict[str, Scalar] = {
    "normalize": True,
    "wave_channels": 8,
    "rhythm_channels": 16,
    "depth": 4,
    "kernel": 11,
    "separable": True,
    "pooling": "mean_max_std",
    "dropout": 0.1,
}


def recipes(base: Recipe = BASE) -> list[Recipe]:
    """The base and its changes, in the table's order."""
    teacher = Teacher(family=base.family, network=base.network, training=base.training)
    teachers = teacher.model_copy(update={"count": 3})
    disturbed = {"disturbance": 0.6, "disturbance_layers": 2}
    other = {"family": "rhythm_wave", **{k: v for k, v in RHYTHM_WAVE.items() if base.network.get(k) != v}}
    return [
        base,
        _trained(base, "no_average", weight_average="none"),
        _trained(base, "focal", loss="focal"),
        _trained(base, "soft_fbeta", loss="soft_fbeta"),
        _trained(base, "label_smoothing", label_smoothing=0.1),
        _trained(base, "mixup", mixup=0.5),
        _trained(base, "disturbance", disturbed),
        _trained(base, "disturbance_mixup", disturbed, mixup=0.5),
        _trained(base, "in_band", {**disturbed, "in_band": 0.4}),
        _trained(base, "stretch", {"stretch": 0.2}),
        _trained(base, "recut", {"shift": 0, "recut": True}),
        _trained(base, "recut_tempo", {"shift": 0, "recut": True, "tempo": 0.25}),
        _trained(base, "splice", {"splice": 100}),
        _trained(base, "filter", {"filter": 0.3}),
        _trained(base, "combined", {"noise": 0.0, **disturbed, "stretch": 0.2, "filter": 0.3}, mixup=0.5),
        _trained(base, "blank", train_on_blank=True),
        _trained(base, "doubted", doubted="drop", teacher=teacher),
        _trained(base, "distill", distill=1.0, teacher=teachers),
        _shaped(base, "no_normalize", normalize=False),
        _shaped(base, "one_block", depth=1),
        _shaped(base, "small", channels=10, stem_channels=10, first_channels=6),
        _shaped(base, "squeeze_excite", squeeze_excite=True),
        _changed(base, "rhythm_wave", other, family="rhythm_wave", network=RHYTHM_WAVE),
    ]


def _trained(base: Recipe, name: str, augmentation: Mapping[str, Scalar] | None = None, **training: Any) -> Recipe:
    augmentation = augmentation or {}
    fields = {**base.training.model_dump(), **training}
    fields["augmentation"] |= augmentation
    return _changed(base, name, {**augmentation, **training}, training=TrainingConfig.model_validate(fields))


def _shaped(base: Recipe, name: str, **network: Scalar) -> Recipe:
    return _changed(base, name, network, network={**base.network, **network})


def _changed(base: Recipe, name: str, values: Mapping[str, object], **fields: object) -> Recipe:
    change = ", ".join(f"{key} = {_text(base, value)}" for key, value in values.items())
    return base.model_copy(update={"name": name, "change": change, **fields})


def _text(base: Recipe, value: object) -> str:
    if not isinstance(value, Teacher):
        return str(value)
    return base.name if value.count == 1 else f"{value.count} × {base.name}"
