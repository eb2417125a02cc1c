"""onnxruntime latency of each form: 1 thread, batch 1, warm-ups, around the inference call alone.

    pytest benchmarks/test_latency.py --candidate FOLDER --benchmark-json latency.json

is latency evidence for `ecm-edge promote --latency latency.json`. Without --candidate, an untrained AFNet is timed.
"""

from __future__ import annotations

from itertools import cycle
from typing import get_args

import numpy as np
import pytest

from ecm_edge.base import files
from ecm_edge.base.records import Evidence, Form
from ecm_edge.candidate import candidate, networks
from ecm_edge.evaluate import bench, timing
from ecm_edge.forms import export, onnx_model, quantize, simplify
from ecm_edge.forms.model_file import open_model

T = 1250


@pytest.fixture(scope="session")
def forms(candidate_option, tmp_path_factory):
    """The ONNX file of each form that there is."""
    if candidate_option:
        return {model.form: model.path for model in bench.open_forms(candidate_option)}
    folder = tmp_path_factory.mktemp("candidate")
    network = networks.build("afnet", {"channel_factor": 4, "head_factor": 2}, T)
    segments = np.random.default_rng(0).standard_normal((16, T)).astype(np.float32)
    float32, _ = simplify.simplify(export.to_onnx(network, T), segments)
    int8, float16 = quantize.quantize_int8(float32, segments), quantize.to_float16_weights(float32)
    protos = {"float32": float32, "float16": float16, "int8": int8}
    for form, proto in protos.items():
        onnx_model.save(proto, folder / candidate.FORM_FILES[form])
    return {form: folder / candidate.FORM_FILES[form] for form in protos}


@pytest.mark.parametrize("form", get_args(Form))
def test_latency(benchmark, forms, form):
    if form not in forms:
        pytest.skip(f"the candidate has no {form} form")
    classifier = open_model(forms[form]).classifier
    segments = bench.segments_for(classifier, None).reshape(-1, *classifier.input_shape)
    untimed, turns, answers = timing.inference(classifier), cycle(segments), []
    timed = timing.inference(classifier)
    benchmark.pedantic(
        lambda segment: answers.append(timed(segment)),
        setup=lambda: ((next(turns),), {}),
        rounds=bench.RUNS,
        warmup_rounds=bench.WARM_UPS,
    )
    expected = [untimed(segment) for segment in segments]
    assert len(answers) >= bench.RUNS
    assert all(np.array_equal(answer, expected[i % len(segments)]) for i, answer in enumerate(answers))
    benchmark.extra_info |= {
        "checked": True,
        "form": form,
        "model_sha256": files.sha256_file(forms[form]),
        "evidence": Evidence.MEASURED.value,
        "source": timing.host(),
        "warm_ups": bench.WARM_UPS,
    }
