"""What <name>.h says of a model that is no detector: the shape of its input, and which label its scores stand for."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from ecm_edge.firmware import literals
from ecm_edge.forms.decision import text_of

if TYPE_CHECKING:
    from ecm_edge.firmware.byte_entry import ByteEntry
    from ecm_edge.forms.decision import Decision


@dataclass(frozen=True)
class Interface:
    """The shape of the input, as ONNX has it, and the rule from scores to a label."""

    shape: tuple[int, ...]
    decision: Decision

    @property
    def shape_text(self) -> str:
        """The input in words."""
        return f"{prod(self.shape)} values: {text_of(self.shape)}, the last axis fastest"

    def constants(self, name: str) -> str:
        """C constants: axes, shape and strides of the input, how many labels there are, and the threshold."""
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
            f"/* Labels are 0 .. {prefix}_LABELS - 1: {decision.text}. */",
            f"#define {prefix}_LABELS {decision.classes}",
        ]
        if decision.threshold is not None:
            lines += [f"#define {prefix}_THRESHOLD {literals.decimal(decision.threshold)}"]
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


def _braced(values: tuple[int, ...] | list[int]) -> str:
    return "{" + ", ".join(map(str, values)) + "}"
