"""What verify finds: one record a hop, and the verdict over all of them."""

from __future__ import annotations

from pydantic import Field

from ecm_edge.parity import Parity
from ecm_edge.records import Form, Gate, Provenance, Record, Verdict

EXPORTED, SIMPLIFIED, HALVED = "pytorch→onnx", "onnx→simplified", "simplified→float16"
QUANTISED, AS_RUN = "simplified→int8", "int8: reference→onnxruntime"
HOPS_TO: dict[Form, tuple[str, ...]] = {
    "float32": (EXPORTED, SIMPLIFIED),
    "float16": (EXPORTED, SIMPLIFIED, HALVED),
    "int8": (EXPORTED, SIMPLIFIED, QUANTISED, AS_RUN),
}
"""The hops of a candidate from PyTorch to each form: all of them have to hold before it ships."""


class Flip(Record):
    """A segment whose label changes; margins are scores[1] - scores[0]."""

    name: str
    subject: str
    reference_margin: float | None
    other_margin: float | None


class SubjectChange(Record):
    """One subject before and after a hop; `f1` is None where the subject has no AF."""

    subject: str
    segments: int
    label_flips: int
    f1_before: float | None
    f1_after: float | None
    fbeta_before: float
    fbeta_after: float


class LayerDifference(Record):
    """How far a layer's output lies apart: |e| / |r| (None where not finite) and the largest |e|."""

    layer: str
    op: str
    tensor: str
    l2r: float | None
    max_abs: float | None


class LayerLsb(Record):
    """A quantised tensor in onnxruntime against the reference, computed from the same quantised inputs."""

    layer: str
    op: str
    tensor: str
    values: int
    mismatches: int
    max_lsb: int


class Hop(Record):
    """One step of the chain, from `reference` to `other`.

    `label_flips` names every segment whose label changes; `near_ties` counts those of them whose two scores lie within
    one LSB of each other in the reference (int8 runtime only), and `score_max_lsb` is how far any final score lies off,
    after whatever single differences have grown to on their way. `f1` is None where no segment is AF.
    `first_diverging` is there only if the hop fails.
    """

    name: str
    reference: str
    other: str
    verdict: Verdict
    reason: str = ""
    parity: Parity | None = None
    label_flips: list[Flip] = Field(default_factory=list)
    near_ties: int | None = None
    score_max_lsb: int | None = None
    f1_before: float | None = None
    f1_after: float | None = None
    fbeta_mean_before: float | None = None
    fbeta_mean_after: float | None = None
    by_subject: list[SubjectChange] = Field(default_factory=list)
    layers: list[LayerLsb] = Field(default_factory=list)
    layer_segments: int = 0
    gates: list[Gate] = Field(default_factory=list)
    first_diverging: LayerDifference | None = None


class VerifyRecord(Record):
    """The verdict over the chain: FAIL if any hop failed; hops that did not run say why.

    `first_diverging_hop` is the first that failed. `model_sha256` are the files that were compared, by name.
    """

    verdict: Verdict
    model: str
    target: str
    dataset: str
    dataset_sha256: str
    synthetic: bool
    segments: int
    subjects: list[str]
    first_diverging_hop: str | None
    hops: list[Hop]
    model_sha256: dict[str, str]
    gates: list[Gate]
    provenance: Provenance
