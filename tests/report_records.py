"""Records of every stage, made by hand, around the tiny candidates of `tests.tiny`."""

from __future__ import annotations

from ecm_edge.base import files, provenance
from ecm_edge.base.records import Latency, Verdict, at_most, not_run
from ecm_edge.candidate import candidate, space
from ecm_edge.evaluate.score import score_model
from ecm_edge.evaluate.verify.records import Flip, Hop, VerifyRecord
from ecm_edge.firmware.count import Counts, LayerCount
from ecm_edge.firmware.fit_records import FirmwareRecord, FormFit, ImageFile, LayerFit, target_sha256
from ecm_edge.firmware.image import Sections
from ecm_edge.firmware.plan import PlannedBuffer
from ecm_edge.forms import parity, quantize, simplify
from ecm_edge.forms.reference.noise import LayerNoise
from ecm_edge.search.runs import SearchRecord, SearchSettings
from ecm_edge.search.trial_record import TrialRecord
from ecm_edge.training import train
from ecm_edge.training.epochs import Epoch
from tests import tiny

SUBJECTS = ["S0", "S1", "S2", "<script>alert(1)</script>", "$x_1", "S5"]
"""Names that HTML and mathematical text would like to interpret; the last three are tested on."""


def dataset(folder, *, synthetic=True):
    """Six subjects, 3 AF and 3 others each; a model of column 0 misses one AF and gives one false alarm each."""
    rows = [("AFIB", [2.0]), ("AFIB", [1.0]), ("AFIB", [-3.0]), ("N", [-2.0]), ("", [-1.0]), ("N", [4.0])]
    return tiny.data(folder, dict.fromkeys(SUBJECTS, rows), synthetic=synthetic)


def bare(folder, data):
    """A candidate without any record but its cost."""
    return tiny.make_candidate(folder, data, test=SUBJECTS[3:])


def full(folder, data):
    """A candidate with a record of every stage."""
    tiny.ready(folder, data, test=SUBJECTS[3:])
    training(candidate.load_config(folder)).save(folder / candidate.TRAINING)
    simplified().save(folder / candidate.SIMPLIFY)
    quantised().save(folder / candidate.QUANTIZE)
    verified = VerifyRecord.load(folder / candidate.VERIFY)
    flipped = hop(data)
    others = [known for known in verified.hops if known.name != flipped.name]
    verified.model_copy(update={"hops": [flipped, *others]}).save(folder / candidate.VERIFY)
    firmware(folder)
    score_model(folder, data, target=tiny.TARGET).save(folder / candidate.SCORE)
    return folder


def firmware(folder, *, reason=""):
    """firmware.json and images of the candidate's forms, as if they had been built; with a reason, not counted."""
    config = candidate.load_config(folder)
    forms = []
    for form in ("float32", "int8"):
        image = folder / candidate.IMAGES / form / f"{tiny.TARGET.name}.elf"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(tiny.image_of(folder / candidate.FORM_FILES[form]))
        forms.append(form_fit(form, image, files.sha256_file(folder / candidate.FORM_FILES[form]), reason))
    record = FirmwareRecord(
        verdict=forms[0].verdict,
        target=tiny.TARGET.name,
        target_sha256=target_sha256(tiny.TARGET),
        config_sha256=config.sha256,
        forms=forms,
        compiler="zig 0.17.1",
        flags=[],
        model_flags=[],
        emulator="qemu",
        provenance=provenance.collect(),
    )
    record.save(folder / candidate.FIRMWARE)
    return record


def form_fit(form, image, model_sha256, reason=""):
    """Two layers, of which the second takes most."""
    layers = [
        LayerFit(index=0, name="0_flatten", origin=["a"], macs=0, code_bytes=40, constant_bytes=0, live_bytes=32,
                 instructions=None if reason else 50, cycles=None if reason else 40),
        LayerFit(index=1, name="1_matmul", origin=["<b>"], macs=16, code_bytes=300, constant_bytes=64, live_bytes=40,
                 instructions=None if reason else 200, cycles=None if reason else 150),
    ]  # fmt: skip
    counts = Counts(
        target=tiny.TARGET.name,
        segments=2,
        total=260,
        total_min=260,
        by_class={"load": 100, "fused": 160},
        layers=[LayerCount(name=layer.name, total=layer.instructions or 0, by_class={}) for layer in layers],
        rest=10,
        repeatable=True,
        stack_bytes=96,
        unaligned=0,
    )
    return FormFit(
        form=form,
        note="",
        model_sha256=model_sha256,
        verdict=Verdict.NOT_RUN if reason else Verdict.PASS,
        reason=reason,
        parameters=16,
        macs=16,
        flash_bytes=4200,
        ram_bytes=5100,
        size_evidence="measured",
        latency_ms=Latency(evidence="estimated", source="a model", mean_ms=0.002, low_ms=0.001, high_ms=0.003),
        instructions_per_mac=None if reason else 16.25,
        instructions=None if reason else counts,
        sections=Sections(
            text=3000, rodata=900, data=4, bss=5096, stack_reserved=None, flash_bytes=4200, ram_bytes=5100
        ),
        model_bytes=10,
        other_bytes=3786,
        arena_bytes=40,
        stack_bound_bytes=120,
        stack_high_water_bytes=None if reason else 96,
        stack_limit_bytes=200_000,
        layers=layers,
        arena=[PlannedBuffer(tensor="<h0>", offset=0, size_bytes=32, first_layer=0, last_layer=1)],
        image=ImageFile(
            file=f"firmware/{form}/{image.name}", size_bytes=image.stat().st_size, sha256=files.sha256_file(image)
        ),
        gates=[
            at_most("flash_bytes", 4200, 262_144, "B", "heaviest: 1_matmul, 364 (9 %)"),
            not_run("unaligned_accesses", reason) if reason else at_most("unaligned_accesses", 0, 0, "accesses"),
        ],
    )


