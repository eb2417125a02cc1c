"""WFDB records as people have them: what a header leaves out, several rates and parts, tables of labels, damage."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest

from ecm_edge.base.errors import EcmEdgeError, RecordingError
from ecm_edge.data.dataset import UNSTATED, open_dataset
from ecm_edge.data.recordings import wfdb_signals
from ecm_edge.data.recordings.options import Options
from ecm_edge.data.recordings.physionet import list_recordings, write_rhythms
from ecm_edge.data.recordings.windows import Unfit, windows
from tests.wfdb_records import DIGITAL, RATE_HZ, TASK, left_out, load, notes, one, record, refused


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "in"
    path.mkdir()
    return path


@pytest.mark.parametrize(
    "line",
    [
        "a 1 250 10000 2014-05-08 05:05:15",
        "a 1 250 10000 2013-12-23 08:12:08 \r",
        "a 1 250.0/360(0) 10000 9:00 1/2/2020",
    ],
)
def test_a_date_may_be_written_in_any_way(folder, line):
    record(folder, line, "a.dat 16 1000/mV 16 0 0 0 0 II")
    assert load(folder).rhythms == {"N": 8}


def test_the_challenges_own_files_are_read_with_their_table(folder):
    mat = struct.pack("<5i4s", 30, 1, len(DIGITAL), 0, 4, b"val\0") + DIGITAL.astype("<i2").tobytes()
    (folder / "A1.mat").write_bytes(mat)
    head = "A1 1 250 10000 2013-12-23 08:12:08 \r\nA1.mat 16+24 1000/mV 16 0 -127 0 0 ECG \r\n"
    (folder / "A1.hea").write_text(head, newline="")
    (folder / "REFERENCE.csv").write_text("A1,N\n")
    imported = load(folder, labels=folder / "REFERENCE.csv")
    assert (imported.rhythms, imported.leads, imported.unit) == ({"N": 8}, {"ECG": 1}, "mV")
    assert np.allclose(one(folder, "A1").read(0, 10000) * 1000, DIGITAL, atol=1e-9)


def test_beats_without_a_rhythm_need_a_label_table(folder):
    record(folder, "a 1 250 10000", "a.dat 16 1000/mV 16 0 0 0 0 II", notes=[(75, ""), (275, "")])
    refused(folder, "its notes have beats and no rhythm: give the rhythms as a table, --labels")
    (folder / "t.csv").write_text("record,rhythm\na,N\n")
    imported = load(folder, labels=folder / "t.csv")
    assert imported.rhythms == {"N": 8}
    assert notes(imported) == ["its rhythms are the label table's, not its .atr's"]


def test_a_record_that_a_table_names_in_two_ways_is_told(folder):
    record(folder, "a 1 250 10000", "a.dat 16 1000/mV 16 0 0 0 0 II", notes=None)
    (folder / "t.csv").write_text("record,rhythm\na,N\na.hea,AFIB\n")
    refused(folder, "a.hea: in the label table under two names", labels=folder / "t.csv")


def test_a_signal_is_read_at_its_own_rate(folder):
    fast = DIGITAL.reshape(-1, 4)
    frames = np.concatenate([fast, np.full((len(fast), 1), 9000)], 1)
    lines = "a.dat 16x4 1000(0)/mV 16 0 0 0 0 II", "a.dat 16 100(0)/mmHg 16 0 0 0 0 ABP"
    record(folder, "a 2 62.5 2500", *lines, digital=frames, rate_hz=62.5, notes=[(0, "(N"), (1250, "(AFIB")])
    recording = one(folder)
    assert (recording.sampling_rate_hz, recording.length, recording.lead) == (250.0, 10000, "II")
    assert np.allclose(recording.read(1001, 3003) * 1000, DIGITAL[1001:3003], atol=1e-9)
    assert load(folder).rhythms == {"N": 4, "AFIB": 4}


def test_a_gap_loses_its_windows_and_stops_no_import(folder):
    record(
        folder,
        "a 1 250 10000",
        "a.dat 16 1000/mV 16 0 0 0 0 II",
        digital=np.r_[DIGITAL[:3000], [-32768] * 200, DIGITAL[3200:]],
    )
    imported = load(folder)
    assert (imported.segments, left_out(imported)) == (7, {("a", "samples are missing or not finite", 1)})
    assert np.isnan(one(folder).read(0, 10000)).sum() == 200


def test_flac_is_read(folder):
    import soundfile

    soundfile.write(folder / "x.dat", DIGITAL.astype(np.int16), RATE_HZ, format="FLAC", subtype="PCM_16")
    record(folder, "a 1 250 10000", "a.dat 516 1000(0)/mV 16 0 0 0 0 II")
    (folder / "x.dat").rename(folder / "a.dat")
    assert np.allclose(one(folder).read(0, 10000) * 1000, DIGITAL, atol=1e-9)
    assert load(folder).segments == 8
    os.truncate(folder / "a.dat", 9000)
    with pytest.raises(Unfit, match=r"truncated|psf|Error"):
        one(folder)


def parts(folder, *, layout):
    """A record of two parts with 10 s between them; with a layout its first part only names the signals."""
    for number, part in enumerate((DIGITAL[:5000], DIGITAL[5000:]), 1):
        line = f"m_{number}.dat 16 1000/mV 16 0 0 0 0 II"
        record(folder, f"m_{number} 1 250 5000", line, name=f"m_{number}", digital=part, notes=None)
    lines = ["m_1 5000", "~ 2500", "m_2 5000"]
    if layout:
        (folder / "m_0.hea").write_text("m_0 2 250 0\n~ 0 200/mV 16 0 0 0 0 V1\n~ 0 200/mV 16 0 0 0 0 II\n")
        lines.insert(0, "m_0 0")
    (folder / "m.hea").write_text(f"m/{len(lines)} 1 250 12500\n" + "\n".join(lines) + "\n")
    write_rhythms(folder, "m", RATE_HZ, [(0, "(N")], "atr")


def test_parts_without_end_are_refused(folder, monkeypatch):
    parts(folder, layout=False)
    monkeypatch.setattr(wfdb_signals, "_MOST_PARTS", 2)
    with pytest.raises(RecordingError, match="3 parts; at most 2 are read"):
        load(folder)


@pytest.mark.parametrize("layout", [False, True])
def test_parts_are_one_record_with_a_hole(folder, layout):
    parts(folder, layout=layout)
    imported = load(folder)
    assert (imported.segments, imported.subjects) == (8, 1)
    assert left_out(imported) == {("m", "samples are missing or not finite", 2)}
    samples = one(folder, "m").read(4990, 7510)
    assert np.allclose(samples[:10] * 1000, DIGITAL[4990:5000], atol=1e-9)
    assert np.isnan(samples[10:-10]).all()
    assert np.allclose(samples[-10:] * 1000, DIGITAL[5000:5010], atol=1e-9)


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("m_2.hea", "m_2 1 360 5000\nm_2.dat 16 1000/mV 16 0 0 0 0 II\n", "m_2 is of another rate"),
        ("m_2.hea", "m_2 1 250 4000\nm_2.dat 16 1000/mV 16 0 0 0 0 II\n", "4000 samples where 5000"),
        ("m_2.hea", "m_2/1 1 250 5000\nm_2 5000\n", "parts of its own"),
        ("m.hea", "m/2 1 250 12500\nm_1 5000\n../m_2 5000\n", "lie beside its header"),
        ("m.hea", "m/2 1 250 12500\nm_1 5000\nm_2 5000\n", "do not fit together"),
        ("m.hea", "m/1 1 250 100000000000\n~ 100000000000\n", "no part with a signal"),
        ("m.hea", "m/2 1 250 100000005000\n~ 100000000000\nm_1 5000\n", "do not fit together"),
    ],
)
def test_parts_that_do_not_fit_are_refused(folder, file, text, reason):
    parts(folder, layout=False)
    (folder / file).write_text(text)
    with pytest.raises(Unfit, match=reason):
        one(folder, "m")


def test_leads_of_one_name_are_chosen_by_number(folder):
    both = np.stack([DIGITAL, DIGITAL[::-1]], 1)
    line = "a.dat 16 1000/mV 16 0 0 0 0 ECG"
    record(folder, "a 2 250 10000", line, line, digital=both)
    refused(folder, "2 leads named 'ECG': choose one by its number, --lead 0 or 1")
    assert load(folder, lead="1").segments == 8
    assert np.allclose(one(folder, lead="II,1").read(0, 9) * 1000, DIGITAL[::-1][:9], atol=1e-9)


@pytest.mark.parametrize("line", ["a.dat 16", "a.dat 16 0/mV 12 0 0 0 0 II", "a.dat 16 0"])
def test_without_a_gain_the_unit_is_unstated(folder, line):
    record(folder, "a 1 250 10000", line)
    imported = load(folder)
    assert imported.segments == 8
    assert notes(imported) == [
        "its header states no gain, so the amplitude is unknown: taken as WFDB's 200 counts per mV"
    ]
    assert one(folder).unit == UNSTATED


def test_without_a_length_the_files_size_says_it(folder):
    record(folder, "a 1 250", "a.dat 16 200/mV 12 0 0 77 0 II")  # the checksum is of no stated length
    assert load(folder).segments == 8


@pytest.mark.parametrize("rate", ["-1", "0", "", "nan", "1e308", "0.001", "2e3"])
def test_a_rate_is_read_or_refused(folder, rate):
    record(folder, f"a 1 {rate}", "a.dat 16 200/mV 12 0 0 0 0 II")
    refused(folder, "the sampling rate in its header is")


def test_a_checksum_that_does_not_fit_is_refused_or_told(folder):
    line = f"a.dat 16 1000/mV 16 0 {DIGITAL[0]} {DIGITAL.sum() % 2**16 - 2**16} 0 II"
    record(folder, "a 1 250 10000", line)
    record(folder, "b 1 250 10000", line.replace("a.dat", "b.dat"), name="b")
    assert len(list_recordings(folder, Options(), TASK).load("a").spans) == 1
    data = bytearray((folder / "b.dat").read_bytes())
    data[6000:10000] = bytes(byte ^ 0x15 for byte in data[6000:10000])
    (folder / "b.dat").write_bytes(data)
    reason = "damaged: the samples do not add up to the checksum in its header"
    refused(folder, reason)
    imported = load(folder, on_error="skip")
    assert (imported.segments, left_out(imported)) == (8, {("b", reason, 0)})


def test_of_two_notes_at_one_sample_the_last_holds(folder):
    record(folder, "a 1 250 10000", "a.dat 16 1000/mV 16 0 0 0 0 II", notes=[(0, "(N"), (5000, "(AFIB"), (5000, "(N")])
    imported = load(folder)
    assert imported.rhythms == {"N": 8}
    assert notes(imported) == ["two of its rhythm notes are at one sample: the last holds"]


def test_a_rhythm_in_lower_case_is_refused_with_the_way_out(folder):
    record(folder, "a 1 250 10000", "a.dat 16 1000/mV 16 0 0 0 0 II", notes=[(0, "(afib")])
    refused(folder, r"'afib' \(8 windows\).*--map afib=AFIB")


def test_units_are_converted_and_a_micro_sign_is_not_lost(folder):
    for number, unit in enumerate(["µV", "\u03bcV", "uV"]):
        record(folder, "a 1 250 10000", f"a{number}.dat 16 1(5)/{unit} 16 0 0 0 0 II", name=f"a{number}")
        assert np.allclose(one(folder, f"a{number}").read(0, 9), (DIGITAL[:9] - 5) / 1000, rtol=1e-12)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # wfdb's own calls of pandas
@pytest.mark.parametrize("fmt", ["8", "16", "24", "32", "61", "80", "160", "212", "310", "311"])
def test_every_format_is_decoded_as_wfdb_does(folder, fmt):
    import wfdb

    digital = np.clip(DIGITAL[:1500].reshape(-1, 2) // 8, -100, 100).astype(np.int64)
    leads = {"units": ["mV"] * 2, "sig_name": ["I", "II"], "fmt": [fmt] * 2, "adc_gain": [100.0] * 2}
    if fmt in {"8", "61", "160", "310", "311"}:  # which wfdb does not write
        (folder / "a.hea").write_text(f"a 2 250 750\na.dat {fmt} 100 8 0 7 0 0 I\na.dat {fmt} 100 8 0 -7 0 0 II\n")
        (folder / "a.dat").write_bytes(np.random.default_rng(1).bytes(4000))
    else:
        wfdb.wrsamp("a", fs=250, d_signal=digital, baseline=[0, 0], write_dir=str(folder), **leads)
    expected = wfdb.rdrecord(str(folder / "a")).p_signal[:, 1]
    assert np.array_equal(one(folder, lead="II").read(333, 700), expected[333:700], equal_nan=True)


def test_a_long_record_is_decoded_in_blocks(folder, monkeypatch):
    monkeypatch.setattr(wfdb_signals, "_BLOCK_SAMPLES", 1001)
    pair = np.stack([DIGITAL, -DIGITAL], 1)
    lines = [
        f"a.dat 16:{skew} 1000/mV 16 0 0 {sign * DIGITAL.sum() % 2**16} 0 {name}"
        for skew, sign, name in ((0, 1, "I"), (7, -1, "II"))
    ]
    record(folder, "a 2 250 10000", *lines, digital=pair)
    samples = one(folder, lead="II").read(400, 10000)
    assert np.allclose(samples[:-7] * 1000, -DIGITAL[407:], atol=1e-9)
    assert np.isnan(samples[-7:]).all()


def test_another_annotator_is_chosen_by_its_name(folder):
    record(folder, "a 1 250 10000", "a.dat 16 1000/mV 16 0 0 0 0 II", notes=None)
    write_rhythms(folder, "a", RATE_HZ, [(0, "(AFIB")], "qrs")
    refused(folder, r"a: it has no \.atr of rhythms: name another --annotator, or give a table with --labels")
    assert load(folder, annotator="qrs").rhythms == {"AFIB": 8}
    for wrong in ("../qrs", ""):
        with pytest.raises(RecordingError, match="an annotator is a word"):
            load(folder, annotator=wrong)


def test_a_table_and_the_folder_are_held_against_each_other(folder):
    (folder / "x").mkdir()
    for name in ("a", "b", "x/b", "x/c", "x/d"):
        stem = name[-1]
        record(
            (folder / name).parent, f"{stem} 1 250 10000", f"{stem}.dat 16 1000/mV 16 0 0 0 0 II", name=stem, notes=None
        )
    table = folder / "t.csv"
    table.write_text(
        "record,rhythm,onset_s,duration_s,subject\na,N,0,10,ann\na,AFIB,10,30,ann\nx/b,N,,,bob\nc.hea,N,,,ann\nz,N,,,z\nb,N,,,eve\n"
    )
    refused(
        folder,
        r"2 that are not: z: in the label table, and no such record is there; x/d: not in the label table",
        labels=table,
    )
    imported = load(folder, labels=table, on_error="skip")
    assert imported.rhythms == {"N": 26, "AFIB": 6}
    assert open_dataset(folder.parent / "out").header.subjects == ["ann", "bob", "eve"]


def test_a_table_without_a_header_is_the_challenges(folder):
    for name in ("a", "b"):
        record(folder, f"{name} 1 250 10000", f"{name}.dat 16 1000/mV 16 0 0 0 0 II", name=name, notes=None)
    (folder / "t.csv").write_text("a,N\nb,AFIB\n")
    imported = load(folder, labels=folder / "t.csv")
    assert (imported.rhythms, imported.subjects) == ({"N": 8, "AFIB": 8}, 2)
    with pytest.raises(RecordingError, match=r"--labels .* and --annotator"):
        load(folder, labels=folder / "t.csv", annotator="atr")


@pytest.mark.parametrize("given", ["a", "a.hea", "a.dat"])
def test_one_record_is_opened_with_or_without_rhythms(folder, given):
    record(folder, "a 1 250 10000", "a.dat 16 1000/mV 16 0 0 0 0 II", notes=[(0, "(N"), (2500, "(AFIB")])
    recording = one(folder, given)
    assert [(span.onset_s, span.end_s, span.rhythm) for span in recording.spans] == [(0, 10, "N"), (10, 40, "AFIB")]
    (folder / "a.atr").write_bytes(b"\1")
    assert one(folder, given).notes == ("without its rhythms: truncated: its notes do not end as they must",)
    (folder / "a.atr").unlink()
    assert (one(folder, given).spans, one(folder, given).notes, one(folder, given).name) == ((), (), "a")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("a 1 250 100000000000\na.dat 16 1000/mV\n", "truncated: 10000 samples where 100000000000"),
        ("a 1 250 100000000000\na.dat 516 1000/mV\n", "too long"),
        ("a 1 250 10000\na.dat 16x999999999999 1000/mV\n", "truncated: 0 samples"),
        ("a 1 250 10000\na.dat 16+99999999999 1000/mV\n", "truncated: 0 samples"),
        ("a 1 250 10000\n../a.dat 16 1000/mV\n", "lie beside its header"),
        ("a 1 250 10000\n/etc/passwd 16 1000/mV\n", "lie beside its header"),
        ("a 1 250 10000\nb.dat 16 1000/mV\n", r"its \.dat is not there"),
        ("a 1 250 10000\na.dat 17 1000/mV\n", "signal format 17 is none of 8, 16"),
        ("a 1 250 10000\na.dat 16 1000/parsec\n", "unit is 'parsec'"),
        ("a 1 250 10000\na.dat 16 many\n", "signal line 'a.dat 16 many'"),
        ("a 1 250 10000\na.dat 16 1000 16 x\n", "'x' as zero"),
        ("a 1 250 10000\n", "promises 1 lines and has 0"),
        ("a 99999999999 250 10000\na.dat 16\n", "promises 99999999999 lines and has 1"),
        ("a 0 250 10000\n", "no signal"),
        ("a 1 250 yesterday\na.dat 16\n", "'yesterday' as length"),
        ("", "no record line"),
        ("# only\n", "no record line"),
    ],
)
def test_a_header_that_promises_what_is_not_there_is_refused(folder, header, reason):
    record(folder)
    (folder / "a.hea").write_text(header)
    with pytest.raises(Unfit, match=reason):
        one(folder)


@pytest.mark.parametrize("suffix", ["hea", "dat", "atr"])
def test_a_pipe_is_refused_and_not_waited_for(folder, suffix):
    record(folder, "a 1 250 10000", "a.dat 16 1000/mV 16 0 0 0 0 II")
    (folder / f"a.{suffix}").unlink()
    os.mkfifo(folder / f"a.{suffix}")
    refused(folder, r"a: its \.(hea|dat) is not a regular file|a: it has no \.atr of rhythms")
    os.mkfifo(folder / "t.csv")
    with pytest.raises(RecordingError, match=r"a table is CSV.*Not a regular file"):
        load(folder, labels=folder / "t.csv")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # wfdb's own calls of pandas
def test_rhythm_notes_are_those_that_wfdb_reads(folder):
    import wfdb

    record(folder, "a 1 250 10000", "a.dat 16 1000/mV 16 0 0 0 0 II")
    rng = np.random.default_rng(0)
    samples = np.sort(rng.choice(10000, 300, replace=False))
    texts = [rng.choice(["", "", "(N", "(AFIB", "(AFL", "(B", "note"]) for _ in samples]
    more = {"subtype": rng.integers(0, 3, 300), "chan": rng.integers(0, 2, 300), "num": rng.integers(0, 4, 300)}
    wfdb.wrann("a", "atr", samples, symbol=["N"] * 300, aux_note=texts, write_dir=str(folder), **more)
    read = wfdb.rdann(str(folder / "a"), "atr")
    expected = [
        (sample / 250, text[1:]) for sample, text in zip(read.sample, read.aux_note, strict=True) if text[:1] == "("
    ]
    assert [(span.onset_s, span.rhythm) for span in one(folder).spans] == expected


def test_notes_of_20_mb_and_notes_after_the_signal_are_refused(folder):
    record(folder, "a 1 250 10000", "a.dat 16 1000/mV 16 0 0 0 0 II", notes=[(0, "(N"), (10251, "(AFIB")])
    refused(folder, r"truncated: 40.00 s long, and a rhythm begins at 41.004 s")
    (folder / "a.atr").write_bytes(np.random.default_rng(0).bytes(20_000_000) + b"\0\0")
    refused(folder, "its notes are longer than 4000000 bytes")


@pytest.mark.parametrize("seed", range(5))
def test_mutated_records_give_an_answer_or_a_reason(folder, seed):
    """25 mutations each of header, notes and samples: never another exception, and never a warning."""
    rng = np.random.default_rng(seed)
    parts(folder, layout=bool(seed % 2))
    files = [folder / name for name in ("m.hea", "m_1.hea", "m_2.dat", "m.atr")]
    whole = {file: file.read_bytes() for file in files}
    for number in range(100):
        file = files[number % len(files)]
        data = bytearray(whole[file])
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(256) if number % 8 < 4 else rng.choice(list(b"0123456789/~ -.:x+()\n"))
        file.write_bytes(data[: rng.integers(len(data))] if number % 5 == 0 else data)
        try:
            recording = list_recordings(folder, Options(), TASK).load("m")
            for _ in windows(recording, TASK, np.arange(min(3, recording.length // 1300))):
                pass
        except (Unfit, EcmEdgeError):
            pass
        file.write_bytes(whole[file])
