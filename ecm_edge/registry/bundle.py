"""Bundle: what a contest entry or a firmware team needs, in one folder or archive that stands by itself.

    README.txt, LICENSE.txt, manifest.json   how to use it; SHA-256 of every other file
    Makefile                                 make · make check · make board, with any C compiler
    model/  image/                           the ONNX file; the image for the board
    src/  programs/  port/  include/         the generated C, and what is written by hand around it
    check/                                   segments, and the answers that they have, to the bit
    verify.json, firmware.json, report.html  where there are any
    provenance.intoto.json                   the files here by SHA-256, and what they were made of
    sbom.cdx.json, ml-bom.cdx.json           bills of materials: of the tool, and of the model
    model.sig                                a signature of all the other files, where it is signed

The same model, target and tool give the same bytes, without any date. A signature is another one each time.
"""

from __future__ import annotations

import importlib.metadata
import io
import re
import shlex
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from ecm_edge.base import files, provenance
from ecm_edge.base.errors import CandidateError, OutputError, TargetError
from ecm_edge.base.progress import doing
from ecm_edge.base.records import (
    Form,
    Gate,
    Provenance,
    Record,
    Verdict,
    at_most,
    condition,
    not_run,
    verdict_of_what_ran,
)
from ecm_edge.base.tables import printable
from ecm_edge.candidate import candidate
from ecm_edge.evaluate.score import ScoreRecord
from ecm_edge.evaluate.verify.records import VerifyRecord, is_this_host
from ecm_edge.firmware import build, emulate, generate, known_answer, make, toolchain
from ecm_edge.firmware.interface import serial_answers
from ecm_edge.forms import onnx_model
from ecm_edge.forms.facts import ModelFacts, facts_of
from ecm_edge.forms.model_file import open_model
from ecm_edge.registry import attestation, bom, signatures
from ecm_edge.registry.decision import IMAGE_GATE
from ecm_edge.registry.entries import MANIFEST
from ecm_edge.targets import firmware as fw

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ecm_edge.firmware.build import Image, Recipe
    from ecm_edge.firmware.make import Sources
    from ecm_edge.forms.model_file import ModelFile
    from ecm_edge.forms.onnx_model import Floats
    from ecm_edge.targets import Target

ARCHIVE = ".zip"
_NOISE_SEGMENTS = 12
_SEED = 0
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that an archive can hold
_FILE_NAME = re.compile(r"[\w.+-]+", re.ASCII)
_LICENCES = ("LICENSE.txt", "LICENSE")


class BundleManifest(Record):
    """manifest.json of a bundle: what it is of, and the SHA-256 of every other file in it."""

    tool: str
    target: str
    form: Form
    model: str
    model_sha256: str
    image: str
    compiler: str
    segments: int
    files: dict[str, str]


class BundleRecord(Record):
    """What was written to `out`; `archive_sha256` is absent where that is a folder.

    `gates`: that the image answers the bundle's segments as this host does, and that it is the one that was verified.
    `facts` are those of a model that is no float32 detector; `serial` is what the image answers with, where that is not
    the contest's frame.
    """

    verdict: Verdict
    gates: list[Gate]
    out: str
    archive_sha256: str | None
    manifest: BundleManifest
    facts: ModelFacts | None = Field(default=None, exclude_if=lambda facts: facts is None)
    serial: str = Field(default="", exclude_if=lambda said: not said)
    provenance: Provenance


@dataclass(frozen=True)
class _Parts:
    """What a bundle is made of, once all is built."""

    model: ModelFile
    form: Form
    target: Target
    sources: Sources
    image: Image
    segments: Floats
    scores: Floats


