"""The model that ships: whole, as its card says, and steady where the input is not what it should be.

A missing shelf is skipped here, and fails in CI.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ecm_edge import targets
from ecm_edge.base import files
from ecm_edge.base.numbers import figure
from ecm_edge.candidate import candidate
from ecm_edge.data.splits import FoldAssignment
from ecm_edge.evaluate.robustness import ROBUSTNESS, RobustnessRecord
from ecm_edge.evaluate.verify.records import VerifyRecord
from ecm_edge.firmware import emulate, fit_records, make
from ecm_edge.firmware.build import Image
from ecm_edge.forms import model_file, onnx_model, reference
from ecm_edge.forms.model_file import ModelFile
from ecm_edge.registry import entries, registry
from ecm_edge.registry.entries import Manifest
from ecm_edge.report import model_card
from ecm_edge.training.out_of_fold import FOLDS, CrossValidationRecord

PLACE = Path(__file__).parents[1] / "data" / "reference"
SECTIONS = ("Threshold", "Figures", "What it gets wrong", "Cost", "Float against int8", "Robustness")
"""Those that hold figures of records."""

LINES = 260
"""At most so many has a card with its recipe: who reads it reads all of it."""

FULL_SCALE = 5.0


@dataclass
class Shelf:
    """A target's shelf, its incumbent, and the incumbent's C as this host runs it."""

    folder: Path
    entry: Path
    manifest: Manifest
    model: ModelFile
    program: Image

    def margins(self, samples):
        """(n,) of samples (n, T), by the C on this host."""
        scores = emulate.run_batch(self.program, np.ascontiguousarray(samples, np.float32))
        return scores[:, 1] - scores[:, 0]

    def labels(self, samples):
        return self.margins(samples) >= 0

    def judged(self, samples):
        """The labels of samples (n, T) by the ONNX file: of int8 the integer reference is the judge."""
        classifier = self.model.classifier
        if self.manifest.form == "int8":
            scores = reference.scores(reference.load(classifier.proto), samples)
        else:
            session = onnx_model.open_session(classifier.proto)
            scores = onnx_model.run_session(session, classifier, samples, [classifier.output_name])[0]
        scores = scores.reshape(-1, 2)
        return scores[:, 1] >= scores[:, 0]


@pytest.fixture(scope="module", params=["loongson-2k0500", "nucleo-l432kc"])
def shelf(request, tmp_path_factory):
    folder = registry.shelf_of(PLACE, request.param)
    if not folder.is_dir():
        pytest.skip(f"no model ships for {request.param}: nothing at {folder}")
    event = registry.incumbent(folder)
    assert event is not None
    entry, manifest = registry.entry_of(folder, event)  # raises where a file is not what it was
    model = model_file.open_model(entry, manifest.form)
    board = targets.load(request.param)
    sources = make.make_sources(model.classifier.proto, board, tmp_path_factory.mktemp(request.param))
    return Shelf(folder, entry, manifest, model, sources.host)


def test_every_entry_is_as_it_was_promoted(shelf):
    promoted = {event.entry: event for event in registry.history(shelf.folder) if event.event == "promoted"}
    assert promoted.keys() == {path.name for path in (shelf.folder / registry.ENTRIES).iterdir()}
    for name, event in promoted.items():
        manifest = entries.check_entry(shelf.folder / registry.ENTRIES / name, event.manifest_sha256)
        assert (manifest.target, manifest.synthetic) == (shelf.folder.name, False)


def test_the_image_is_the_one_that_was_verified(shelf):
    image, form = shelf.manifest.image, shelf.manifest.form
    board = targets.load(shelf.manifest.target)
    path = fit_records.image_path(shelf.entry, form, board)
    assert path == shelf.entry / image.file
    verified = next(f for f in VerifyRecord.load(shelf.entry / "verify.json").firmware if f.form == form)
    assert files.sha256_file(path) == image.sha256 == verified.shipped_image
    assert image.emulated_segments >= 500
    built = fit_records.load(shelf.entry, board)
    assert built is not None, "the target's file has changed since the entry was promoted"
    assert built.of(form).image.sha256 == image.sha256


def test_every_configuration_has_the_hash_that_it_had_when_it_was_promoted(shelf):
    for entry in (shelf.folder / registry.ENTRIES).iterdir():
        manifest = Manifest.load(entry / entries.MANIFEST)
        assert candidate.load_config(entry).sha256 == manifest.config_sha256
        assert model_file.open_model(entry, manifest.form).classifier is not None


def test_the_contests_subjects_are_in_the_same_folds_alone_and_beside_others():
    alone, both = (FoldAssignment.load(PLACE / name) for name in (FOLDS, "folds-both.json"))
    assert alone.folds.items() <= both.folds.items()


def test_the_folds_are_those_beside_the_shelves(shelf):
    validated = CrossValidationRecord.load(shelf.entry / FOLDS)
    assert validated.assignment == FoldAssignment.load(PLACE / "folds-both.json")
    assert validated.config_sha256 == shelf.manifest.config_sha256


def sections(text):
    return {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in text.split("\n## ")[1:]}


def test_the_card_has_the_figures_of_the_records(shelf, tmp_path):
    record = model_card.write_card(shelf.entry, tmp_path / "card.md")
    ships, now = (sections(p.read_text()) for p in (shelf.folder / "MODEL_CARD.md", tmp_path / "card.md"))
    assert not record.not_measured
    assert len((shelf.folder / "MODEL_CARD.md").read_text().splitlines()) <= LINES
    for name in SECTIONS:
        assert ships[name] == now[name], f"{name}: write the card again with `ecm-edge card`"
    for source in CrossValidationRecord.load(shelf.entry / FOLDS).scores.by_source:
        assert figure(source.fbeta_mean) in ships["Figures"]
        assert figure(source.g) in ships["Figures"]


def test_what_is_no_ecg_has_the_answers_on_record(shelf):
    known = RobustnessRecord.load(shelf.entry / ROBUSTNESS)
    assert (known.model_sha256, known.verdict) == (shelf.manifest.model_sha256, "PASS")
    flat = {"all zero": 0.0, f"constant, +{FULL_SCALE:g}": FULL_SCALE, f"constant, −{FULL_SCALE:g}": -FULL_SCALE}
    samples = shelf.model.classifier.samples_per_segment
    margins = shelf.margins(np.stack([np.full(samples, level) for level in flat.values()]))
    assert np.isfinite(margins).all()
    recorded = {answer.name: answer.label for answer in known.degenerate}
    assert dict(zip(flat, (margins >= 0).tolist(), strict=True)) == {name: bool(recorded[name]) for name in flat}


def test_the_unit_does_not_matter(shelf, dataset):
    assert (shelf.labels(1000 * dataset.samples[:]) == shelf.labels(dataset.samples[:])).all()


def test_leads_may_be_swapped(shelf, dataset):
    assert (shelf.labels(-dataset.samples[:]) == shelf.labels(dataset.samples[:])).mean() >= 0.9


def test_the_c_gives_the_labels_of_the_model(shelf, dataset):
    assert (shelf.labels(dataset.samples[:]) == shelf.judged(dataset.samples[:])).all()


@pytest.mark.real_data
def test_the_c_gives_the_labels_of_the_model_on_real_segments(shelf, real_data):
    samples = (np.load(real_data / "segments.npy", mmap_mode="r")[::150] / 16384).astype(np.float32)
    labels = shelf.labels(samples)
    assert len(samples) > 300
    assert 0 < labels.sum() < len(labels)
    assert (labels == shelf.judged(samples)).all()


def test_the_shipped_image_is_served_from_a_clone(tmp_path):
    """Git gives the images no right to be executed; `kill` ends the program, and no file of it stays behind."""
    if missing := emulate.available(targets.load("loongson-2k0500")):
        pytest.skip(missing.reason)
    event = registry.incumbent(PLACE / "loongson-2k0500")
    entry = shutil.copytree(
        PLACE / "loongson-2k0500" / registry.ENTRIES / event.entry, tmp_path / "entry", copy_function=shutil.copyfile
    )
    (tmp_path / "temporary").mkdir()
    words = ["firmware", "serve", entry, "--target", "loongson-2k0500", "--json"]
    (tmp_path / "trusted").write_text(f"{tmp_path}\n")  # an image from elsewhere would be built again
    with subprocess.Popen(
        [sys.executable, "-m", "ecm_edge.cli", *map(str, words)],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary"), "ECM_EDGE_TRUST": str(tmp_path / "trusted")},
    ) as served:
        said = json.loads(served.stdout.readline())
        is_linked = Path(said["port"]).is_symlink()
        served.terminate()
        assert served.wait(20) == 0
    assert Path(said["image"]).parent.parent.parent == entry
    assert is_linked
    assert list((tmp_path / "temporary").iterdir()) == []
