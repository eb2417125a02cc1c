"""The valid inputs that are changed: a folder for each reader, and in it a folder for each input, made in seconds."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from unittest.mock import patch

import numpy as np

from ecm_edge.candidate.candidate import RUN_SUMMARY
from ecm_edge.data.recordings.physionet import write_rhythms
from ecm_edge.registry import proof
from ecm_edge.registry.promote import promote
from ecm_edge.registry.registry import rollback
from tests import hostile, onnx_fuzz, tiny

ROOT = Path(__file__).parents[2]
SIGNED = Path(__file__).with_name("signed")
RATE_HZ = 250
NUMBERS = np.random.default_rng(0).integers(-900, 900, RATE_HZ * 22)
LABELS = "file,subject,rhythm,onset_s,duration_s\n{0},S1,AFIB,0,10\n{0},S1,N,10,10\n"


def wfdb(folder):
    """Records of several formats, with gaps, several signals, an offset, and in parts."""
    kinds = {
        "f16": ("a 1 250 5500", "a.dat 16 200(0)/mV 16 0 0 0 0 II"),
        "f32": ("a 1 250", "a.dat 32 200/mV 16 0 0 0 0 ECG"),
        "f8": ("a 1 250 5500 10:00:00 1/1/2020", "a.dat 8 10 16 0 0 0 0 MLII"),
        "f80": ("a 1 250.0/1(0) 5500", "a.dat 80:0+4 200/uV 8 0 0 0 0 I"),
        "f61": ("a 2 125 1800", "a.dat 61x2 200/mV 16 0 0 0 0 II", "a.dat 61 200/mV 16 0 0 0 0 V1", "# a comment"),
        "f212": ("a 2 125 1800", "a.dat 212 200(3)/mV 11 1024 995 0 0 MLII", "a.dat 212 200 11 1024 0 0 0 V5"),
        "f310": ("a 1 125 1500", "a.dat 310 200/mV 10 0 0 0 0 II"),
        "f311": ("a 1 125 1500", "a.dat 311 200/mV 10 0 0 0 0 II"),
        "f24": ("a 1 125 1800", "a.dat 24 200/mV 24 0 0 0 0 II"),
    }
    for name, (head, *signals) in kinds.items():
        case = _case(folder, name)
        (case / "a.hea").write_text("\n".join([head, *signals]) + "\n")
        NUMBERS.astype("<i4" if name == "f32" else "<i2").tofile(case / "a.dat")
        rate = float(head.split()[2].split("/")[0])
        write_rhythms(case, "a", rate, ((0, "(AFIB"), (700, "(N"), (1400, "(B")), "atr")
    case = _case(folder, "parts")
    (case / "a.hea").write_text("a/3 1 250 5000\nb 2000\n~ 1000\nc 2000\n")
    for part in "bc":
        (case / f"{part}.hea").write_text(f"{part} 1 250 2000\n{part}.dat 16 200/mV 16 0 0 0 0 II\n")
        NUMBERS[:2000].astype("<i2").tofile(case / f"{part}.dat")
    write_rhythms(case, "a", RATE_HZ, ((0, "(AFIB"),), "atr")


def edf(folder):
    """EDF, EDF+C, EDF+D, BDF and BDF+, with and without a label table."""
    from tests.test_recordings_edf import Channel, file, tal

    texts = [tal(0, "AFIB", duration=8), tal(8, "N", duration=12)]
    made = {
        "plain": file(records=20, kind=""),
        "plus": file(records=20, texts=texts),
        "gaps": file(records=20, kind="EDF+D", texts=texts, onsets=[k + 5 * (k > 9) for k in range(20)]),
        "bdf": file(records=20, kind="BDF+C", texts=texts, sample_bytes=3),
        "leads": file(Channel("ECG II"), Channel("V1", rate=125), records=20, texts=texts),
    }
    for name, content in made.items():
        case = _case(folder, name)
        (case / f"a.{'bdf' if name == 'bdf' else 'edf'}").write_bytes(content)
        if name in {"plain", "leads"}:
            (case / "labels.csv").write_text(LABELS.format("a.edf"))


def csv(folder):
    """One column, columns of a time, a time of day, decimal commas, and what a watch writes."""
    from tests.csv_samples import WATCH, lines, signal, table

    values = signal(seconds=22)
    times = np.arange(len(values)) / RATE_HZ
    made = {
        "column": "\n".join(["ecg", *lines(values)]) + "\n",
        "times": table(times, values),
        "comma": table(times, values).replace(",", ";").replace(".", ","),
        "leads": "\n".join(["I,II,V1", *(f"{v:.3f},{v / 2:.3f},0.1" for v in values)]),
        "watch": "\n".join([*WATCH, *(f"{value * 1000:.3f}" for value in values)]) + "\n",
        "clock": "\n".join(["time,ecg", *(f"'00:00:{t:06.3f}',{v:.3f}" for t, v in zip(times, values, strict=True))]),
    }
    for name, content in made.items():
        case = _case(folder, name)
        (case / "a.csv").write_text(content)
        (case / "labels.csv").write_text(LABELS.format("a.csv"))


def dicom(folder):
    """One group and two, samples of 8 and 16 bits, implicit and explicit."""
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    from tests.test_recordings_dicom import LEADS, group, save
    from tests.test_recordings_dicom import NUMBERS as THREE

    numbers = THREE[: RATE_HZ * 22]
    made = {
        "one": ([group(LEADS, numbers)], ExplicitVRLittleEndian),
        "implicit": ([group(LEADS, numbers)], ImplicitVRLittleEndian),
        "two": ([group(LEADS, numbers), group(["V2"], numbers, rate=500)], ExplicitVRLittleEndian),
        "bytes": ([group(LEADS, numbers // 10, kind=(8, "SB", "<i1"))], ExplicitVRLittleEndian),
    }
    for name, (groups, syntax) in made.items():
        case = _case(folder, name)
        save(case / "a.dcm", *groups, syntax=syntax)
        (case / "labels.csv").write_text(LABELS.format("a.dcm"))


def iesd(folder):
    """The contest's text files, with a table of a fixed split."""
    for name in ("plain", "split"):
        case = _case(folder, name)
        for path in sorted((ROOT / "data" / "iesd").glob("P0-*.txt")):
            shutil.copy(path, case)
        names = sorted(path.name for path in case.iterdir())
        (case / "train.csv").write_text(
            "label,Filename\n" + "".join(f"{int('AFIB' in each)},{each}\n" for each in names)
        )