@doing("pack the bundle")
def bundle(
    path: Path,
    target: Target,
    out: Path,
    *,
    form: Form | None = None,
    report: Path | None = None,
    threshold: float | None = None,
    classes: Sequence[str] = (),
    sign: str | None = None,
) -> BundleRecord:
    """Write a bundle.

    Args:
        path: an ONNX file, a candidate's folder or an entry of a registry.
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
    if out.exists():
        raise OutputError("a bundle is new", f"{out} exists", "Choose another name, or remove it first.")
    if sign:
        signatures.check_private_key(sign)
    build.firmware_of(target)
    model = open_model(path, form or target.precision[0], threshold, classes)
    with files.scratch_folder() as scratch:
        parts = _build(model, target, scratch)
        contents = _contents(parts, report)
        gates = [_on_board(parts, scratch), _as_verified(parts)]
    contents |= _papers(parts, contents)
    manifest = _manifest(parts, contents)
    contents[MANIFEST] = manifest.to_json().encode()
    if sign:
        contents[signatures.SIGNATURE] = _signature(out.stem, contents, sign)
    archive_sha256 = _write(out, contents, manifest.image)
    return BundleRecord(
        verdict=verdict_of_what_ran(gates),
        gates=gates,
        out=str(out),
        archive_sha256=archive_sha256,
        manifest=manifest,
        facts=facts_of(model.classifier),
        serial=serial_answers(model.classifier, target),
        provenance=provenance.collect(),
    )


@doing("build the image")
def _build(model: ModelFile, target: Target, scratch: Path) -> _Parts:
    proto = model.classifier.proto
    sources = make.make_sources(proto, target, scratch, model=model.path.name)
    image = make.make_image(sources, "serial", scratch / "serial")
    segments = _segments(sources.generated.samples)
    scores = emulate.run_batch(sources.host, segments)
    return _Parts(model, generate.form_of(proto), target, sources, image, segments, scores)


def _segments(count: int) -> Floats:
    """Those of the self-test, and some of noise: (n, count) in mV."""
    noise = np.random.default_rng(_SEED).standard_normal((_NOISE_SEGMENTS, count)).astype(np.float32)
    return np.concatenate([known_answer.segments(count), noise])


def _contents(parts: _Parts, report: Path | None) -> dict[str, bytes]:
    """Every file by its name in the bundle, the manifest aside."""
    board = build.recipe(parts.target, "serial", emulated=False)
    check = build.recipe(parts.target, "batch", emulated=True)
    contents = {f"src/{path.name}": path.read_bytes() for path in parts.sources.folder.iterdir()}
    contents |= _by_hand([*board.sources, *check.sources])
    if board.linker_script and board.linker_text:
        contents[_place(board.linker_script)] = board.linker_text.encode()
    contents |= {f"model/{name}": content for name, content in _model(parts.model).items()}
    contents |= {_image_name(parts): parts.image.shipped.read_bytes()}
    contents["check/segments.bin"] = parts.segments.astype("<f4").tobytes()
    contents["check/expected.bin"] = emulate.READY + parts.scores.astype("<f4").tobytes()
    contents |= _rendered(parts, board, check)
    contents["LICENSE.txt"] = _licence()
    contents |= _records(parts.model)
    if report:
        contents["report.html"] = report.read_bytes()
    return contents


def _model(model: ModelFile) -> dict[str, bytes]:
    """The ONNX file, and those that hold its weights, placed as beside it: those that the C was made of.

    Raises:
        CandidateError: they changed meanwhile.
    """
    folder = model.path.parent.resolve()
    own = {model.path.name: model.path.read_bytes()}
    beside = {path.relative_to(folder).as_posix(): path.read_bytes() for path in model.classifier.beside}
    hashes = {Path(name).name: files.sha256_bytes(content) for name, content in (own | beside).items()}
    if onnx_model.hash_of(hashes) != model.sha256:
        raise CandidateError(
            "a model stays as it was while it is bundled",
            f"{model.path} changed",
            "Bundle it again when nothing writes to it.",
        )
    return own | beside


def _by_hand(own: list[Path]) -> dict[str, bytes]:
    """The C that is written by hand: programs, headers, and the ports of the board and of a host."""
    kept = [*(fw.SHIPPED / "programs").glob("*.c"), fw.SHIPPED / "port" / "host.c", *(fw.SHIPPED / "port").glob("*.h")]
    headers = ("ecm_port.h", "ecm_protocol.h", "ecm_known_answer.h")
    contents = {f"include/{name}": (fw.SHIPPED / "include" / name).read_bytes() for name in headers}
    return contents | {_place(path): path.read_bytes() for path in sorted({*kept, *own})}


def _place(source: Path) -> str:
    """Where a file of C that is written by hand lies in the bundle.

    Raises:
        TargetError: its name would mean something to make or to a shell.
    """
    if not _FILE_NAME.fullmatch(source.name):
        raise TargetError(
            "in a bundle, the board's files have names of letters, digits and . _ + -", repr(source.name), "Rename it."
        )
    return f"{'programs' if source.parent.name == 'programs' else 'port'}/{source.name}"


def _rendered(parts: _Parts, board: Recipe, check: Recipe) -> dict[str, bytes]:
    """Makefile and README.txt, from the templates beside this file.

    Args:
        parts: what the bundle is of.
        board: how the image that ships is built.
        check: how the program is built that answers segments in the board's emulator.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(  # noqa: S701 - a Makefile and plain text, not HTML
        loader=PackageLoader("ecm_edge.registry", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"place": _place, "words": _words, "printable": printable}
    facts = {
        "target": parts.target,
        "generated": parts.sources.generated,
        "name": parts.sources.generated.name,
        "positive": parts.model.config.task.title if parts.model.config else "positive",
        "image": _image_name(parts),
        "segments": len(parts.segments),
        "serial": serial_answers(parts.model.classifier, parts.target),
        "board": board,
        "check": check,
    }
    return {
        name: environment.get_template(f"{name}.jinja").render(facts).encode() for name in ("Makefile", "README.txt")
    }


