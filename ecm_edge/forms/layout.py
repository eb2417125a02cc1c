"""What the axes of a model's input are, as the operators that read it say: NCT, NTC, NCHW, NHWC and their like."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_SAME_AXES = frozenset(
    {
        *("Identity", "Cast", "QuantizeLinear", "DequantizeLinear", "Relu", "Clip", "Dropout"),
        *("Add", "Sub", "Mul", "Div", "Pad", "Slice"),
    }
)
_CHANNELS_FIRST = {2: "NC", 3: "NCT", 4: "NCHW", 5: "NCDHW"}
_WINDOWS = frozenset(
    {
        *("Conv", "ConvTranspose", "QLinearConv", "ConvInteger", "MaxPool", "AveragePool", "LpPool"),
        *("GlobalAveragePool", "GlobalMaxPool", "BatchNormalization", "InstanceNormalization", "GroupNormalization"),
    }
)
_RECURRENT = {"LSTM", "GRU", "RNN"}
MEANING = "N batch, C channels, T time, H rows, W columns, D depth"


def layout_of(graph: onnx.GraphProto, name: str, rank: int) -> str:
    """A letter for each axis of a graph's input, such as "NCT"; empty where no operator says what they are.

    Convolutions, pools and norms have channels behind the batch, recurrent layers have time in front of it or behind
    it; a Transpose in between changes the order. Of two axes the second one is time.
    """
    found: set[str] = set()
    waiting = [(name, tuple(range(rank)))]  # a tensor, and which axis of the input each of its axes is
    seen = {name}
    while waiting:
        tensor, axes = waiting.pop()
        for node in graph.node:
            if tensor not in node.input:
                continue
            after = _permuted(node, axes)
            if after is not None:
                waiting += [(output, after) for output in node.output if output not in seen]
                seen.update(node.output)
            elif node.input[0] == tensor and (letters := _letters(node, rank)):
                found.add("".join(letter for _, letter in sorted(zip(axes, letters, strict=True))))
    if not found and rank == len("NT"):
        return "NT"
    return found.pop() if len(found) == 1 else ""


def _permuted(node: onnx.NodeProto, axes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The axes behind a node that keeps them or changes their order; None behind any other."""
    if node.op_type == "Transpose":
        order = next((list(entry.ints) for entry in node.attribute if entry.name == "perm"), None)
        order = order or list(reversed(range(len(axes))))
        return tuple(axes[axis] for axis in order) if len(order) == len(axes) else None
    return axes if node.op_type in _SAME_AXES else None


def _letters(node: onnx.NodeProto, rank: int) -> str:
    """The letters of the axes that an operator takes; empty where it says nothing of them."""
    if node.op_type in _RECURRENT and rank == len("TNC"):
        return "NTC" if any(entry.name == "layout" and entry.i for entry in node.attribute) else "TNC"
    return _CHANNELS_FIRST.get(rank, "") if node.op_type in _WINDOWS and rank > len("NC") else ""
