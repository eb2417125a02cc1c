"""Data sets and models so small that their scores can be worked by hand.

A segment has 8 samples. A model reads one of them, its `column`, as the margin: the data decide what it scores.
"""

from __future__ import annotations

import contextlib
import hashlib
import io

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ecm_edge import targets
from ecm_edge.base import files, provenance
from ecm_edge.base.records import Evidence, Latency, Verdict
from ecm_edge.candidate import candidate
from ecm_edge.cli import main
from ecm_edge.data.dataset import Description, SegmentBlock, Source, open_dataset
from ecm_edge.data.dataset_writer import write_dataset
from ecm_edge.data.splits import Split
from ecm_edge.evaluate.bench import BenchRecord, FormBench
from ecm_edge.evaluate.verify.records import Hop, VerifiedFirmware, VerifyRecord, hops_to, judged_by
from ecm_edge.firmware.count import Counts
from ecm_edge.firmware.fit_records import FirmwareRecord, FormFit, ImageFile, target_sha256
from ecm_edge.forms import cost, gate, onnx_model
from ecm_edge.registry import proof

T = 8
SCORED = targets.load("loongson-2k0500")
TARGET = SCORED.model_copy(update={"promotion": SCORED.promotion.model_copy(update={"costs": "bounded"})})
"""The board with bounds on what a challenger costs more, as boards without a rule of score have them."""
HOPS = list(dict.fromkeys(hop for form in TARGET.precision for hop in hops_to(form, TARGET)))


def data(folder, subjects, *, synthetic=True, unit="mV"):
    """A data set of `subjects`: name -> list of (rhythm, margins in columns 0, 1, …)."""
    blocks = []
    for name, segments in subjects.items():
        samples = np.zeros((len(segments), T), np.float32)
        for row, (_, columns) in enumerate(segments):
            samples[row, : len(columns)] = columns
        names = [f"{name}-{rhythm}-{i}" for i, (rhythm, _) in enumerate(segments)]
        rhythms = [rhythm for rhythm, _ in segments]
        blocks.append(SegmentBlock(samples, names, [name] * len(names), rhythms, names, [""] * len(names)))
    description = Description(
        sampling_rate_hz=250, samples_per_segment=T, unit=unit, synthetic=synthetic, source=Source(format="test")
    )
    write_dataset(folder, description, blocks)
    return open_dataset(folder)


def graded(folder, subjects=6, **options):
    """Subjects S0, S1, … of ten AF and ten other segments; column k is wrong in k tenths of the AF."""
    generator = np.random.default_rng(0)

    def columns(positive):
        wrong = generator.permutation(10)
        sign = 1 if positive else -1
        return [[-sign if positive and wrong[i] < k else sign for k in range(T)] for i in range(10)]

    rows = {
        f"S{s}": [*(("AFIB", c) for c in columns(positive=True)), *(("N", c) for c in columns(positive=False))]
        for s in range(subjects)
    }
    return data(folder, rows, **options)


def model(column=0, layers=0, scale=1.0, form="float32", **facts):
    """scores = [0, scale x samples[column]], with `layers` needless multiplications that cost MACs and weights."""
    weight = np.zeros((T, 2), np.float32)
    weight[column, 1] = scale
    initializers = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.eye(T, dtype=np.float32), "eye")]
    nodes = [helper.make_node("Flatten", ["samples"], ["h0"])]
    nodes += [helper.make_node("MatMul", [f"h{i}", "eye"], [f"h{i + 1}"], name=f"extra{i}") for i in range(layers)]
    nodes.append(helper.make_node("MatMul", [f"h{layers}", "w"], ["scores"], name="head"))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "tiny",
        [value("samples", TensorProto.FLOAT, (1, 1, T))],
        [value("scores", TensorProto.FLOAT, (1, 2))],
        [tensor for tensor in initializers if layers or tensor.name != "eye"],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(proto, full_check=True)
    onnx_model.stamp(proto, {"form": form, **facts})
    return proto


def config(dataset, train=("S0", "S1"), validation=("S2",), test=("S3", "S4", "S5"), seed=0):
    """The configuration of a candidate made from `dataset`."""
    return candidate.CandidateConfig(
        family="tiny",
        network={},
        training=candidate.TrainingConfig(),
        seed=seed,
        split=Split(train=list(train), validation=list(validation), test=list(test)),
        dataset_sha256=dataset.header.content_sha256,
        source_sha256=dataset.header.source_sha256,
        synthetic=dataset.header.synthetic,
        sampling_rate_hz=250,
        samples_per_segment=T,
    )


def make_candidate(folder, dataset, *, column=0, layers=0, forms=("float32", "int8"), target=TARGET, **split):
    """A candidate folder with its configuration, cost and the ONNX file of each form."""
    folder.mkdir(parents=True)
    made = config(dataset, **split)
    made.save(folder / candidate.CONFIG)
    for form in forms:
        proto = model(column, layers, form=form, config_sha256=made.sha256)
        onnx_model.save(proto, folder / candidate.FORM_FILES[form])
    gate.check_cost(cost.count(model(column, layers)), target).save(folder / candidate.COST)
    return folder