def _words(words: Iterable[str]) -> str:
    """Words as make and then the shell read them.

    Raises:
        TargetError: a word that no Makefile can hold: make ends a variable at # and at a new line.
    """
    given = list(words)
    for word in given:
        if not word.isprintable() or "#" in word or word.endswith("\\"):
            raise TargetError("a Makefile holds the words of the target's commands", repr(word), "Use others.")
    return " ".join(shlex.quote(word).replace("$", "$$") for word in given)


def _image_name(parts: _Parts) -> str:
    return f"image/{parts.target.name}{'.bin' if parts.image.shipped.suffix == '.bin' else '.elf'}"


def _records(model: ModelFile) -> dict[str, bytes]:
    names = (candidate.VERIFY, candidate.FIRMWARE, candidate.SCORE)
    folder = model.folder
    if folder is None:
        return {}
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def _licence() -> bytes:
    """The licence's text, from the checkout or from what is installed."""
    beside = Path(__file__).parents[2] / "LICENSE"
    if beside.is_file():
        return beside.read_bytes()
    for path in importlib.metadata.files("ecm-edge") or []:
        if path.name in _LICENCES:
            return Path(str(path.locate())).read_bytes()
    return b"MIT\n"


@doing("compare with the emulated board")
def _on_board(parts: _Parts, scratch: Path) -> Gate:
    """Whether the emulated board answers the bundle's segments as this host does, to the bit."""
    name = "emulated_answers_differing"
    if is_this_host(parts.target):
        return not_run(name, "C on this host is the target")
    missing = emulate.available(parts.target)
    if missing:
        return not_run(name, missing.reason)
    batch = make.make_image(parts.sources, "batch", scratch / "batch", emulated=True)
    answers = emulate.run_batch(batch, parts.segments)
    differing = int((answers.view(np.uint8) != parts.scores.view(np.uint8)).sum())
    return at_most(name, differing, 0, "B", f"of {answers.nbytes} on {len(answers)} segments")


def _as_verified(parts: _Parts) -> Gate:
    """Whether the image is the one that verify built of the C that it ran; NOT RUN where nothing was verified."""
    name, folder = IMAGE_GATE, parts.model.folder
    path = folder / candidate.VERIFY if folder else None
    if path is None or not path.is_file():
        none = f"no {candidate.VERIFY} there: `ecm-edge verify {folder} …` makes one"
        alone = "`ecm-edge verify` of an ONNX file keeps no record to compare with; that of a candidate does"
        return not_run(name, none if folder else alone)
    record = VerifyRecord.load(path)
    verified = record.firmware_of(parts.model.sha256)
    if verified is None or verified.shipped_image is None or record.target != parts.target.name:
        again = f"`ecm-edge verify {folder} --data DATA --target {parts.target.name}` verifies all segments for it"
        return not_run(name, f"{_unverified(record, parts)}; {again}")
    here = files.sha256_file(parts.image.shipped)
    detail = f"{here[:12]}… here, {verified.shipped_image[:12]}… in {candidate.VERIFY}"
    return condition(name, detail, holds=here == verified.shipped_image)


