"""The records of a model whose C was built: of `ecm-edge fit`, and of a candidate's firmware.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ecm_edge import targets
from ecm_edge.base import files
from ecm_edge.base.records import (
    GATE_COLUMNS,
    Drawable,
    Evidence,
    Form,
    Gate,
    Latency,
    Provenance,
    Record,
    Verdict,
    verdict_of_what_ran,
)
from ecm_edge.base.shown import Tables
from ecm_edge.candidate import candidate
from ecm_edge.firmware.count import Counts
from ecm_edge.firmware.image import Sections
from ecm_edge.firmware.plan import PlannedBuffer
from ecm_edge.forms.facts import ModelFacts
from ecm_edge.forms.gate import CostRecord, FormCost, hold, weight_bytes_as

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from ecm_edge.base.plots import Colours
    from ecm_edge.forms.cost import GraphCost
    from ecm_edge.targets import Target

_THOUSAND = 1000
_LAYER_COLUMNS = ("name", "macs", "instructions", "cycles", "code_bytes", "constant_bytes", "live_bytes")
_FORM_COLUMNS = ("form", "verdict", "flash_bytes", "ram_bytes", "stack_bound_bytes", "latency_ms.mean_ms", "reason")


class LayerFit(Record):
    """One layer of the generated C.

    origin:       names of the ONNX nodes in it.
    live_bytes:   of the arena, alive while it runs, its input and output included.
    instructions: of one inference; None where nothing was counted. cycles: the middle estimate of them.
    """

    index: int
    name: str
    origin: list[str]
    macs: int
    code_bytes: int
    constant_bytes: int
    live_bytes: int
    instructions: int | None
    cycles: int | None


class ImageFile(Record):
    """The image that ships; `file` is relative to a candidate's folder, or a bare name if it was not kept."""

    file: str
    size_bytes: int
    sha256: str


class FormFit(Drawable):
    """One form of a model on a target.

    note:            how the form was made if it is not a file of the model; empty if it is.
    model_sha256:    of the ONNX model that the C was made of.
    verdict:         FAIL if a gate failed; else NOT RUN if one did not run; else PASS.
    reason:          why there is no image, or no count; empty if there are both.
    layers, arena:   empty where no C was made; code and constants are 0 where nothing was built.
    stack_*:         bound: of the shipped program, from its call graph; high water: of the program that answered in the
                     emulator; limit: what the linker script sets aside, or what the RAM budget leaves.
    size_evidence:   of flash_bytes and ram_bytes: measured on the linked image, or estimated by the cost model.
    instructions:    counted in the emulator.
    latency_ms:      always an estimate: from the counted instructions, or else from the MACs.
    advice:          what to change if it does not fit.
    """

    form: Form
    note: str
    model_sha256: str
    verdict: Verdict
    reason: str
    parameters: int
    macs: int
    flash_bytes: int
    ram_bytes: int
    size_evidence: Evidence
    latency_ms: Latency
    instructions_per_mac: float | None = None
    instructions: Counts | None = None
    sections: Sections | None = None
    model_bytes: int = 0
    other_bytes: int = 0
    arena_bytes: int = 0
    stack_bound_bytes: int | None = None
    stack_high_water_bytes: int | None = None
    stack_limit_bytes: int | None = None
    layers: list[LayerFit] = Field(default=[])
    arena: list[PlannedBuffer] = Field(default=[])
    image: ImageFile | None = None
    gates: list[Gate]
    advice: list[str] = Field(default=[])

    KEYS = ("form", "flash_bytes", "ram_bytes", "latency_ms.mean_ms", "reason")
    TABLES: ClassVar[Tables] = {"layers": _LAYER_COLUMNS, "gates": GATE_COLUMNS, "arena": ()}

    def draw(self, axes: Axes, colours: Colours) -> None:
        """Counted instructions of every layer, in the order of execution."""
        from ecm_edge.base import plots

        counted = [(layer.instructions or 0) / _THOUSAND for layer in self.layers]
        axes.barh(range(len(counted)), counted, color=colours.blue, height=0.68)
        plots.row_names(axes, [layer.name for layer in self.layers])
        axes.set_xlim(left=0)
        axes.set_xlabel("thousand instructions" if self.instructions else "instructions: not counted")
        axes.grid(visible=False, axis="y")

    def _height_in(self) -> float:
        return 0.9 + 0.21 * len(self.layers)

    def to_cost(self, graph: GraphCost, target: Target, also: Sequence[FormFit] = ()) -> CostRecord:
        """The figures as a cost record, held against the target's budgets as they are now.

        Args:
            graph: the counted float32 graph, for the layers of the record.
            target: of the same name as when the form was built.
            also: other forms of the same network; they are in the record, but not judged.
        """
        budget_gates = [gate for gate in self.gates if gate.name in type(target.budget).model_fields]
        held = hold(self.figures(), target, {gate.name: gate.detail for gate in budget_gates})
        gates = [*held, *(gate for gate in self.gates if gate not in budget_gates)]
        return CostRecord(
            target=target.name,
            form=self.form,
            verdict=verdict_of_what_ran(gates),
            parameters=self.parameters,
            macs=self.macs,
            weight_bytes=weight_bytes_as(self.form, graph),
            flash_bytes=self.flash_bytes,
            ram_bytes=self.ram_bytes,
            latency_ms=self.latency_ms,
            evidence=self.size_evidence,
            source=f"the linked image{': ' if self.note else ''}{self.note}",
            gates=gates,
            layers=graph.layers,
            also=[other.summary() for other in also],
        )

    def summary(self) -> FormCost:
        """The figures in short, to stand beside those of another form."""
        return FormCost(
            form=self.form,
            verdict=self.verdict,
            reason=self.reason,
            flash_bytes=self.flash_bytes,
            ram_bytes=self.ram_bytes,
            evidence=self.size_evidence,
            latency_ms=self.latency_ms,
            broken=[gate.name for gate in self.gates if gate.verdict == Verdict.FAIL],
        )

    def figures(self) -> dict[str, float]:
        """What the target's budget has a limit for, by the limit's name."""
        return {
            "parameters": self.parameters,
            "macs": self.macs,
            "flash_bytes": self.flash_bytes,
            "ram_bytes": self.ram_bytes,
            "latency_ms": self.latency_ms.mean_ms,
        }


