"""`ecm-edge firmware`: the C of a model, its images, and an emulated board."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import (
    CANDIDATE,
    PATH,
    choose_form,
    class_names,
    classes_option,
    emit,
    form_option,
    json_option,
    keeps_records,
    model_argument,
    print_gates,
    refuse_for_candidate,
    say_facts,
    target_option,
    threshold_option,
    trust_option,
)
from ecm_edge.cli._help import Group, example

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.firmware.fit_records import FirmwareRecord
    from ecm_edge.firmware.mcuboot import McubootRecord
    from ecm_edge.firmware.sources import GenerateRecord
    from ecm_edge.forms.model_file import ModelFile
    from ecm_edge.targets import Target


@click.group(
    "firmware", cls=Group, epilog=example("ecm-edge firmware build mynet.onnx --target nucleo-l432kc -o image")
)
def command() -> None:
    """Generate the C of a model, build it for a board, and serve it as a board."""


@command.command(
    "generate",
    short_help="write the C99 of a model",
    epilog=example("ecm-edge firmware generate mynet.onnx --target nucleo-l432kc -o c"),
)
@model_argument
@target_option
@click.option("--out", "-o", type=PATH, required=True, help="The folder to make; it must not exist.")
@click.option("--name", default="model", show_default=True, help="The prefix of every C name.")
@form_option("the target's first")
@threshold_option
@classes_option
@trust_option
@json_option
def generate_(
    model: Path,
    target: str,
    out: Path,
    name: str,
    form: Form | None,
    threshold: float | None,
    classes: str | None,
    *,
    as_json: bool,
) -> None:
    """Write MODEL, a candidate's folder or any ONNX file, as C99 for a board's core.

    No malloc, no stdio, no recursion; weights are const; one static arena. Its answers to noise are compared with the
    model's first, on this host; exits with 1 and writes nothing if they differ.
    """
    from ecm_edge import targets
    from ecm_edge.firmware.sources import generate_model
    from ecm_edge.forms.model_file import open_model

    refuse_for_candidate(model, threshold, classes)
    board = targets.load(target)
    opened = open_model(model, choose_form(model, form, board), threshold, class_names(classes))
    record = generate_model(opened, board, out, name=name)
    emit(record, as_json=as_json, render=lambda: _render_sources(record, out))


def _render_sources(record: GenerateRecord, out: Path) -> None:
    from ecm_edge.base.tables import say

    print_gates(record.gates)
    if not record.files:
        say(f"nothing written: the C of {record.model} does not answer as the model does; report it, please")
        return
    say(f"{record.model} as {record.form} C for {record.target}, in {out}: {', '.join(record.files)}")
    say(
        f"{record.layers} layers, {record.macs:,} MACs, {record.constant_bytes:,} bytes of constants, "
        f"an arena of {record.arena_bytes:,} bytes"
    )
    click.echo(f"void {record.name}_run(const float *samples, float *scores);")
    if record.byte_entry:
        click.echo(f"{record.byte_entry};")
    say_facts(record.facts)


@command.command(
    "build",
    short_help="build the images of a model and hold them to the budgets",
    epilog=example(
        "ecm-edge firmware build run --target loongson-2k0500",
        "ecm-edge firmware build mynet.onnx --target nucleo-l432kc -o image",
    ),
)
@model_argument
@target_option
@click.option("--out", "-o", type=PATH, help="A new folder.  [default: the candidate's own]")
@threshold_option
@classes_option
@trust_option
@json_option
def build_(
    model: Path, target: str, out: Path | None, threshold: float | None, classes: str | None, *, as_json: bool
) -> None:
    """Build the images of MODEL, a candidate's folder or any ONNX file, and hold them to the board's budgets.

    Of a candidate every form that the board runs is built: firmware/FORM/TARGET.elf (.bin for bare metal) and
    firmware.json, in its folder. Each image's answers are compared with those of the same C on this host.
    """
    from ecm_edge import targets
    from ecm_edge.base.progress import doing
    from ecm_edge.firmware.record import build_candidate, build_model

    board = targets.load(target)
    if out is None and not keeps_records(model):
        raise click.UsageError("a file's images, and those of a registry's entry, need a folder of their own: --out")
    refuse_for_candidate(model, threshold, classes)
    with doing(f"build {model.name} for {board.name}"):
        names = class_names(classes)
        record = (
            build_candidate(model, board)
            if out is None
            else build_model(model, board, out, threshold=threshold, classes=names)
        )
    emit(record, as_json=as_json, render=lambda: _render_images(record, model if out is None else out))


def _render_images(record: FirmwareRecord, out: Path) -> None:
    from ecm_edge.base.numbers import whole
    from ecm_edge.base.tables import Column, say, show

    rows = [
        [
            form.form,
            form.verdict.value,
            *map(whole, (form.flash_bytes, form.ram_bytes, form.stack_bound_bytes)),
            whole(form.instructions.total if form.instructions else None),
            f"{form.latency_ms.mean_ms:.3f}",
        ]
        for form in record.forms
    ]
    columns: list[str | Column] = [
        "form",
        "verdict",
        "flash B",
        "RAM B",
        Column("stack B", drop=1),
        "instructions",
        "estimated ms",
    ]
    show(f"{record.verdict}: firmware for {record.target}", columns, rows)
    for form in record.forms:
        image = str(out / form.image.file) if form.image else f"no image: {form.reason}"
        say(f"{form.form}: {image}")
    for form in record.forms:
        for gate in form.gates:
            if gate.verdict.value != "PASS":
                say(f"{gate.verdict.value:7} {form.form} {gate.name}  {gate.detail}")
        for sentence in form.advice:
            say(f"- {sentence}")
    say_facts(record.facts, record.serial)
    say(f"{record.compiler or 'no compiler'}, {record.emulator or 'no emulator'}")


@command.command(
    "sign",
    short_help="build and sign an image for the boot loader MCUboot",
    epilog=example(
        "ecm-edge firmware sign run --target nucleo-l432kc --key key.pem --version 1.0.0 --security-counter 1 "
        "--slot 0x0800C000 --slot-bytes 98304 -o signed.bin"
    ),
)
@model_argument
@target_option
@form_option("the target's first")
@click.option("--key", type=PATH, required=True, help="The private key, a PEM file; MCUboot has the public one.")
@click.option("--version", "version_", required=True, metavar="X.Y.Z", help="The version of the image.")
@click.option(
    "--security-counter",
    type=click.IntRange(0, 2**32 - 1),
    required=True,
    help="MCUboot refuses an image whose counter is smaller than that of one that ran.",
)
@click.option("--slot", required=True, metavar="ADDRESS", help="Where the slot begins in flash, such as 0x0800C000.")
@click.option("--slot-bytes", type=click.IntRange(4096), required=True, help="The size of the slot in bytes.")
@click.option("--out", "-o", type=PATH, required=True, help="The signed image, a new file.")
@json_option
def sign_(
    model: Path,
    target: str,
    form: Form | None,
    key: Path,
    version_: str,
    security_counter: int,
    slot: str,
    slot_bytes: int,
    out: Path,
    *,
    as_json: bool,
) -> None:
    """Build the image of MODEL for a slot of MCUboot, sign it with imgtool, and let imgtool verify it.

    The board has no operating system. Needs the extra `sign`.
    """
    from ecm_edge import targets
    from ecm_edge.firmware.mcuboot import sign_image
    from ecm_edge.forms.model_file import open_model

    board = targets.load(target)
    opened = open_model(model, form or board.precision[0])
    record = sign_image(
        opened,
        board,
        out,
        key=key,
        version=version_,
        security_counter=security_counter,
        slot=_address(slot),
        slot_bytes=slot_bytes,
    )
    emit(record, as_json=as_json, render=lambda: _render_signed(record))


def _address(said: str) -> int:
    """A number as people write addresses, decimal or 0x…, of 32 bits."""
    try:
        address = int(said, 0)
    except ValueError:
        raise click.BadParameter(f"{said!r} is no address", param_hint="--slot") from None
    if not 0 <= address < 2**32:
        raise click.BadParameter(f"{said} has more than 32 bits", param_hint="--slot")
    return address


def _render_signed(record: McubootRecord) -> None:
    from ecm_edge.base.tables import say

    counter = f"version {record.version}, security counter {record.security_counter}"
    say(f"{record.verdict}: {record.form} for {record.target} at {record.slot:#010x}, {counter}, in {record.out}")
    print_gates(record.gates)
    say(f"{record.image_bytes:,} of {record.slot_bytes:,} bytes; never started by a boot loader here")


@command.command(
    "serve",
    short_help="run an image in the emulator, behind a serial port",
    epilog=example("ecm-edge firmware serve run --target loongson-2k0500 --link board"),
)
@click.argument("model", metavar="MODEL|IMAGE", type=CANDIDATE, help="The same, or an image for the emulator's board.")
@target_option
@click.option("--link", type=PATH, help="Where the port appears.  [default: in a temporary folder]")
@form_option("the target's first")
@threshold_option
@trust_option
@json_option
def serve_(
    model: Path, target: str, link: Path | None, form: Form | None, threshold: float | None, *, as_json: bool
) -> None:
    """Run MODEL's image in the emulator, with a pseudo-terminal as its serial line, until Ctrl-C (exit 0).

    Any program can use the port that is printed, 115200 8N1; `ecm-edge measure --port` does. The latency that it
    reports is that of the emulator, not of a board. MODEL may also be an image for the emulator's board, if that
    answers in the contest's protocol. Answers have scores where the model does not fit that protocol, or the target
    does not name it (firmware_check/README.md).
    """
    from contextlib import suppress
    from pathlib import Path

    from ecm_edge import targets
    from ecm_edge.base import files
    from ecm_edge.firmware.serve import serve

    refuse_for_candidate(model, threshold)
    board = targets.load(target)
    with suppress(KeyboardInterrupt), files.scratch_folder() as folder:
        image, asked, said = _servable(model, board, form, threshold, Path(folder))
        with serve(image, board, link=link, **asked) as served:
            line = f"{served.port} is {served.emulated.emulator} with {model}; Ctrl-C ends it"
            emit(served.record, as_json=as_json, render=lambda: _say_all([said, line]))
            served.wait()


def _say_all(lines: Sequence[str | None]) -> None:
    from ecm_edge.base.tables import say

    for line in filter(None, lines):
        say(line)


def _servable(
    model: Path, board: Target, form: Form | None, threshold: float | None, folder: Path
) -> tuple[Path, dict[str, int], str]:
    """The image to serve; its samples and scores, which an image given as a file does not hold; and what is to be said.

    An image is taken as it is, and so is the one that a candidate ships if the emulator's board is the target's own;
    otherwise one is built in `folder`.
    """
    from ecm_edge.base.progress import doing
    from ecm_edge.firmware.interface import serial_answers
    from ecm_edge.firmware.make import make_image, make_sources
    from ecm_edge.forms.model_file import open_model

    if model.is_file() and model.read_bytes()[:4] == b"\x7fELF":
        return model, {}, ""
    opened = open_model(model, choose_form(model, form, board), threshold)
    said = serial_answers(opened.classifier, board)
    asked = {"samples": opened.classifier.samples_per_segment}
    asked |= {"scores": opened.classifier.decision.count} if said else {}
    shipped = _shipped(opened, board)
    if shipped is not None:
        return shipped, asked, said
    with doing(f"build {model.name} for {board.name}"):
        sources = make_sources(opened.classifier.proto, board, folder)
        image = make_image(sources, "serial", folder / "serial", emulated=True)
    return image.elf, asked, said


def _shipped(opened: ModelFile, board: Target) -> Path | None:
    """A candidate's own image for the board, if the emulator can run it and it was built of this very model.

    One from elsewhere is not run, since the emulator of a Linux board keeps no program in: it is built anew.
    """
    from ecm_edge.base import files, trust
    from ecm_edge.firmware.fit_records import image_path, load

    if opened.folder is None or opened.form is None or board.firmware is None or board.firmware.emulated_port:
        return None
    record, path = load(opened.folder, board), image_path(opened.folder, opened.form, board)
    built = record.of(opened.form) if record else None
    if built is None or built.image is None or not path.is_file() or not trust.is_trusted(path):
        return None
    alike = (built.model_sha256, built.image.sha256) == (opened.sha256, files.sha256_file(path))
    return path if alike else None