def run(folder, data):
    """A run of four trials, the best of them full."""
    trials = [
        trial(0, macs=100, objective=40.0, outcome="done", verdict=Verdict.PASS),
        trial(1, macs=200, objective=60.0, outcome="done", verdict=Verdict.PASS),
        trial(2, macs=300, objective=50.0, outcome="pruned"),
        trial(3, macs=900, outcome="unfit", reason="too many MACs"),
    ]
    (folder / candidate.RUN_TRIALS).mkdir(parents=True)
    full(candidate.trial_folder(folder, 1), data)
    settings(data).save(folder / candidate.RUN_SETTINGS)
    summary(trials).save(folder / candidate.RUN_SUMMARY)
    return folder


def training(config):
    """Two epochs, of which the first was kept."""
    epochs = [epoch(1, 0.6, 0.5), epoch(2, 0.4, 0.7)]
    return train.TrainingRecord(
        family=config.family,
        config_sha256=config.sha256,
        dataset_sha256=config.dataset_sha256,
        synthetic=config.synthetic,
        stopped="patience",
        best=epochs[0],
        epochs=epochs,
        train_segments=12,
        validation_segments=6,
        train_subjects=2,
        validation_subjects=1,
        samples_per_second=10.0,
        seconds=2.4,
        device="cpu",
        threads=1,
    )


def epoch(number, train_loss, validation_loss):
    return Epoch(
        epoch=number,
        learning_rate=0.01,
        train_loss=train_loss,
        validation_loss=validation_loss,
        f1=0.8,
        fbeta_mean=0.9,
        g=0.5,
        threshold=0.1,
        seconds=1.2,
    )


def simplified():
    return simplify.SimplifyRecord(
        nodes_before=9,
        nodes_after=3,
        nodes_by_op_before={},
        nodes_by_op_after={},
        batch_norms_folded_forward=0,
        onnxsim_checks_wanted=2,
        onnxsim_checks_run=2,
        parity=parity.Parity(segments=1, label_flips=0, non_finite=0),
        weight_bytes=64,
        sha256="0" * 64,
        gates=[at_most("max_abs", 0.0, 1e-3, "score")],
        verdict=Verdict.PASS,
    )


def quantised(*, ranked=True):
    noise = [LayerNoise(layer="head", op="MatMul", sqnr_db=31.5, max_abs=0.02)] if ranked else []
    known = {
        "layers": noise,
        "calibration_segments": 12,
        "calibration_subjects": ["S0", "S1"],
        "calibration_range": (-0.4, 1.2),
        "facts": None,
    }
    empty = {name: _empty(field.annotation) for name, field in quantize.QuantizeRecord.model_fields.items()}
    return quantize.QuantizeRecord.model_validate({**empty, **known})


def _empty(annotation):
    """A value of nothing for a field that the page does not show."""
    return {int: 0, float: 0.0, bool: False, str: ""}.get(annotation, [] if "list" in str(annotation) else {})


def hop(data):
    """One hop that flips one segment."""
    return Hop(
        name="simplified→int8",
        reference="a",
        other="b",
        verdict=Verdict.PASS,
        parity=parity.Parity(segments=6, label_flips=1, non_finite=0, acc=5 / 6, cos=0.9999991, max_abs=3.7e-9),
        label_flips=[Flip(name=data.names([0])[0], subject="S0", reference_margin=0.1, other_margin=-0.1)],
        gates=[at_most("f1_drop", 0.0, 0.01, "F1")],
    )


def trial(number, **known):
    costs = {"parameters": 8, "flash_bytes": 64_000, "ram_bytes": 64, "latency_ms": 0.1, "stage_seconds": {}}
    return TrialRecord.model_validate({"number": number, "family": "tiny", "point": {}, **costs, **known})


def settings(data):
    return SearchSettings(
        target=tiny.TARGET,
        space=space.load("default"),
        dataset_sha256=data.header.content_sha256,
        synthetic=data.header.synthetic,
        split=tiny.config(data, test=SUBJECTS[3:]).split,
        seed=0,
        objective="board_score",
    )


def summary(trials):
    return SearchRecord(
        verdict=Verdict.PASS,
        target=tiny.TARGET.name,
        objective="board_score",
        synthetic=True,
        stopped_by="trials",
        best=1,
        best_objective=60.0,
        trained=3,
        pruned=1,
        unfit=1,
        avoided=0,
        failed=0,
        pareto=[0, 1],
        seconds=5.0,
        trials=trials,
    )
