"""The C text of a program: a header, a source file and the adaptor that programs include."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecm_edge.firmware import literals
from ecm_edge.firmware.layers import Names, constant_bytes, holders
from ecm_edge.firmware.operators.loops import indent
from ecm_edge.firmware.tensors import ITEM_BYTES, Buffer, Tensor
from ecm_edge.forms.decision import TWO_SCORES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecm_edge.firmware.byte_entry import ByteEntry
    from ecm_edge.firmware.interface import Interface
    from ecm_edge.firmware.layers import Array, Layer
    from ecm_edge.firmware.plan import Plan

_MEMBERS = {"float32": "f", "int8": "b", "int16": "h"}


@dataclass(frozen=True)
class Origin:
    """Where generated code comes from, for its first comment and its version string."""

    model: str
    model_sha256: str
    tool: str
    target: str
    form: str

    @property
    def version(self) -> str:
        """One line that names the model to the bit."""
        return f"{self.tool} {self.form} {self.model_sha256}"


def function_name(name: str, number: int, layer: Layer) -> str:
    """The C name of a layer's function."""
    return f"{name}_layer_{number}_{layer.identifier}"


def header(
    name: str,
    samples: int,
    scores: int,
    origin: Origin,
    interface: Interface | None = None,
    entry: ByteEntry | None = None,
) -> str:
    """<name>.h: the function that users call, that for bytes, and what there is to say of a model of another shape."""
    guard = f"{name.upper()}_H"
    rule = (interface.decision if interface else TWO_SCORES).text
    shaped = interface.shape_text if interface else f"{samples} values"
    constants, function = (interface.constants(name), interface.label_function(name, entry)) if interface else ("", "")
    if entry:
        constants += ("" if interface else "\n#include <stdint.h>\n") + entry.constants(name)
        function = entry.declaration(name, samples, scores) + function
    return f"""/* {literals.comment(_first_comment(origin))} */
#ifndef {guard}
#define {guard}

/* Compile {name}.c as C99 with -ffp-contract=off and without -ffast-math: the scores are then the same to the bit on
 * every core. Link with -lm where the core has no instruction for fmaf. */

#define {name.upper()}_SAMPLES {samples}
#define {name.upper()}_SCORES {scores}
{constants}
#ifdef __cplusplus
extern "C" {{
#endif

/* One inference.
 *
 * samples: {shaped}, finite, aligned to 4 bytes; read only.
 * scores:  {scores} value{"s" if scores > 1 else ""}, aligned to 4 bytes; {rule}.
 *
 * Not reentrant: the arena is static. A sample that is not finite never leads outside of an array, but the scores are
 * then unspecified. samples and scores must not overlap. */
void {name}_run(const float *samples, float *scores);
{function}
/* The tool, the form and the SHA-256 of the ONNX model. */
extern const char {name}_version[];

#ifdef __cplusplus
}}
#endif

#endif
"""


def adaptor(
    name: str,
    samples: int,
    scores: int,
    arena_bytes: int,
    interface: Interface | None = None,
    entry: ByteEntry | None = None,
) -> str:
    """ecm_model.h: the same names for every model."""
    more = f"#define ECM_MODEL_LABEL {name}_label\n" if interface and not interface.contest else ""
    if entry:
        sample, score = entry.types
        more += f"#define ECM_MODEL_RUN_BYTES {name}_run_{entry.suffix}\n"
        more += f"#define ECM_MODEL_BYTE_SAMPLE {sample}\n#define ECM_MODEL_BYTE_SCORE {score}\n"
    return f"""/* What programs include, so that they need not know the model's name. */
#ifndef ECM_MODEL_H
#define ECM_MODEL_H

#include "{name}.h"

#define ECM_MODEL_RUN {name}_run
#define ECM_MODEL_VERSION {name}_version
#define ECM_MODEL_SAMPLES {samples}
#define ECM_MODEL_SCORES {scores}
#define ECM_MODEL_ARENA_BYTES {arena_bytes}
{more}
#endif
"""


