"""Fit: whether a model fits a board, in every form that the board runs. The command `ecm-edge fit`.

Every form is built and one inference of it counted (`form_build`). The model need not be trained; a form that is not
there is made of the float32 one (`placeholder_forms`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, get_args

from ecm_edge.base.errors import ModelError
from ecm_edge.base.records import Form, Verdict
from ecm_edge.candidate import candidate
from ecm_edge.firmware import emulate, generate, suggestions, toolchain
from ecm_edge.firmware.fit_records import FitRecord
from ecm_edge.firmware.form_build import Source, build_forms
from ecm_edge.firmware.interface import serial_answers
from ecm_edge.firmware.placeholder_forms import make_form, noise
from ecm_edge.forms import cost, onnx_model
from ecm_edge.forms.facts import facts_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import onnx

    from ecm_edge.targets import Target


def fit_model(
    path: Path, target: Target, forms: Sequence[Form] | None = None, *, threshold: float | None = None
) -> FitRecord:
    """Fit a candidate's folder or any ONNX file, trained or not, in every form that the target runs.

    Args:
        path: the folder, or the file. A form that is not there is made of the float32 one.
        target: the board.
        forms: those wanted; all of the target's by default. A file that is not float32 has only its own.
        threshold: of a file of one score; by default 0.5 for a sigmoid and 0 for a logit.

    Raises:
        CandidateError: the folder is no candidate.
        ModelError: the file is no classifier, has an operator that no C can be made of, or lacks a wanted form.
        FirmwareError: a compiler or an emulator that fails.
    """
    started = time.perf_counter()
    models = open_models(path, threshold)
    wanted = list(forms or (target.precision if "float32" in models else models))
    counted = cost.count(models["float32"]) if "float32" in models else None
    fits = build_forms([_source(form, models, str(path)) for form in wanted], target, counted, compared=True)
    classifier = onnx_model.classifier_of(next(iter(models.values())))
    return FitRecord(
        verdict=fits[0].verdict,
        target=target.name,
        model=path.name,
        ships=wanted[0],
        forms=fits,
        fits=[fit.form for fit in fits if fit.verdict == Verdict.PASS],
        advice=suggestions.for_model(fits),
        compiler=toolchain.target_version(target),
        emulator=emulate.version(target),
        seconds=round(time.perf_counter() - started, 3),
        facts=facts_of(classifier),
        serial=serial_answers(classifier, target),
    )


def open_models(path: Path, threshold: float | None = None) -> dict[Form, onnx.ModelProto]:
    """The forms that are there: those of a candidate's folder, or the one of a file, with its threshold.

    A candidate that has none yet is built from its configuration, untrained.

    Raises:
        CandidateError: the folder is no candidate.
        ModelError: a file is no classifier.
    """
    if not path.is_dir():
        proto = onnx_model.load_classifier(path, threshold).proto
        return {generate.form_of(proto): proto}
    config = candidate.load_config(path)
    there = [form for form in get_args(Form) if (path / candidate.FORM_FILES[form]).is_file()]
    if there:
        return {form: onnx_model.load_classifier(path / candidate.FORM_FILES[form]).proto for form in there}
    from ecm_edge.forms import export  # imports torch, which takes seconds and is not needed for a file

    return {"float32": export.untrained(config, noise(config.samples_per_segment, 1)).simplified}


def _source(form: Form, models: dict[Form, onnx.ModelProto], name: str) -> Source:
    if form in models:
        return Source(form, models[form])
    if "float32" not in models:
        raise ModelError(
            f"a {form} form is made of the float32 model", f"{name}, which is {', '.join(models)}", "Give that file."
        )
    return make_form(form, models["float32"])
