"""Each float operator against the examples of the ONNX standard itself."""

import importlib
import pkgutil
import warnings

import numpy as np
import onnx.backend.test.case.node as standard
import pytest

from ecm_edge.errors import ModelError
from ecm_edge.reference.graph import _node
from ecm_edge.reference.operators import OPERATORS

UNSUPPORTED = ("training", "empty_set", "precomputed_strides", "_expanded", "dropout_default_ratio")
MODULES = {m.name.replace("_", ""): m.name for m in pkgutil.iter_modules(standard.__path__)}
CAST = {"Cast", "CastLike"}  # the standard's examples are of types narrower than a byte; see below


def examples(op):
    """The standard's own examples of one operator, as (attributes, inputs, outputs)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the examples divide by zero on purpose
        importlib.import_module(f"{standard.__name__}.{MODULES[op.lower()]}")
    for case in standard._NodeTestCases:  # noqa: SLF001 - the examples have no other home
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type == op and not any(word in case.name for word in UNSUPPORTED):
            node = _node(0, nodes[0])
            for inputs, outputs in case.data_sets:
                given = iter(inputs)
                yield node.attributes, [np.asarray(next(given)) if name else None for name in node.inputs], outputs


@pytest.mark.parametrize("op", sorted(set(OPERATORS) - CAST))
def test_operator_computes_what_the_standard_says(op):
    compared = 0
    for attributes, inputs, outputs in examples(op):
        found = OPERATORS[op](attributes, [None if x is None else x[None] for x in inputs])
        for own, wanted in zip(found, map(np.asarray, outputs), strict=False):
            assert own.shape[1:] == wanted.shape
            assert own.dtype == wanted.dtype
            np.testing.assert_allclose(own[0], wanted, rtol=1e-3, atol=1e-4)  # some examples give four digits
            compared += 1
    assert compared > 0


@pytest.mark.parametrize(
    "op", ["Conv", "Gemm", "MaxPool", "AveragePool", "Sigmoid", "BatchNormalization", "ReduceMean"]
)
def test_many_segments_give_what_each_gives_alone(op):
    attributes, inputs, _ = next(iter(examples(op)))
    stacked = np.stack([inputs[0], inputs[0] * np.float32(0.5), inputs[0] + np.float32(1)])
    rest = [None if x is None else x[None] for x in inputs[1:]]
    together = OPERATORS[op](attributes, [stacked, *rest])[0]
    alone = [OPERATORS[op](attributes, [x[None], *rest])[0][0] for x in stacked]
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-6)


def test_cast_changes_the_type():
    assert OPERATORS["Cast"]({"to": 1}, [np.array([[2.5]], np.float16)])[0].dtype == np.float32
    assert OPERATORS["CastLike"]({}, [np.array([[2]]), np.float32([[1]])])[0].dtype == np.float32


def test_shapes_that_depend_on_the_input_are_refused():
    with pytest.raises(ModelError, match="a shape is a constant"):
        OPERATORS["Reshape"]({}, [np.zeros((3, 4)), np.array([[2, 2]] * 3)])
