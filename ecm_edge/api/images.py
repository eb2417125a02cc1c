"""Verbs on a board: whether a model fits it, the C, the images, the emulated board, the bundle, and the tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.api import given

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from ecm_edge.api.given import AnyPath, AnyTarget
    from ecm_edge.base.records import Form
    from ecm_edge.base.trust_list import TrustRecord
    from ecm_edge.firmware.boards import BoardRanking
    from ecm_edge.firmware.doctor import DoctorRecord
    from ecm_edge.firmware.fit_records import FirmwareRecord, FitRecord
    from ecm_edge.firmware.mcuboot import McubootRecord
    from ecm_edge.firmware.serve import Board
    from ecm_edge.firmware.sources import GenerateRecord
    from ecm_edge.forms.model_file import ModelFile
    from ecm_edge.registry.bundle import BundleRecord
    from ecm_edge.registry.signatures import SignatureRecord


def fit(
    model: AnyPath, target: AnyTarget, forms: Sequence[Form] | None = None, *, threshold: float | None = None
) -> FitRecord:
    """Fit a candidate's folder or any ONNX file, trained or not, in every form that the target runs.

    Args:
        model: the folder of a candidate or of a run, or the file. A form that is not there is made of the float32 one.
        target: the board.
        forms: those wanted; all of the target's by default. A file that is not float32 has only its own.
        threshold: of a file of one score; by default 0.5 for a sigmoid and 0 for a logit.

    Raises:
        CandidateError: the folder is no candidate.
        ModelError: the file is no classifier, has an operator that no C can be made of, or lacks a wanted form.
        FirmwareError: a compiler or an emulator that fails.
    """
    from ecm_edge.firmware.fit import fit_model

    return fit_model(given.model(model), given.target(target), forms, threshold=threshold)


def rank_boards(model: AnyPath, forms: Sequence[Form] | None = None, *, threshold: float | None = None) -> BoardRanking:
    """Fit a model to every board that ships, and rank them: those that it fits first, the fastest of them first.

    Args:
        model: as for `fit`.
        forms: those wanted; by default all that a board runs.
        threshold: as for `fit`.

    Raises:
        CandidateError, ModelError, FirmwareError: as `fit`.
    """
    from ecm_edge.firmware import boards

    return boards.rank_boards(given.model(model), forms, threshold=threshold)


def generate_firmware(
    model: ModelFile | AnyPath,
    target: AnyTarget,
    out: AnyPath,
    *,
    name: str = "model",
    form: Form | None = None,
    threshold: float | None = None,
    classes: Sequence[str] = (),
) -> GenerateRecord:
    """Write the C of a model for a target's core into the new folder `out`.

    Args:
        model: an opened model, a candidate's folder, a run's, or an ONNX file.
        target: the board.
        out: must not exist yet.
        name: the prefix of every C name.
        form: which form of a candidate; the target's first by default.
        threshold: of a file of one score; by default 0.5 for a sigmoid and 0 for a logit.
        classes: names of a file's labels; by default those in its metadata.

    Raises:
        CandidateError: the folder is no candidate, or lacks that form.
        ModelError: a name that C does not take, or an operator that no C can be made of; the node is named.
        FirmwareError: this host's compiler fails.
        OutputError: `out` exists, or cannot be written.
    """
    from pathlib import Path

    from ecm_edge.firmware.sources import generate_model
    from ecm_edge.forms.model_file import open_model

    board, opened = given.target(target), given.model(model)
    if isinstance(opened, Path):
        opened = open_model(opened, form or board.precision[0], threshold, classes)
    return generate_model(opened, board, given.path(out), name=name)


def build_firmware(candidate: AnyPath, target: AnyTarget) -> FirmwareRecord:
    """Build every form of a candidate that the target runs, and leave images and record in its folder.

    Raises:
        CandidateError: no candidate, one without any form, or one changed since its export.
        ModelError: an operator that no C can be made of; the node is named.
        FirmwareError: a compiler or an emulator that fails; one that is missing makes the record say NOT RUN.
        OutputError: the folder cannot be written.
    """
    from ecm_edge.firmware.record import build_candidate

    return build_candidate(given.model(candidate), given.target(target))


def build_model(
    model: AnyPath, target: AnyTarget, out: AnyPath, *, threshold: float | None = None, classes: Sequence[str] = ()
) -> FirmwareRecord:
    """Build the images of a candidate or of any ONNX file in the new folder `out`; raises as `build_firmware`.

    `threshold` is that of a model of one score; by default 0.5 for a sigmoid and 0 for a logit. `classes` are the names
    of a file's labels; by default those in its metadata.
    """
    from ecm_edge.firmware.record import build_model as inner

    return inner(given.model(model), given.target(target), given.path(out), threshold=threshold, classes=classes)


def sign_firmware(
    model: AnyPath,
    target: AnyTarget,
    out: AnyPath,
    *,
    key: AnyPath,
    version: str,
    security_counter: int,
    slot: int,
    slot_bytes: int,
    form: Form | None = None,
) -> McubootRecord:
    """Build the image of a model for a slot of the boot loader MCUboot, and sign it with its imgtool.

    Args:
        model: an ONNX file, or the folder of a candidate, of a run or of an entry.
        target: a board without an operating system.
        out: the signed image, a new file.
        key: the private key, a PEM file.
        version: of the image, as 1.2.3.
        security_counter: MCUboot refuses an image whose counter is smaller than that of one that ran.
        slot: the address of the slot.
        slot_bytes: its size.
        form: which form of a candidate; the target's first by default.

    Raises:
        ModelError: the file is corrupt, or no C can be made of it.
        TargetError: the board has an operating system, or its linker script has no flash.
        FirmwareError: imgtool is missing or refuses, or the image does not fit.
        OutputError: `out` exists or cannot be written.
    """
    from ecm_edge.firmware.mcuboot import sign_image
    from ecm_edge.forms.model_file import open_model

    board = given.target(target)
    return sign_image(
        open_model(given.model(model), form or board.precision[0]),
        board,
        given.path(out),
        key=given.path(key),
        version=version,
        security_counter=security_counter,
        slot=slot,
        slot_bytes=slot_bytes,
    )


def serve(
    image: AnyPath, target: AnyTarget, *, link: AnyPath | None = None, samples: int = 1250, scores: int | None = None
) -> AbstractContextManager[Board]:
    """Run the serial program `image` under the emulator of `target` until the block ends; no process stays behind.

    What runs is an executable copy in a temporary folder: an image that came through git may have lost that right.

    Args:
        image: the linked image; its port must be that of the emulated board.
        target: names the emulator; without one the image runs as it is.
        link: where the host's end is to appear, and `<link>.json` beside it; in a temporary folder by default.
        samples: of a segment, for the question that waits until the board answers.
        scores: in its answers; None of the contest's protocol.

    Raises:
        FirmwareError: no image, no emulator, or an image that ends or does not answer.
        OutputError: `link` exists or cannot be made.
    """
    from ecm_edge.firmware.serve import serve as inner

    return inner(given.path(image), given.target(target), link=given.path(link), samples=samples, scores=scores)


def bundle(
    model: AnyPath,
    target: AnyTarget,
    out: AnyPath,
    *,
    form: Form | None = None,
    report: AnyPath | None = None,
    threshold: float | None = None,
    classes: Sequence[str] = (),
    sign: str | None = None,
) -> BundleRecord:
    """Pack image, C, model and proofs into a bundle.

    Args:
        model: an ONNX file, the folder of a candidate or of a run, or an entry of a registry.
        target: the board.
        out: a new folder, or a new file that ends in ".zip".
        form: which form of a candidate; the target's first by default.
        report: an HTML page to put in.
        threshold: of a model of one score; by default 0.5 for a sigmoid and 0 for a logit.
        classes: names of the labels; by default those in the file's metadata.
        sign: a key to sign with, a PEM file or a URI of PKCS#11.

    Raises:
        CandidateError: the folder is no candidate, or lacks that form.
        RegistryError: nothing can be signed with this key.
        ModelError: the file is corrupt, or no C can be made of it.
        FirmwareError: a compiler is missing or fails.
        TargetError: the target has no `[firmware]`.
        OutputError: `out` exists, or cannot be written.
    """
    from ecm_edge.registry.bundle import bundle as inner

    return inner(
        given.model(model),
        given.target(target),
        given.path(out),
        form=form,
        report=given.path(report),
        threshold=threshold,
        classes=classes,
        sign=sign,
    )


def verify_bundle(bundle: AnyPath, key: AnyPath) -> SignatureRecord:
    """Whether a bundle, a folder or a .zip archive, is as the owner of a key signed it.

    Args:
        bundle: what `bundle` wrote with `sign`.
        key: the public key, a PEM file.

    Raises:
        RegistryError: there is no bundle, the key cannot be used, or the library for signatures is not installed.
    """
    from ecm_edge.registry.signatures import verify_bundle as inner

    return inner(given.path(bundle), given.path(key))


def doctor() -> DoctorRecord:
    """Look at what this machine has of all that the verbs want; nothing is installed or changed."""
    from ecm_edge.firmware.doctor import doctor as inner

    return inner()


def trust(folder: AnyPath, *, remove: bool = False) -> TrustRecord:
    """Trust every file below a folder from now on, so that the commands in them may be run, or no more.

    Args:
        folder: one with your own files only; it exists.
        remove: trust it no more.

    Raises:
        TrustError: no such folder, or one that was not marked.
        OutputError: the list of folders cannot be written.
    """
    from ecm_edge.base.trust_list import mark

    return mark(given.path(folder), remove=remove)
