"""What would help where `promote` says no: one sentence for each gate, with numbers and the command where there is one.

A gate's sentence says what is missing, by its margin, and what to run next. Only what the record knows is put into
numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecm_edge.base.numbers import number, quantity
from ecm_edge.base.records import Verdict
from ecm_edge.firmware.emulated_run import GATES
from ecm_edge.forms.gate import BUDGETS
from ecm_edge.registry.costs import BOARD_LATENCY
from ecm_edge.registry.decision import IMAGE_GATE
from ecm_edge.registry.policy import POLICY
from ecm_edge.registry.proof import GATES as PROVEN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ecm_edge.base.records import Gate, Interval
    from ecm_edge.registry.decision import PromoteRecord

_LESS = {
    "parameters": "fewer parameters",
    "macs": "fewer MACs",
    "flash_bytes": "less flash",
    "ram_bytes": "less RAM",
    "latency_ms": "less of the estimated latency",
    "flash_vs_incumbent": "less flash",
    "ram_vs_incumbent": "less RAM",
    "latency_vs_incumbent": "less of the measured latency",
    BOARD_LATENCY: "less of the estimated latency",
}
"""What there has to be less of, by the gate."""


@dataclass(frozen=True)
class Asked:
    """What a promotion was asked about, for the commands that would help."""

    candidate: Path
    data: Path
    target: str
    registry: Path

    def run(self, verb: str, *options: str) -> str:
        """A command about the candidate."""
        return f"`ecm-edge {' '.join([verb, str(self.candidate), *options])}`"

    @property
    def verify(self) -> str:
        """The command that verifies it for the board."""
        return self.run("verify", "--data", str(self.data), "--target", self.target)

    @property
    def build(self) -> str:
        """The command that builds its images."""
        return self.run("firmware build", "--target", self.target)


def remedy(gate: Gate, record: PromoteRecord, asked: Asked) -> str:
    """What would make a gate that failed or did not run pass; empty where nothing is known that would."""
    sentence = _SENTENCES.get(gate.name)
    return sentence(gate, record, asked) if sentence else ""


def _budget(gate: Gate, record: PromoteRecord, asked: Asked) -> str:
    del record
    return f"{_less(gate)}: {asked.run('fit', '--target', asked.target)} names the layers that take most."


def _segments(gate: Gate, record: PromoteRecord, asked: Asked) -> str:
    del record
    missing = (gate.limit or 0.0) - (gate.value or 0.0)
    where = " on the emulated board" if gate.name == "emulated_segments" else ""
    return f"Verify the other {number(missing)} segments{where} too: {asked.verify}."


def _verify(gate: Gate, record: PromoteRecord, asked: Asked) -> str:
    del gate, record
    return f"Verify it as it is now, where the board's emulator is: {asked.verify}."


def _same_image(gate: Gate, record: PromoteRecord, asked: Asked) -> str:
    del gate, record
    return f"Build the image and verify it with one compiler: {asked.build}, then {asked.verify}."


def _build(gate: Gate, record: PromoteRecord, asked: Asked) -> str:
    del record
    where = " where the board's emulator is" if gate.verdict == Verdict.NOT_RUN else " again"
    return f"Build it{where}: {asked.build}."


def _bench(gate: Gate, record: PromoteRecord, asked: Asked) -> str:
    del gate, record
    return f"Measure it on this host: {asked.run('bench', '--data', str(asked.data))}."


def _train(gate: Gate, record: PromoteRecord, asked: Asked) -> str:
    del gate, record
    return f"Give the data set that it was trained on as --data, or train it on {asked.data}."


def _claim(gate: Gate, record: PromoteRecord, asked: Asked) -> str:
    del gate, record, asked
    return "`ecm-edge train` gives a candidate figures out of fold with --folds, and their threshold with --refit."


def _proof(gate: Gate, record: PromoteRecord, asked: Asked) -> str:
    del record
    again = {"verify_anew": asked.verify, "score_anew": f"{asked.run('score', '--data', str(asked.data))}"}
    if gate.verdict == Verdict.NOT_RUN:
        return "Promote it where the board's compiler and emulator are: `ecm-edge doctor` says what is missing."
    return f"A record is not what comes out here. Make it again: {again.get(gate.name, asked.build)}."


def _image(gate: Gate, record: PromoteRecord, asked: Asked) -> str:
    del gate, record
    return (
        f"The board's port and linker script decide on it: {asked.run('fit', '--target', asked.target)} says more. "
        "With those that ship it is a fault of ecm-edge."
    )


def _subjects(gate: Gate, record: PromoteRecord, asked: Asked) -> str:
    del record
    return (
        f"Train it with {number((gate.limit or 0.0) - (gate.value or 0.0))} subjects more that it is not fitted to, or "
        f"change {asked.registry / POLICY} with those who share the registry."
    )


def _stack(gate: Gate, record: PromoteRecord, asked: Asked) -> str:
    over = f"{quantity(-gate.margin, 'B')} less stack, or " if gate.margin is not None and gate.margin < 0 else ""
    return f"{over}more room for it in the linker script." if over else _build(gate, record, asked)


def _less(gate: Gate) -> str:
    """By how much a cost is above its limit."""
    unit = gate.unit if gate.unit in {"B", "ms"} else ""
    return f"{quantity(-(gate.margin or 0.0), unit)} {_LESS[gate.name]}"


def _beside_incumbent(gate: Gate, record: PromoteRecord, asked: Asked) -> str:
    if gate.margin is not None:
        return f"{_less(gate)}, or a larger tolerance in [promotion] of the target."
    if gate.verdict == Verdict.NOT_RUN:
        return f"Build it where the board's emulator is: {asked.build}." if "counted" in gate.detail else ""
    if gate.name == "latency_vs_incumbent" and record.replaces:
        entry = asked.registry / record.target / "entries" / record.replaces
        both = asked.run("bench", "--data", str(asked.data), "--against", str(entry))
        return f"Time both on one machine, in the same turns: {both}."
    return f"Both need one kind of evidence: {asked.build}, and promote where the compiler and the emulator are."


def _score(gate: Gate, record: PromoteRecord, asked: Asked) -> str:
    del asked
    compared = record.comparison
    if compared is None or gate.value is None:
        return ""
    if gate.value > 0:
        return "It gains in the mean, but loses for certain on one source: train on more of what that source holds."
    if gate.value == 0:
        return "It is worth exactly what the incumbent is worth, and has to be better."
    more = _subjects_to_tell(compared.difference, len(compared.subjects))
    told = f" About {more:,} more test subjects like these would tell whether it is worse." if more else ""
    return f"It has to gain more than {number(-gate.value, 3)} {gate.unit} on these subjects.{told}"


def _subjects_to_tell(difference: Interval, subjects: int) -> int:
    """How many more subjects would move 0 out of the interval, if the difference stayed; 0 where it is out or unknown.

    The width of an interval falls with the root of the number of subjects.
    """
    low, high, value = difference.low, difference.high, difference.value
    if low is None or high is None or not low <= 0 <= high or value == 0:
        return 0
    end = abs((high if value < 0 else low) - value)
    return max(0, math.ceil(subjects * (end / abs(value)) ** 2) - subjects)


def said(gate: Gate) -> str:
    """What a gate found, its limit, and its detail.

    >>> from ecm_edge.base.records import at_least, at_most
    >>> said(at_most("flash_bytes", 270_000, 262_144, "B", "heaviest: conv")), said(at_least("n", 3, 5, "segments"))
    ('263.7 KiB, at most 256.0 KiB; heaviest: conv', '3 segments, at least 5 segments')
    """
    if gate.value is None or gate.limit is None or gate.name == "score" or gate.unit == "bool":
        return gate.detail
    is_most = gate.margin == gate.limit - gate.value
    limit = quantity(gate.limit, gate.unit)
    figures = f"{quantity(gate.value, gate.unit)}, {'at most' if is_most else 'at least'} {limit}"
    return "; ".join(filter(None, [figures, gate.detail]))


def due(record: PromoteRecord, verdict: Verdict) -> Sequence[Gate]:
    """The gates with that verdict; without those that do not apply, since there is nothing to compare with."""
    return [gate for gate in record.gates if gate.verdict == verdict and not _is_void(gate)]


def _is_void(gate: Gate) -> bool:
    """Whether nobody could have run it: there was no incumbent, or another gate has decided."""
    return gate.verdict == Verdict.NOT_RUN and gate.detail.startswith(("no incumbent", "not compared"))


_Sentence = Callable[["Gate", "PromoteRecord", Asked], str]
_SENTENCES: dict[str, _Sentence] = {
    **dict.fromkeys(BUDGETS, _budget),
    **dict.fromkeys((*GATES, "emulated_answers_differing", "aligned_on_host", "firmware", "firmware_of_model"), _build),
    **dict.fromkeys(("verify", "verified_hops", "verified_form", "verified_for_target", "data_verified_on"), _verify),
    **dict.fromkeys(("verified_segments", "emulated_segments"), _segments),
    **dict.fromkeys(
        ("latency_vs_incumbent", "flash_vs_incumbent", "ram_vs_incumbent", BOARD_LATENCY), _beside_incumbent
    ),
    **dict.fromkeys(("memory_regions", "arena_off_plan", "forbidden_symbols", "answers_as_reference"), _image),
    "test_subjects": _subjects,
    "stack_bound": _stack,
    "stack_high_water": _stack,
    IMAGE_GATE: _same_image,
    "latency_measured": _bench,
    "data_trained_on": _train,
    "claim": _claim,
    **dict.fromkeys(PROVEN, _proof),
    "score": _score,
}
