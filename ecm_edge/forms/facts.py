"""What there is to say of a model that is no float32 detector: its shapes, its rule, and that it was converted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ecm_edge.base.records import Record
from ecm_edge.forms.decision import text_of

if TYPE_CHECKING:
    from ecm_edge.forms.onnx_model import Classifier


class ModelFacts(Record):
    """The shape and layout of the input, how many scores, which label they stand for, and the threshold of one score.

    `converted_from` is what the file computes in, if not in float32; empty otherwise. `byte_ends` are the int8 or uint8
    input and output that the file has, with scale and zero point: commands give it float samples, which it quantises.
    `layout` has a letter for each axis, such as "NCT"; `classes` are the names of the labels: empty where nobody says.
    """

    input_shape: list[int]
    scores: int
    label: str
    threshold: float | None = None
    converted_from: str = ""
    byte_ends: str = Field(default="", exclude_if=lambda ends: not ends)
    layout: str = Field(default="", exclude_if=lambda letters: not letters)
    classes: list[str] = Field(default=[], exclude_if=lambda names: not names)

    @property
    def text(self) -> str:
        """One line for people."""
        scores = "1 score" if self.scores == 1 else f"{self.scores} scores"
        said = f"; converted from {self.converted_from} to float32" if self.converted_from else ""
        ends = (
            f"; {self.byte_ends}: float samples are quantised by it, and bytes taken as they are"
            if self.byte_ends
            else ""
        )
        layout = f" ({self.layout})" if self.layout else ""
        names = f" ({', '.join(self.classes)})" if self.classes else ""
        return f"input {text_of(self.input_shape)}{layout}, {scores}: {self.label}{names}{said}{ends}"


def facts_of(classifier: Classifier) -> ModelFacts | None:
    """The facts of a model; None of a float32 detector, of which they go without saying."""
    if classifier.is_detector and not (classifier.converted_from or classifier.byte_ends or classifier.class_names):
        return None
    decision = classifier.decision
    return ModelFacts(
        input_shape=list(classifier.input_shape),
        scores=decision.count,
        label=decision.text,
        threshold=decision.threshold,
        converted_from=classifier.converted_from,
        byte_ends=classifier.byte_ends,
        layout=classifier.layout,
        classes=list(classifier.class_names),
    )
