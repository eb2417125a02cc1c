"""What <name>.h says of a model that is no detector: the shape of its input, and which label its scores stand for."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.forms.decision import text_of

if TYPE_CHECKING:
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
            lines += [f"#define {prefix}_THRESHOLD {_number(decision.threshold)}"]
        return "\n".join([*lines, ""])

    def label_function(self, name: str) -> str:
        """The C function from scores to the label."""
        return f"""
/* The label of scores that {name}_run gave. */
static inline int32_t {name}_label(const float *scores)
{{
{self._body(name)}
}}
"""

    def _body(self, name: str) -> str:
        prefix = name.upper()
        if self.decision.kind == "one_score":
            return f"    return scores[0] >= {prefix}_THRESHOLD;"
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


def _number(value: float) -> str:
    """A float32 as C reads it again to the bit."""
    text = str(np.float32(value))
    return f"{text}f" if any(mark in text for mark in ".e") else f"{text}.0f"