def dataset(folder):
    """A data set of 16 segments."""
    folder.mkdir(parents=True, exist_ok=True)
    hostile.make(folder / "plain")


def toml(folder):
    """The boards, tasks and spaces that ship."""
    for kind, place in (("targets", "targets"), ("tasks", "tasks"), ("space", "candidate/spaces")):
        for path in sorted((ROOT / "ecm_edge" / place).glob("*.toml")):
            case = _case(folder, f"{kind}-{path.stem}")
            shutil.copy(path, case / "a.toml")
            (case / "kind").write_text(kind)
            if kind == "targets":
                for beside in (ROOT / "firmware_check" / "port").glob("*.ld"):
                    shutil.copy(beside, case)


def registry(folder):
    """Two promotions, a refusal and a rollback."""
    made = _case(folder, "plain")
    work = folder.parent / "registry.work"
    data = tiny.graded(work / "data")
    with patch.object(proof, "prove", tiny.believing(proof.prove)):
        for column in (3, 2, 4):
            promote(tiny.ready(work / f"c{column}", data, column=column), data, tiny.TARGET, made / "r")
    rollback(made / "r" / tiny.TARGET.name, "2025-01-31T12:00:00Z")
    shutil.rmtree(work)


def candidate(folder):
    """An entry that ships, with every record but without its images, and a run of one trial."""
    shelf = ROOT / "data" / "reference" / "nucleo-l432kc"
    entry = json.loads((shelf / "incumbent.json").read_text())["entry"]
    case = _case(folder, "entry")
    skipped = shutil.ignore_patterns("firmware", "*.npz", "*.log")
    shutil.copytree(shelf / "entries" / entry, case, dirs_exist_ok=True, ignore=skipped)
    work = folder.parent / "candidate.work"
    tiny.ready(_case(folder, "run") / "trials" / "0", tiny.graded(work))
    (folder / "run" / RUN_SUMMARY).write_text(json.dumps({"best": 0, "trials": []}))
    shutil.rmtree(work)


def samples(folder):
    """Segments beside a model, as .npy and .npz."""
    values = np.random.default_rng(2).normal(size=(4, 160)).astype(np.float32)
    for name, save in {
        "array": lambda path: np.save(path.with_suffix(".npy"), values),
        "named": lambda path: np.savez(path.with_suffix(".npz"), samples=values, labels=np.array([0, 1, 1, 0])),
        "packed": lambda path: np.savez_compressed(path.with_suffix(".npz"), samples=values.astype(np.float64)),
    }.items():
        save(_case(folder, name) / "a")


def model(folder):
    """The models of `onnx_fuzz`."""
    for number, content in enumerate(onnx_fuzz.seeds()):
        (_case(folder, str(number)) / "m.onnx").write_bytes(content)


def bundle(folder):
    """A signed folder, and the same as archives; a signature differs each time, so it was made once."""
    for name, ending in (("folder", ""), ("packed", "zip"), ("stored", "zip")):
        case = _case(folder, name)
        if not ending:
            shutil.copytree(SIGNED / "bundle", case / "b")
            continue
        kind = zipfile.ZIP_DEFLATED if name == "packed" else zipfile.ZIP_STORED
        with zipfile.ZipFile(case / "b.zip", "w", kind) as archive:
            for path in sorted(path for path in (SIGNED / "bundle").rglob("*") if path.is_file()):
                archive.writestr(zipfile.ZipInfo(path.relative_to(SIGNED).as_posix()), path.read_bytes(), kind)


def study(folder):
    """A study in SQLite with the files of its two trials beside it: a trial that is best and one that is avoided."""
    from ecm_edge.search import runs, search, study, worker
    from tests import test_search

    case, work = _case(folder, "plain"), folder.parent / "study.work"
    data = tiny.graded(work / "data")
    settings = runs.default_settings(data, test_search.TARGET, test_search.SPACE, pruner="none", sampler="random")
    runs.start(work / "run", settings)
    sharing = search.Sharing(study.sqlite_url(case / "study.db"), "af", artifacts_url=(case / "store").as_uri())
    with (
        patch.object(worker, "train_trial", test_search.fake()),
        patch.object(worker, "prove_trial", test_search.fake_proof()),
    ):
        search.search(data, work / "run", search.Limits(2), sharing, tell=lambda _: None)
    shutil.rmtree(work)


def _case(folder, name):
    case = folder / name
    case.mkdir(parents=True)
    return case