def run(arguments):
    """The exit code of the command line."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


def run_for_output(*arguments):
    """Exit code and standard output of a command."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = run(arguments)
    return code, out.getvalue()


def latency(median_ms=1.0, source="cpu", evidence="measured"):
    """A latency as `bench` would record it."""
    return Latency(evidence=evidence, source=source, mean_ms=2 * median_ms, median_ms=median_ms)


def write_bench(folder, **figures):
    """bench.json of a candidate as if it had been timed, for every form it has."""
    timed = [
        FormBench(
            form=form,
            file=name,
            model_sha256=files.sha256_file(folder / name),
            file_bytes=1,
            weight_bytes=1,
            latency_ms=latency(**figures),
            answers_checked=1,
            answers_differing=0,
        )
        for form, name in candidate.FORM_FILES.items()
        if (folder / name).exists()
    ]
    BenchRecord(
        verdict=Verdict.PASS,
        gates=[],
        forms=timed,
        against=[],
        segments="noise",
        dataset_sha256=None,
        synthetic=None,
        config_sha256=None,
        macs=1,
        parameters=1,
        board=None,
        board_latency_ms=None,
        provenance=provenance.collect(),
    ).save(folder / candidate.BENCH)


def write_verify(folder, dataset, verdict=Verdict.PASS, target=TARGET.name, passed=HOPS, judge=TARGET, segments=20):
    """verify.json of a candidate as if its forms had been compared, and their C on the emulated board."""
    models = {path.name: files.sha256_file(path) for path in folder.glob("*.onnx")}
    VerifyRecord(
        verdict=verdict,
        model=folder.name,
        target=target,
        judged_by=judged_by(judge),
        dataset=dataset.folder.name,
        dataset_sha256=dataset.header.content_sha256,
        synthetic=dataset.header.synthetic,
        segments=segments,
        subjects=["S2"],
        first_diverging_hop=None,
        hops=[Hop(name=hop, reference="", other="", verdict=Verdict.PASS) for hop in passed],
        model_sha256=models,
        firmware=[
            VerifiedFirmware(
                form=form,
                model_sha256=models[name],
                sources={"model.c": "0" * 64},
                compiler="a compiler",
                model_object="1" * 64,
                emulated_image="2" * 64,
                emulated_segments=segments,
                shipped_image=hashlib.sha256(image_of(folder / name)).hexdigest(),
            )
            for form, name in candidate.FORM_FILES.items()
            if name in models
        ],
        gates=[],
        provenance=provenance.collect(),
    ).save(folder / candidate.VERIFY)


def image_of(path):
    """Bytes that stand for the image of a model file."""
    return b"image of " + files.sha256_file(path).encode()


def write_firmware(folder, target=TARGET, *, verdict=Verdict.PASS, board_ms=1.0, **figures):
    """firmware.json of a candidate and its images as if they had been built."""
    forms = []
    for form, name in candidate.FORM_FILES.items():
        if not (folder / name).exists():
            continue
        path = folder / candidate.IMAGES / form / f"{target.name}.elf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_of(folder / name))
        costs = gate.check_cost(cost.count(onnx_model.load_proto(folder / name)), target)
        fit = FormFit(
            form=form,
            note="",
            model_sha256=files.sha256_file(folder / name),
            verdict=verdict,
            reason="",
            parameters=costs.parameters,
            macs=costs.macs,
            flash_bytes=60_000,
            ram_bytes=500,
            size_evidence=Evidence.MEASURED,
            latency_ms=latency(board_ms, evidence="estimated"),
            instructions=counts(target),
            image=ImageFile(
                file=path.relative_to(folder).as_posix(),
                size_bytes=path.stat().st_size,
                sha256=files.sha256_file(path),
            ),
            gates=[],
        )
        forms.append(fit.model_copy(update=figures))
    FirmwareRecord(
        verdict=verdict,
        target=target.name,
        target_sha256=target_sha256(target),
        config_sha256=None,
        forms=forms,
        compiler="a compiler",
        flags=[],
        model_flags=[],
        emulator=None,
        provenance=provenance.collect(),
    ).save(folder / candidate.FIRMWARE)


def counts(target=TARGET):
    """Instructions as if they had been counted."""
    return Counts(
        target=target.name,
        segments=1,
        total=100,
        total_min=100,
        by_class={},
        layers=[],
        rest=100,
        repeatable=True,
        stack_bytes=64,
        unaligned=0,
    )


def ready(folder, dataset, *, median_ms=1.0, **options):
    """A candidate that could be promoted: verified, built and timed."""
    make_candidate(folder, dataset, **options)
    write_verify(folder, dataset)
    write_firmware(folder)
    write_bench(folder, median_ms=median_ms)
    return folder


def believing(prove):
    """What proves candidates, but for those of this module: their records are invented, and nothing is built."""

    def proven(challenger):
        return proof.Proof([], 0.0) if challenger.config.family == "tiny" else prove(challenger)

    return proven
