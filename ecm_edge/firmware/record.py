"""Firmware: the images of a model's own forms, and the record that binds them to it.

In a candidate's folder, or in another one that the caller names:

    firmware/<form>/<target>.elf    the executable for Linux, stripped; <target>.bin for bare metal: the flash's bytes
    firmware.json                   FirmwareRecord

Both are of one target; building for another one replaces them.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from ecm_edge.base import files, provenance
from ecm_edge.base.progress import doing
from ecm_edge.base.records import Verdict
from ecm_edge.candidate import candidate
from ecm_edge.firmware import emulate, toolchain
from ecm_edge.firmware.fit_records import FirmwareRecord, FormFit, ImageFile, image_path, target_sha256
from ecm_edge.firmware.form_build import build_form
from ecm_edge.firmware.interface import serial_answers
from ecm_edge.forms import cost
from ecm_edge.forms.facts import facts_of
from ecm_edge.forms.model_file import open_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ecm_edge.firmware.form_build import BuiltForm
    from ecm_edge.forms.cost import GraphCost
    from ecm_edge.forms.model_file import ModelFile
    from ecm_edge.targets import Target


def build_candidate(folder: Path, target: Target) -> FirmwareRecord:
    """Build every form of a candidate that the target runs, and leave images and record in its folder.

    Raises:
        CandidateError: no candidate, one without any form, or one changed since its export.
        ModelError: an operator that no C can be made of; the node is named.
        FirmwareError: a compiler or an emulator that fails; one that is missing makes the record say NOT RUN.
        OutputError: the folder cannot be written.
    """
    return _build(open_forms(folder, target), target, folder)


def build_model(
    path: Path, target: Target, out: Path, *, threshold: float | None = None, classes: Sequence[str] = ()
) -> FirmwareRecord:
    """The same for a candidate's folder or any ONNX file, into the new folder `out`; raises as `build_candidate`.

    `threshold` is that of a model of one score; by default 0.5 for a sigmoid and 0 for a logit. `classes` are the names
    of a file's labels; by default those in its metadata.
    """
    models = open_forms(path, target, threshold, classes)
    with files.staged_folder(out) as staged:
        return _build(models, target, staged)


def open_forms(
    path: Path, target: Target, threshold: float | None = None, classes: Sequence[str] = ()
) -> list[ModelFile]:
    """The forms of a candidate that the target runs, its first form first; or the one file, with what is said of it.

    Raises:
        CandidateError: no candidate, one without any of those, or one changed since its export.
        ModelError: a file is corrupt or not a classifier.
    """
    if not path.is_dir():
        return [open_model(path, threshold=threshold, classes=classes)]
    candidate.load_config(path)
    candidate.check_forms(path, *target.precision)
    there = [form for form in target.precision if (path / candidate.FORM_FILES[form]).is_file()]
    return [open_model(path, form) for form in there]


@doing("build the images and run them in the emulator")
def _build(models: Sequence[ModelFile], target: Target, out: Path) -> FirmwareRecord:
    counted = _float32_cost(models)
    with files.scratch_folder() as scratch, ThreadPoolExecutor(len(models)) as pool:
        built = list(pool.map(lambda model: _one(model, target, scratch, counted), models))
        _discard(out)
        forms = [_kept(each, out, target) for each in built]
    first = models[0]
    firmware = target.firmware
    record = FirmwareRecord(
        verdict=forms[0].verdict if forms else Verdict.NOT_RUN,
        target=target.name,
        target_sha256=target_sha256(target),
        config_sha256=first.config.sha256 if first.config else None,
        forms=forms,
        compiler=toolchain.target_version(target),
        flags=firmware.flags if firmware else [],
        model_flags=firmware.model_flags if firmware else [],
        emulator=emulate.version(target),
        facts=facts_of(first.classifier),
        serial=serial_answers(first.classifier, target),
        provenance=provenance.collect(),
    )
    record.save(out / candidate.FIRMWARE)
    return record


def _float32_cost(models: Sequence[ModelFile]) -> GraphCost | None:
    """The cost of the float32 graph, whatever of the models is built; None for a file of another form."""
    proto = next((model.classifier.proto for model in models if model.form == "float32"), None)
    folder = models[0].folder
    if proto is None and folder and (folder / candidate.FORM_FILES["float32"]).is_file():
        proto = open_model(folder).classifier.proto
    return cost.count(proto) if proto is not None else None


def _one(model: ModelFile, target: Target, scratch: Path, counted: GraphCost | None) -> BuiltForm:
    folder = scratch / model.path.name
    folder.mkdir()
    built = build_form(
        model.classifier.proto, target, folder, form=model.form, counted=counted, checked=True, compared=True
    )
    named = built.record.model_copy(update={"model_sha256": model.sha256})
    return replace(built, record=named)


def _discard(out: Path) -> None:
    """Remove what an earlier build left: the record first, since it describes the images."""
    (out / candidate.FIRMWARE).unlink(missing_ok=True)
    shutil.rmtree(out / candidate.IMAGES, ignore_errors=True)


def _kept(built: BuiltForm, out: Path, target: Target) -> FormFit:
    """The form's record once its image lies in `out`."""
    record = built.record
    if built.image is None or record.image is None:
        return record
    path = image_path(out, record.form, target)
    path.parent.mkdir(parents=True)
    files.write_atomic(path, built.image.read_bytes())
    path.chmod(0o755)
    name = path.relative_to(out).as_posix()
    return record.model_copy(update={"image": ImageFile(**{**record.image.model_dump(), "file": name})})
