"""The records of verify: one for each hop, and the verdict over all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, get_args

from pydantic import Field

from ecm_edge import targets
from ecm_edge.base import files
from ecm_edge.base.records import GATE_COLUMNS, Evidence, Form, Gate, Provenance, Record, Verdict
from ecm_edge.base.shown import Tables
from ecm_edge.forms.facts import ModelFacts
from ecm_edge.forms.parity import Parity

if TYPE_CHECKING:
    from ecm_edge.targets import Target

EXPORTED, SIMPLIFIED, HALVED = "pytorch→onnx", "onnx→simplified", "simplified→float16"
QUANTISED = "simplified→int8"
FILE_AS_RUN = "reference→onnxruntime"  # of a file alone
AS_RUN = f"int8: {FILE_AS_RUN}"
HOPS_TO: dict[Form, tuple[str, ...]] = {
    "float32": (EXPORTED, SIMPLIFIED),
    "float16": (EXPORTED, SIMPLIFIED, HALVED),
    "int8": (EXPORTED, SIMPLIFIED, QUANTISED, AS_RUN),
}
"""The hops of a candidate from PyTorch to each form: all of them must pass before it ships."""

EMULATED_SEGMENTS = 500
"""The default number of segments for the emulated board; a promotion needs so many, or all where there are fewer."""

TO_C: dict[Form, str] = {form: f"{form}: reference→C" for form in get_args(Form)}
"""The generated C of a form, built for this host, against the reference."""


def to_target(form: Form, target: str) -> str:
    """The name of the hop from the C on this host to the same C on the emulated board."""
    return f"{form}: C→{target} (emulated)"


def is_this_host(target: Target) -> bool:
    """Whether the target's images run on this host itself, without an emulator."""
    return target.core.architecture == "host"


def firmware_hops(form: Form, target: Target) -> tuple[str, ...]:
    """The hops from a form to its image on the target; none for a target without firmware."""
    if target.firmware is None:
        return ()
    return (TO_C[form],) if is_this_host(target) else (TO_C[form], to_target(form, target.name))


def hops_to(form: Form, target: Target) -> tuple[str, ...]:
    """All hops that must pass before a form ships on the target: from PyTorch to ONNX, and on to its image."""
    return (*HOPS_TO[form], *firmware_hops(form, target))


def judged_by(target: Target) -> str:
    """The hash of the parts of a target that decide on the verdict: thresholds, forms, core, compiler, emulator."""
    tables = {"parity", "precision", "core", "firmware", "score"}
    return files.sha256_json(targets.content(target, tables))


class Flip(Record):
    """A segment whose label changes; margins are scores[1] - scores[0].

    Of one score it is that less the threshold; of several classes the largest score less the next one.
    """

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


class FirstByte(Record):
    """Bytes of a tensor that differ, and the first value that does, on the segment of that name.

    `position` is in the ONNX shape; `expected` is the reference's value, `actual` the other's: None where not finite.
    """

    differing_bytes: int
    compared_bytes: int
    segment: str
    position: list[int]
    expected: float | None
    actual: float | None


class LayerDifference(Record):
    """The difference of a layer's output: |e| / |r| (None where not finite) and the largest |e|.

    `first` is there where bytes were compared: of generated C with the reference, or with the same C on another core.
    """

    layer: str
    op: str
    tensor: str
    l2r: float | None
    max_abs: float | None
    first: FirstByte | None = None


class LayerLsb(Record):
    """A quantised tensor against the reference.

    In onnxruntime it is computed from the same quantised inputs; in C from the segment on, where every value must be
    the same.
    """

    layer: str
    op: str
    tensor: str
    values: int
    mismatches: int
    max_lsb: int