def _unverified(record: VerifyRecord, parts: _Parts) -> str:
    """Why a record of verify names no image for the board of this model."""
    if record.target != parts.target.name:
        return f"{candidate.VERIFY} is for {record.target}"
    if record.firmware_of(parts.model.sha256) is None:
        return f"{candidate.VERIFY} is of another {parts.model.path.name} than lies there, or without its C"
    return f"{candidate.VERIFY} is of a sample of {record.segments:,} segments, or without an image for the board"


def _papers(parts: _Parts, contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """Where the files come from, and the bills of materials."""
    model, config = parts.model, parts.model.config
    hashes = {name: files.sha256_bytes(content) for name, content in contents.items()}
    inputs = {"model": model.sha256, "target": files.sha256_bytes(parts.target.model_dump_json().encode())}
    if config is not None:
        inputs |= {"configuration": config.sha256, "dataset": config.dataset_sha256}
    origin = attestation.Origin(
        commands=[f"ecm-edge bundle {shlex.quote(model.path.name)} --target {parts.target.name} --form {parts.form}"],
        inputs=inputs,
        compiler=toolchain.version(build.firmware_of(parts.target).compiler),
        versions=provenance.collect(),
        parameters={"target": parts.target.name, "form": parts.form},
    )
    image = _image_name(parts)
    return {
        attestation.NAME: attestation.statement(hashes, origin),
        bom.TOOL_NAME: bom.of_tool(),
        bom.MODEL_NAME: bom.of_model(model.path.name, model.sha256, {image: hashes[image]}, config, _score(model)),
    }


def _score(model: ModelFile) -> ScoreRecord | None:
    """The score of the candidate, if it is of this model."""
    path = model.folder / candidate.SCORE if model.folder else None
    record = ScoreRecord.load(path) if path is not None and path.is_file() else None
    return record if record is not None and record.model_sha256 == model.sha256 else None


def _manifest(parts: _Parts, contents: Mapping[str, bytes]) -> BundleManifest:
    return BundleManifest(
        tool=parts.sources.generated.origin.tool,
        target=parts.target.name,
        form=parts.form,
        model=f"model/{parts.model.path.name}",
        model_sha256=parts.model.sha256,
        image=_image_name(parts),
        compiler=toolchain.version(build.firmware_of(parts.target).compiler),
        segments=len(parts.segments),
        files={name: files.sha256_bytes(content) for name, content in sorted(contents.items())},
    )


def _write(out: Path, contents: Mapping[str, bytes], executable: str) -> str | None:
    """Write the folder, or the archive, whose SHA-256 it gives."""
    if out.suffix == ARCHIVE:
        archive = _archive(out.stem, contents, executable)
        files.make_folder(out.parent)
        files.write_new(out, archive)
        return files.sha256_bytes(archive)
    with files.staged_folder(out) as staged:
        _fill(staged, contents)
        (staged / executable).chmod(0o755)
    return None


def _fill(folder: Path, contents: Mapping[str, bytes]) -> None:
    for name, content in contents.items():
        path = folder / name
        files.make_folder(path.parent)
        with files.new_file(path) as stream:
            stream.write(content)
        path.chmod(0o644)


def _signature(stem: str, contents: Mapping[str, bytes], key: str) -> bytes:
    """The signature of a folder with these files."""
    with files.scratch_folder() as scratch:
        folder = scratch / stem
        _fill(folder, contents)
        signatures.sign(folder, key)
        return (folder / signatures.SIGNATURE).read_bytes()


def _archive(stem: str, contents: Mapping[str, bytes], executable: str) -> bytes:
    """A zip archive with one folder in it: sorted, undated."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted(contents.items()):
            info = zipfile.ZipInfo(f"{stem}/{name}", _EPOCH)
            info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3  # Unix
            info.external_attr = (0o100755 if name == executable else 0o100644) << 16
            archive.writestr(info, content)
    return stream.getvalue()