class FitRecord(Drawable):
    """Whether a model fits a target, in every form wanted.

    verdict: that of the form that would ship: the one wanted, or the first of the target's that can be made.
    fits:    the forms whose verdict is PASS.
    seconds: what it took.
    facts:   of a model that is no float32 detector.
    serial:  what the serial program answers with, where that is not the contest's frame.
    """

    verdict: Verdict
    target: str
    model: str
    ships: Form
    forms: list[FormFit]
    fits: list[Form]
    advice: list[str]
    compiler: str | None
    emulator: str | None
    seconds: float
    facts: ModelFacts | None = Field(default=None, exclude_if=lambda facts: facts is None)
    serial: str = Field(default="", exclude_if=lambda said: not said)

    KEYS = ("target", "ships", "shipping.flash_bytes", "shipping.ram_bytes", "shipping.latency_ms.mean_ms")
    TABLES: ClassVar[Tables] = {
        "forms": _FORM_COLUMNS,
        "shipping.layers": _LAYER_COLUMNS,
        "shipping.gates": GATE_COLUMNS,
    }

    @property
    def shipping(self) -> FormFit:
        """The form that would ship."""
        return next(fit for fit in self.forms if fit.form == self.ships)

    def draw(self, axes: Axes, colours: Colours) -> None:
        """The instructions by layer of the form that would ship."""
        self.shipping.draw(axes, colours)

    def _height_in(self) -> float:
        return self.shipping._height_in()  # noqa: SLF001 - of the same family


class FirmwareRecord(Drawable):
    """What lies in a candidate's `firmware/`: one image a form, of its own weights.

    verdict: that of the target's first form.
    flags:   of the compiler, for every file; the generated code has `model_flags` besides.
    facts:   of a model that is no float32 detector.
    serial:  what the serial program answers with, where that is not the contest's frame.
    """

    verdict: Verdict
    target: str
    target_sha256: str
    config_sha256: str | None
    forms: list[FormFit]
    compiler: str | None
    flags: list[str]
    model_flags: list[str]
    emulator: str | None
    facts: ModelFacts | None = Field(default=None, exclude_if=lambda facts: facts is None)
    serial: str = Field(default="", exclude_if=lambda said: not said)
    provenance: Provenance

    KEYS = ("target", "shipping.form", "shipping.flash_bytes", "shipping.ram_bytes", "shipping.latency_ms.mean_ms")
    TABLES: ClassVar[Tables] = {
        "forms": _FORM_COLUMNS,
        "shipping.layers": _LAYER_COLUMNS,
        "shipping.gates": GATE_COLUMNS,
    }

    @property
    def shipping(self) -> FormFit:
        """The target's first form."""
        return self.forms[0]

    def draw(self, axes: Axes, colours: Colours) -> None:
        """The instructions by layer of the target's first form."""
        self.shipping.draw(axes, colours)

    def _height_in(self) -> float:
        return self.shipping._height_in()  # noqa: SLF001 - of the same family

    def of(self, form: Form) -> FormFit | None:
        """The form, if it was built."""
        return next((fit for fit in self.forms if fit.form == form), None)


def target_sha256(target: Target) -> str:
    """What a target was when something was built for it."""
    return files.sha256_json(targets.content(target))


def image_path(folder: Path, form: Form, target: Target) -> Path:
    """Where the image of a form lies."""
    suffix = ".bin" if target.firmware and target.firmware.linker_script else ".elf"
    return folder / candidate.IMAGES / form / f"{target.name}{suffix}"


def load(folder: Path, target: Target) -> FirmwareRecord | None:
    """A candidate's record if it is there and was made for this target as it is now.

    Raises:
        CandidateError: a damaged record.
    """
    path = folder / candidate.FIRMWARE
    record = FirmwareRecord.load(path) if path.is_file() else None
    return record if record and record.target_sha256 == target_sha256(target) else None