class Hop(Record):
    """One step of the chain, from `reference` to `other`.

    `label_flips` names every segment whose label changes; `near_ties` counts those of them whose two scores lie within
    one LSB of each other in the reference (int8 runtime only). `score_max_lsb` is the largest difference of a final
    score, to which differences of single layers may add up. `f1` is None where no segment is AF. `specificity` is None
    where all are, and in records of earlier versions. `accuracy` is the share of right labels of a model of several
    classes. `first_diverging` is there only if the hop fails. `by_subject` has every subject, or of more than 200 those
    of which a label flips.
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
    specificity_before: float | None = None
    specificity_after: float | None = None
    accuracy_before: float | None = Field(default=None, exclude_if=lambda value: value is None)
    accuracy_after: float | None = Field(default=None, exclude_if=lambda value: value is None)
    by_subject: list[SubjectChange] = Field(default_factory=list)
    layers: list[LayerLsb] = Field(default_factory=list)
    layer_segments: int = 0
    gates: list[Gate] = Field(default_factory=list)
    first_diverging: LayerDifference | None = None


class VerifiedFirmware(Record):
    """The files that the hops to a target were run with, by SHA-256.

    sources:           the generated files by name; the same for every image.
    compiler:          of the target, with its version; None where it built nothing.
    model_object:      the compiled model as it was linked into the image that ran.
    emulated_image:    the image that answered in the emulator; None where none did.
    emulated_segments: the number that it answered; `evidence` is emulated for the emulator's board, measured for this
                       host itself.
    shipped_image:     the image for the board with the same compiled model in it; None where only a sample of the
                       segments was verified, which is not enough to ship.
    """

    form: Form
    model_sha256: str
    sources: dict[str, str]
    compiler: str | None = None
    model_object: str | None = None
    emulated_image: str | None = None
    emulated_segments: int = 0
    shipped_image: str | None = None
    evidence: Evidence = Evidence.EMULATED


class VerifyRecord(Record):
    """The verdict over the chain: FAIL if a hop failed that it is about; a hop that did not run has a reason.

    Of a candidate it is about the way from PyTorch to `form`; a failure on the way to another form alone holds back
    that one, and `failing_forms` names it. Without `form` it is about every hop: one file has one form.
    `first_diverging_hop` is the first that failed, whatever the verdict is about. `model_sha256` are the files that
    were compared, by name, and `firmware` what was built of them. `judged_by` is the hash of the target's thresholds
    and firmware as they were. `dataset` may also be a file of samples, or noise: then there are no task and no
    subjects. `facts` are those of a model that is no float32 detector. `subjects_with_positives` counts those with a
    positive segment.
    """

    verdict: Verdict
    form: Form | None = Field(default=None, exclude_if=lambda form: form is None)
    model: str
    target: str
    judged_by: str = ""
    dataset: str
    dataset_sha256: str
    task: str = "af-5s"
    label: str = "AF"
    facts: ModelFacts | None = Field(default=None, exclude_if=lambda facts: facts is None)
    synthetic: bool
    segments: int
    subjects: list[str]
    subjects_with_positives: int | None = None
    first_diverging_hop: str | None
    hops: list[Hop]
    model_sha256: dict[str, str]
    firmware: list[VerifiedFirmware] = Field(default_factory=list)
    gates: list[Gate]
    provenance: Provenance

    KEYS = ("model", "target", "segments", "first_diverging_hop")
    TABLES: ClassVar[Tables] = {
        "hops": (
            "name",
            "verdict",
            "parity.max_abs",
            "parity.cos",
            "label_flips",
            "f1_after",
            "fbeta_mean_after",
            "specificity_after",
        ),
        "gates": GATE_COLUMNS,
    }

    @property
    def positive_subjects(self) -> int | None:
        """How many of the subjects have a positive segment; None where no hop compared their answers."""
        if self.subjects_with_positives is not None:
            return self.subjects_with_positives
        compared = next((hop.by_subject for hop in self.hops if hop.by_subject), None)
        return None if compared is None else sum(subject.f1_before is not None for subject in compared)

    @property
    def failing_forms(self) -> list[Form]:
        """The forms on whose way a hop failed."""
        failed = [hop.name for hop in self.hops if hop.verdict == Verdict.FAIL]
        return [
            form
            for form, names in HOPS_TO.items()
            if any(name in names or name.startswith(f"{form}:") for name in failed)
        ]

    def firmware_of(self, model_sha256: str) -> VerifiedFirmware | None:
        """What was built of exactly this model, if anything was."""
        return next((built for built in self.firmware if built.model_sha256 == model_sha256), None)


def is_proven(record: VerifyRecord, form: Form, target: Target) -> bool:
    """Whether nothing fails on the way to a form; a failure on the way to another form alone does not count.

    The record's verdict has to agree with its hops and gates: FAIL if any fails that it is about, and else PASS.
    """
    others = _hops_beside(record, form, target)
    not_judged = _hops_beside(record, record.form, target) if record.form else set()
    under = [
        (hop.name, verdict) for hop in record.hops for verdict in (hop.verdict, *(gate.verdict for gate in hop.gates))
    ]
    under += [(gate.name, gate.verdict) for gate in record.gates]
    failed = {name for name, verdict in under if verdict == Verdict.FAIL}
    return failed <= others and record.verdict == (Verdict.FAIL if failed - not_judged else Verdict.PASS)


def _hops_beside(record: VerifyRecord, form: Form, target: Target) -> set[str]:
    """The record's hops that do not lie on the way to a form."""
    return {hop.name for hop in record.hops} - set(hops_to(form, target))
