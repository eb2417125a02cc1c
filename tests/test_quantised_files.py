"""Files of onnxruntime's quantiser: C gives the reference's bytes, and that is onnxruntime's within 1 LSB."""

import numpy as np
import pytest

from ecm_edge.base.errors import ModelError
from ecm_edge.forms import onnx_model, reference

from . import firmware_c, quantised_files
from .quantised_files import FILES, SEED

NAMES = [file.name for file in FILES]
REFUSED = {"lstm-dynamic-UInt8-Int8-opset17": "com.microsoft.DynamicQuantizeLSTM 'lstm_quant'"}
"""An operator whose rounding of the state in every step is onnxruntime's own, and no standard's."""
FLOATS = 2e-6
"""Of what is computed in floats, as in tests/conformance.py: dynamic quantisation, and what is left in floats."""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """All that C is made of, in one program that stops at an overflow."""
    generated = [each for _, _, _, each in quantised_files.made() if not isinstance(each, ModelError)]
    return firmware_c.build(tmp_path_factory.mktemp("files"), generated, sanitise=True)


@pytest.mark.parametrize("number", range(len(FILES)), ids=NAMES)
def test_a_quantised_file_is_the_reference_to_the_byte(program, number):
    file, classifier, graph, generated = quantised_files.made()[number]
    if isinstance(generated, ModelError):
        assert REFUSED[file.name] in generated.found
        return
    samples = file.samples(SEED + 1).reshape(quantised_files.SEGMENTS, -1)
    own = reference.scores(graph, samples)
    scores, _ = program.run(program.models.index(generated), samples)
    assert len(np.unique(own)) > quantised_files.SEGMENTS
    if file.ends_in_integers:
        np.testing.assert_array_equal(scores, own)
    else:
        np.testing.assert_allclose(scores, own, rtol=FLOATS, atol=FLOATS)
    _near_onnxruntime(classifier, graph, samples)


def _near_onnxruntime(classifier, graph, samples):
    """Every quantised tensor, made of onnxruntime's own inputs, lies within 1 LSB of onnxruntime's."""
    names = [*graph.quantised, graph.output_name]
    exposed = onnx_model.with_outputs(classifier.proto, names)
    session = onnx_model.open_session(exposed)
    theirs = dict(zip(names, onnx_model.run_session(session, classifier, samples, names), strict=True))
    own = reference.run(graph, samples, names, replace={name: theirs[name] for name in names[:-1]})
    for name in names[:-1]:
        assert np.abs(own[name].astype(np.int64) - theirs[name].astype(np.int64)).max() <= 1, name
    np.testing.assert_allclose(own[names[-1]], theirs[names[-1]], rtol=1e-5, atol=1e-5)


def test_files_are_taken_and_the_others_refused_by_name():
    assert len(FILES) == len(set(NAMES)) == 50
    refused = {file.name for file, _, _, each in quantised_files.made() if isinstance(each, ModelError)}
    assert refused == set(REFUSED)


def test_onnxruntime_rounds_no_activation_of_a_product_by_4_bits():
    """By default it takes activations in 8 bits there on cores with instructions for it, whatever the file says."""
    number = next(i for i, name in enumerate(NAMES) if name.startswith("matmul-qdq-Int16-UInt4"))
    file, classifier, graph, _ = quantised_files.made()[number]
    samples = file.samples(SEED + 1).reshape(quantised_files.SEGMENTS, -1)
    own = reference.scores(graph, samples)
    np.testing.assert_allclose(onnx_model.run_scores(classifier, samples), own, atol=1e-3)
