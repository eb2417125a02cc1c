"""What a rhythm code counts as: by its vocabulary, by what is stated, and refused where neither knows it."""

import json
import shlex

import numpy as np
import pytest

from ecm_edge.base.errors import RecordingError
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.recordings.importer import import_recordings
from ecm_edge.data.recordings.options import Options
from ecm_edge.data.rhythms import VOCABULARIES, Codes, RhythmRules

from .test_cli import run

RATE_HZ = 250.0


@pytest.fixture
def source(tmp_path):
    """A function that writes a recording of 10 s for each rhythm given, as CSV with a table of labels."""

    def write(*rhythms):
        folder = tmp_path / "in"
        folder.mkdir()
        rng = np.random.default_rng(0)
        for number, _ in enumerate(rhythms):
            np.savetxt(folder / f"r{number}.csv", rng.standard_normal(2500), fmt="%.4f")
        rows = "".join(f"r{number}.csv,P{number},{rhythm}\n" for number, rhythm in enumerate(rhythms))
        (folder / "labels.csv").write_text(f"file,subject,rhythm\n{rows}")
        return folder

    return write


def imported(folder, **rules):
    options = Options(sampling_rate_hz=RATE_HZ, labels=folder / "labels.csv")
    out = folder.parent / "out"
    return import_recordings(folder, out, file_format="csv", options=options, rules=RhythmRules(**rules))


def meanings(record):
    return {row.rhythm: (row.meaning, row.written_as, row.segments, row.subjects) for row in record.labels}


def test_the_vocabularies_are_those_of_the_option():
    assert set(VOCABULARIES) == set(Codes.__args__)
    assert all("AFIB" in codes.values() for codes in VOCABULARIES.values())


def test_known_codes_have_their_meaning(source):
    record = imported(source("AFIB", "N", "AFL", "NOISE"))
    assert meanings(record) == {
        "AFIB": ("positive", ["AFIB"], 2, 1),
        "AFL": ("negative", ["AFL"], 2, 1),
        "N": ("negative", ["N"], 2, 1),
        "NOISE": ("left out", ["NOISE"], 2, 1),
    }
    assert (record.segments, record.subjects) == (6, 3)
    assert ("r3.csv", "the rhythm 'NOISE' is ignored", 2) in {(o.name, o.reason, o.windows) for o in record.left_out}


@pytest.mark.parametrize("code", ["AF", "afib", "(AFIB", "A"])
def test_what_is_near_a_positive_rhythm_is_refused_with_the_way_out(source, code):
    folder = source(code, "N")
    with pytest.raises(RecordingError) as refused:
        imported(folder)
    assert f"{code!r} (2 windows)" in refused.value.found
    assert f"--map {shlex.quote(f'{code}=AFIB')}" in refused.value.hint
    assert not (folder.parent / "out").exists()
    record = imported(folder, mapping=((code, "AFIB"),))
    assert meanings(record)["AFIB"] == ("positive", [code], 2, 1)
    assert open_dataset(folder.parent / "out").labels.tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("codes", "way_out"),
    [
        (("(AFIB", "afib"), r"--map '\(AFIB=AFIB' --map afib=AFIB .*--negative '\(AFIB,afib'"),
        (("~", "N"), r"--negative '~', --positive, --ignore, or --map '~=KNOWN'"),
    ],
)
def test_what_a_message_says_to_write_is_for_a_shell(source, codes, way_out):
    with pytest.raises(RecordingError, match=way_out):
        imported(source(*codes))


def test_a_stated_code_that_no_window_has_is_told(source):
    folder = source("afl", "N")
    rules = {"mapping": (("afl", "AFL"), ("Afl", "AFL")), "positive": ("AFIB", "AFL", "X"), "negative": ("Y",)}
    record = imported(folder, **rules)
    assert [(note.name, note.text) for note in record.notes if "stated, and" in note.text] == [
        ("X, Y, Afl", "stated, and no window has it")
    ]


def test_an_unknown_code_is_refused_until_it_is_stated(source):
    folder = source("AFIB", "X", "Y", "Z")
    with pytest.raises(RecordingError, match=r"'X' \(2 windows\), 'Y' \(2 windows\), 'Z'"):
        imported(folder)
    with pytest.raises(RecordingError, match="found 'Z' "):
        imported(folder, negative=("X",), ignored=("Y",))
    record = imported(folder, positive=("AFIB", "Z"), negative=("X",), ignored=("Y",))
    assert {rhythm: row[0] for rhythm, row in meanings(record).items()} == {
        "AFIB": "positive",
        "X": "negative",
        "Y": "left out",
        "Z": "positive",
    }
    header = open_dataset(folder.parent / "out").header
    assert header.positive_rhythms == ["AFIB", "Z"]
    assert {"negative": "X", "ignore": "Y"}.items() <= header.source.options.items()


@pytest.mark.parametrize(
    ("codes", "written", "kept"),
    [("cinc2017", ("A", "N", "O", "~"), ["AFIB", "N", "O"]), ("snomed", ("164889003", "426783006"), ["AFIB", "N"])],
)
def test_other_vocabularies_are_kept_in_the_terms_of_physionet(source, codes, written, kept):
    folder = source(*written)
    record = imported(folder, codes=codes)
    assert sorted(record.rhythms) == kept
    assert record.labels[0].written_as == [written[0]]
    assert open_dataset(folder.parent / "out").labels.sum() == 2


@pytest.mark.parametrize("code", ["59118001", "195080001", "282825002"])  # a block; AF and flutter; paroxysmal AF
def test_a_diagnosis_that_says_no_rhythm_of_the_moment_has_to_be_stated(source, code):
    with pytest.raises(RecordingError, match=f"'{code}'"):
        imported(source("164889003", code), codes="snomed")


def test_a_code_has_one_meaning():
    with pytest.raises(RecordingError, match="'N' twice"):
        RhythmRules(positive=("N",), negative=("N",))
    with pytest.raises(RecordingError, match="no positive one"):
        RhythmRules(positive=())


def test_the_command_ends_with_the_table_and_with_what_is_missing(source, capsys):
    folder = source("N", "AFL")
    words = ["data", "import", str(folder), "--format", "csv", "--sampling-rate-hz", "250"]
    words += ["--labels", str(folder / "labels.csv")]
    sinus, flutter = str(folder.parent / "sinus"), str(folder.parent / "flutter")
    assert run(*words, "-o", sinus) == 0
    out = capsys.readouterr().out
    assert "counts as" in out
    assert out.splitlines()[-1] == "no positive window: nothing can be learnt or scored from this data set alone"
    assert run("data", "info", sinus) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("no positive window")
    assert run(*words, "-o", flutter, "--positive", "AFL", "--json") == 0
    labels = json.loads(capsys.readouterr().out)["labels"]
    assert {row["rhythm"]: row["meaning"] for row in labels} == {"AFL": "positive", "N": "negative"}
