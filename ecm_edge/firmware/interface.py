"""What <name>.h says of a model beside the contest's detectors: shape and layout of its input, and its labels."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from ecm_edge.firmware import literals
from ecm_edge.forms.decision import text_of
from ecm_edge.forms.layout import MEANING
from ecm_edge.targets.firmware import CONTEST

if TYPE_CHECKING:
    from ecm_edge.firmware.byte_entry import ByteEntry
    from ecm_edge.forms.decision import Decision
    from ecm_edge.forms.onnx_model import Classifier
    from ecm_edge.targets import Target


@dataclass(frozen=True)
class Interface:
    """What there is to say of a model.

    shape:       of the input, as ONNX has it.
    decision:    the rule from scores to a label.
    layout:      a letter for each axis; empty where nothing says what they are.
    class_names: of the labels; empty where nobody named them.
    contest:     whether the serial program answers in the contest's protocol.
    """

    shape: tuple[int, ...]
    decision: Decision
    layout: str = ""
    class_names: tuple[str, ...] = ()
    contest: bool = False

    @property
    def shape_text(self) -> str:
        """The input in words."""
        layout = f" ({self.layout})" if self.layout else ""
        return f"{prod(self.shape)} values: {text_of(self.shape)}{layout}, the last axis fastest"

    def constants(self, name: str) -> str:
        """C constants: axes, shape, strides and layout of the input; count and names of the labels; the threshold."""
        prefix, decision = name.upper(), self.decision
        strides = [prod(self.shape[axis + 1 :]) for axis in range(len(self.shape))]
        lines = [
            "",
            "#include <stdint.h>",
            "",
            "/* The input as the ONNX model has it; strides are in values, and the last axis is the fastest. */",
            f"#define {prefix}_INPUT_AXES {len(self.shape)}",
            f"#define {prefix}_INPUT_SHAPE {_braced(self.shape)}",
            f"#define {prefix}_INPUT_STRIDES {_braced(strides)}",
            "",
            f"/* The axes: {MEANING}; empty where no operator says what they are. */",
            f"#define {prefix}_INPUT_LAYOUT {literals.text(self.layout)}",
            "",
            f"/* Labels are 0 .. {prefix}_LABELS - 1: {decision.text}. */",
            f"#define {prefix}_LABELS {decision.classes}",
        ]
        if decision.threshold is not None:
            lines += [f"#define {prefix}_THRESHOLD {literals.decimal(decision.threshold)}"]
        if self.class_names:
            names = ", ".join(map(literals.text, self.class_names))
            lines += [
                "",
                "/* The labels' names in UTF-8, the first label's first. */",
                f"#define {prefix}_CLASS_NAMES {{{names}}}",
            ]
        return "\n".join([*lines, ""])

    def label_function(self, name: str, entry: ByteEntry | None = None) -> str:
        """The C function from scores to the label, and the same of bytes where an entry gives them."""
        text = self._function(name, "float", "", f"{name.upper()}_THRESHOLD")
        if entry is None or entry.scores is None:
            return text
        of_bytes = f"_{entry.suffix}"
        threshold = entry.threshold(self.decision)
        if threshold is None:
            return text + self._function(name, entry.scores.c_type, of_bytes, "")
        constant = f"{name.upper()}_BYTE_THRESHOLD"
        stated = f"\n/* The lowest byte that stands for {name.upper()}_THRESHOLD or more. */"
        return f"{text}{stated}\n#define {constant} ({threshold})\n" + self._function(
            name, entry.scores.c_type, of_bytes, constant
        )

    def _function(self, name: str, c_type: str, suffix: str, threshold: str) -> str:
        return f"""
/* The label of scores that {name}_run{suffix} gave. */
static inline int32_t {name}_label{suffix}(const {c_type} *scores)
{{
{self._body(name, c_type, threshold)}
}}
"""

    def _body(self, name: str, c_type: str, threshold: str) -> str:
        prefix = name.upper()
        if self.decision.kind == "one_score":
            if c_type != "float":  # in a wider type a compiler does not complain that no byte is so large
                return f"    const int32_t score = scores[0];\n    return score >= {threshold};"
            return f"    return scores[0] >= {threshold};"
        if self.decision.kind == "two_scores":
            return "    return scores[1] >= scores[0];"
        return f"""    int32_t label = 0;
    for (int32_t i = 1; i < {prefix}_SCORES; i++) {{
        if (scores[i] > scores[label]) {{
            label = i;
        }}
    }}
    return label;"""


def interface_of(classifier: Classifier, target: Target) -> Interface | None:
    """What there is to say of a model; None where the contest's protocol says it all."""
    contest, names = _is_contest(classifier, target), classifier.class_names
    if contest and not names:
        return None
    return Interface(classifier.input_shape, classifier.decision, classifier.layout, names, contest)


def _is_contest(classifier: Classifier, target: Target) -> bool:
    return classifier.is_detector and names_contest(target)


def names_contest(target: Target) -> bool:
    """Whether a target names the contest's protocol; one without firmware has no other to name."""
    return target.firmware is None or target.firmware.protocol == CONTEST


def serial_answers(classifier: Classifier, target: Target) -> str:
    """What the serial program answers with, where that is not the contest's frame; else nothing."""
    if _is_contest(classifier, target):
        return ""
    count = classifier.decision.count
    reason = (
        f"{CONTEST}, which {target.name} names, is for one axis of samples and two scores"
        if names_contest(target)
        else f"{target.name} names no other protocol"
    )
    return f"serial answers have {count} score{'s' if count > 1 else ''} (firmware_check/README.md): {reason}"


def _braced(values: tuple[int, ...] | list[int]) -> str:
    return "{" + ", ".join(map(str, values)) + "}"