def source(name: str, layers: Sequence[Layer], plan: Plan, origin: Origin, entry: ByteEntry | None = None) -> str:
    """<name>.c: constants, one function a layer, and the call of all of them."""
    places = holders(layers)
    functions = [_function(name, number, layer, plan, places[number]) for number, layer in enumerate(layers)]
    text = "\n\n".join(functions)
    kernels = [layer for layer in layers if layer.op.endswith("_i8")]  # others cast to what they store
    stored = any(tensor.buffer.dtype == "int16" for layer in kernels for tensor in layer.writes)
    includes = "#define ECM_STORED int16_t\n" if stored else ""
    includes += "\n".join(f'#include "{kernel}"' for kernel in used_kernels(text))
    return "\n".join(
        [
            f"/* {literals.comment(_first_comment(origin))}",
            " *",
            *_overview(layers, plan),
            " */",
            f'#include "{name}.h"',
            "",
            includes,
            "",
            "#ifdef ECM_TRACE",
            "void ecm_trace(int layer, const void *data, int bytes);",
            "#endif",
            "",
            f"const char {name}_version[] = {literals.text(origin.version)};",
            "",
            *_arena(name, plan),
            text,
            "",
            *(_run_bytes(name, layers, plan, entry) if entry else []),
            _run(name, layers, plan),
        ]
    )


_MATH = (
    *("exp", "sigmoid", "silu", "tanh", "erf", "gelu", "gelu_tanh", "log", "pow", "sqrt", "softplus"),
    *("elu", "hardsigmoid", "hardswish"),
)
_TRIGONOMETRY = ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh")


def used_kernels(text: str) -> list[str]:
    """Headers whose functions the text calls."""
    marks = {
        "ecm_conv_f32.h": ("ecm_conv_f32(", "ecm_conv_f32_add("),
        "ecm_conv_f32_wide.h": ("ecm_conv_f32_wide(",),
        "ecm_dense_half.h": ("ecm_dense_half(",),
        "ecm_depthwise_f32.h": ("ecm_depthwise_f32(",),
        "ecm_depthwise_f32_once.h": ("ecm_depthwise_f32_once(",),
        "ecm_depthwise_f32_lines.h": ("ecm_depthwise_f32_lines(",),
        "ecm_conv_i8.h": ("ecm_conv_i8(",),
        "ecm_conv_i8_packed.h": ("ecm_conv_i8_packed(",),
        "ecm_conv_i8_dual.h": ("ecm_conv_i8_dual(",),
        "ecm_depthwise_i8.h": ("ecm_depthwise_i8(",),
        "ecm_depthwise_i8_lines.h": ("ecm_depthwise_i8_lines(",),
        "ecm_depthwise_i8_dual.h": ("ecm_depthwise_i8_dual(",),
        "ecm_depthwise_i8_packed.h": ("ecm_depthwise_i8_packed(",),
        "ecm_quant.h": ("ecm_quantize(", "ecm_dequantize(", "ecm_requantize(", "ecm_shifted(", "ecm_round("),
        "ecm_nibble.h": ("ecm_nibble(",),
        "ecm_half.h": ("ecm_half(", "ecm_halves("),
        "ecm_activation.h": ("ecm_activate_f32(", "ecm_relu_f32("),
        "ecm_elementwise.h": ("ecm_absf(", "ecm_larger_f32(", "ecm_smaller_f32(", "ecm_softmax_f32("),
        "ecm_lstm_f32.h": ("ecm_lstm_f32(",),
        "ecm_gru_f32.h": ("ecm_gru_f32(",),
        "ecm_rnn_f32.h": ("ecm_rnn_f32(",),
        "ecm_rounding.h": tuple(
            f"ecm_{function}f(" for function in ("floor", "ceil", "trunc", "sign", "fmod", "modulo")
        ),
        "ecm_trigonometry.h": tuple(f"ecm_{name}f(" for name in _TRIGONOMETRY),
        "ecm_math.h": ("ecm_rint_even(", *(f"ecm_{function}f(" for function in _MATH)),
    }
    return ["ecm_base.h", *(header for header, words in marks.items() if any(word in text for word in words))]


def _first_comment(origin: Origin) -> str:
    return (
        f"Generated by {origin.tool} from {origin.model} ({origin.form}, SHA-256 {origin.model_sha256}) "
        f"for {origin.target}; not to be edited."
    )


def _overview(layers: Sequence[Layer], plan: Plan) -> list[str]:
    constants = constant_bytes(layers)
    macs = sum(layer.macs for layer in layers)
    return [
        f" * {len(layers)} layers, {macs:,} MACs, {constants:,} bytes of constants, {plan.arena_bytes:,} bytes of arena"
    ]


def _arena(name: str, plan: Plan) -> list[str]:
    if not plan.arena_bytes:
        return []
    size = plan.arena_bytes
    views = f"float f[{size // 4}]; int8_t b[{size}]; int16_t h[{size // 2}]; int64_t aligned[{size // 8}];"
    return [
        "/* Every tensor between layers; where each lies was planned by how long it is needed. */",
        f"static union {{ {views} }} {name}_arena;",
        "",
    ]


