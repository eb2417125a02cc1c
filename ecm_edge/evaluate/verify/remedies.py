"""What would help where a hop of `verify` fails: a sentence for each form that is held back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base.records import Verdict
from ecm_edge.evaluate.verify.records import AS_RUN, EXPORTED, FILE_AS_RUN, HALVED, HOPS_TO, QUANTISED, SIMPLIFIED

if TYPE_CHECKING:
    from ecm_edge.evaluate.verify.records import VerifyRecord

_SENTENCES = {
    EXPORTED: "The export changes the answers, and nothing can ship: the layer named above is where it begins",
    SIMPLIFIED: "Simplifying changes the answers, and nothing can ship: export again, then verify",
    HALVED: "float16 cannot hold this network",
    QUANTISED: (
        "int8 decides otherwise: train with int8 simulated (--set training.qat_epochs=4), or quantise with more "
        "training subjects to calibrate on"
    ),
    **dict.fromkeys((AS_RUN, FILE_AS_RUN), "onnxruntime rounds unlike the reference, which the board follows"),
}
_OF_C = "The C of {form} answers unlike its reference, which is a fault of this tool: do not ship this form"


def remedies(record: VerifyRecord) -> list[str]:
    """What to do next, for each hop that failed; empty where none did."""
    verdicts = {hop.name: hop.verdict for hop in record.hops}
    failed = [name for name, verdict in verdicts.items() if verdict == Verdict.FAIL]
    proven = [
        form
        for form, hops in HOPS_TO.items()
        if verdicts.get(hops[-1]) == Verdict.PASS
        and verdicts.get(f"{form}: reference→C") != Verdict.NOT_RUN  # a form that the board does not run
        and not any(name in hops or name.startswith(f"{form}:") for name in failed)
    ]
    ship = f"; a form that fails holds back itself alone: `ecm-edge promote --form {proven[0]}`" if proven else ""
    return [f"{_SENTENCES.get(name, _OF_C.format(form=name.partition(':')[0]))}{ship}." for name in failed]