def _function(name: str, number: int, layer: Layer, plan: Plan, places: Mapping[str, tuple[int, Array]]) -> str:
    """A layer's constants that no layer before has, and its function; `places` as `holders` gives them."""
    names = {what: f"{name}_{holder}_{literals.identifier(array.what)}" for what, (holder, array) in places.items()}
    own = [a for a in layer.arrays if places[a.what][1] is a]
    constants = [literals.array(names[a.what], a.values, a.dtype, f"{a.values.shape}, {a.dtype}") for a in own]
    title = f"{number}: {literals.comment(', '.join(layer.origin))}\n * {literals.comment(layer.note)}"
    definition = _definition(
        name, function_name(name, number, layer), layer, plan, names, backward=number in plan.backward
    )
    return "\n".join([*constants, f"/* {title} */", definition])


def _definition(
    name: str, function: str, layer: Layer, plan: Plan, constants: Mapping[str, str], *, backward: bool
) -> str:
    def pointer(memory: Tensor | Buffer) -> str:
        return _pointer(name, memory, plan)

    body = layer.body(Names(pointer, constants.__getitem__, backward))
    return f"static ECM_NOINLINE void {function}({_parameters(layer)})\n{{\n{indent(body)}\n}}"


def _parameters(layer: Layer) -> str:
    given = {tensor.buffer.place: literals.C_TYPES[tensor.buffer.dtype] for tensor in (*layer.reads, *layer.writes)}
    texts = {"samples": "const {} *samples", "scores": "{} *scores"}
    return ", ".join(text.format(given[place]) for place, text in texts.items() if place in given) or "void"


def _call(function: str, layer: Layer) -> str:
    used = {tensor.buffer.place for tensor in (*layer.reads, *layer.writes)}
    return f"    {function}({', '.join(place for place in ('samples', 'scores') if place in used)});"


def _pointer(name: str, memory: Tensor | Buffer, plan: Plan) -> str:
    """The address of a tensor's first element, or of a buffer."""
    buffer = memory if isinstance(memory, Buffer) else memory.buffer
    element = 0 if isinstance(memory, Buffer) else memory.offset
    if buffer.place != "arena":
        return f"({buffer.place} + {element})" if element else buffer.place
    at = plan.offsets[buffer] // ITEM_BYTES[buffer.dtype] + element
    member = f"{name}_arena.{_MEMBERS[buffer.dtype]}"
    return f"({member} + {at})" if at else member


@dataclass(frozen=True, eq=False)
class Traced:
    """One tensor that a build with ECM_TRACE shows: its number in the order of the calls, its layer and ONNX name."""

    number: int
    layer: int
    name: str
    tensor: Tensor


def traced(layers: Sequence[Layer]) -> list[Traced]:
    """Everything that the layers write under an ONNX name, in order."""
    written = [
        (number, name, tensor)
        for number, layer in enumerate(layers)
        for name, tensor in zip(layer.outputs, layer.writes, strict=False)
    ]
    return [Traced(number, *each) for number, each in enumerate(written)]


def _trace(name: str, entry: Traced, plan: Plan) -> str:
    buffer = entry.tensor.buffer
    return f"    ecm_trace({entry.number}, {_pointer(name, buffer, plan)}, {buffer.size_bytes});"


def _run(name: str, layers: Sequence[Layer], plan: Plan) -> str:
    shown: dict[int, list[str]] = {}
    for entry in traced(layers):
        shown.setdefault(entry.layer, []).append(_trace(name, entry, plan))
    lines = []
    for number, layer in enumerate(layers):
        lines.append(_call(function_name(name, number, layer), layer))
        lines += ["#ifdef ECM_TRACE", *shown[number], "#endif"] if number in shown else []
    return "\n".join([f"void {name}_run(const float *samples, float *scores)", "{", *lines, "}", ""])


def _run_bytes(name: str, layers: Sequence[Layer], plan: Plan, entry: ByteEntry) -> list[str]:
    """The functions that copy bytes, and the entry that calls them and the other layers."""
    texts, lines = [], []
    for number, layer in enumerate(layers):
        copies = entry.replaced.get(number)
        function = f"{name}_{copies.identifier}_{number}" if copies else function_name(name, number, layer)
        lines.append(_call(function, copies or layer))
        if copies:
            title = f"/* {literals.comment(copies.note)} */\n"
            texts.append(title + _definition(name, function, copies, plan, {}, backward=False) + "\n")
    return [*texts, "\n".join([entry.prototype(name), "{", *lines, "}", ""])]
