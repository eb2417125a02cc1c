"""CSV and text files as watches, converters and spreadsheets write them: what is found, told and refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from ecm_edge import tasks
from ecm_edge.base.errors import RecordingError
from ecm_edge.data.recordings import csv_columns, csv_files
from ecm_edge.data.recordings.options import Options
from ecm_edge.data.recordings.windows import Unfit
from ecm_edge.data.rhythms import RhythmRules
from tests.csv_samples import RATE_HZ, WATCH, X, imported, lines, opened, read, signal, table, texts


def test_a_watchs_facts_state_rate_unit_and_lead(tmp_path):
    x = signal(512, 30)
    record = imported(tmp_path, "\n".join([*WATCH, *lines(x * 1000)]) + "\n", rate_hz=None)
    assert (record.segments, record.unit, record.leads) == (6, "mV", {"Lead I": 1})
    assert texts(record)[:2] == ["read in uV by its header, kept in mV", "sampled at 512 hertz by its header"]
    (tmp_path / "in" / "a.csv").rename(tmp_path / "a.csv")
    recording = csv_files.open_one(tmp_path / "a.csv", Options(), tasks.default())
    assert (recording.sampling_rate_hz, recording.spans, recording.lead) == (512, (), "Lead I")
    assert np.abs(read(recording) - x).max() < 1e-9


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ({"rate_hz": 250.0}, "512 Hz by its header, not at the 250 Hz stated"),
        ({"rate_hz": None, "unit": "mV"}, "unit is uV by its header, not the mV stated"),
        ({"rate_hz": None, "lead": "II"}, "no lead 'II' among I"),
    ],
)
def test_what_is_stated_against_the_facts_is_refused(tmp_path, stated, reason):
    with pytest.raises(Unfit, match=reason):
        opened(tmp_path, "\n".join([*WATCH, *lines(signal(512, 6))]), **stated)


def test_semicolons_and_three_columns_of_times(tmp_path):
    x = signal(130)
    rows = [f"2021-01-01T10:00:00.000;{i * 7692308};{i * 7.692:.3f};{v * 1000:.0f}" for i, v in enumerate(x)]
    header = "Phone timestamp;sensor timestamp [ns];timestamp [ms];ecg [uV]"
    record = imported(tmp_path, "\n".join([header, *rows]) + "\n", rate_hz=130.0)
    assert (record.segments, record.leads, record.unit) == (8, {"ecg [uV]": 1}, "mV")
    by_times = opened(tmp_path, "\n".join([header, *rows]) + "\n", rate_hz=None, lead="ecg")
    assert by_times.sampling_rate_hz == 130
    assert "sampled at 130 Hz by its column 'sensor timestamp [ns]'" in by_times.notes
    assert np.abs(read(by_times) - x).max() < 1e-12


def test_a_byte_order_mark_and_crlf(tmp_path):
    assert imported(tmp_path, b"\xef\xbb\xbf" + "\r\n".join(lines(X)).encode()).segments == 8
    assert (read(opened(tmp_path, b"\xef\xbb\xbf" + "\r\n".join(lines(X)).encode())) == X).all()


def test_af_is_near_afib_and_mapped_when_asked(tmp_path):
    content = "\n".join(lines(X)) + "\n"
    with pytest.raises(RecordingError, match="--map AF=AFIB"):
        imported(tmp_path, content, rhythm="AF")
    record = imported(tmp_path, content, rhythm="AF", rules=RhythmRules(mapping=(("AF", "AFIB"),)))
    assert [(row.rhythm, row.meaning, row.segments) for row in record.labels] == [("AFIB", "positive", 8)]


def test_counts_of_a_converter_have_no_unit_and_that_is_told(tmp_path):
    record = imported(tmp_path, "\n".join(str(round(2048 + 400 * v)) for v in X) + "\n")
    assert (record.segments, record.unit) == (8, "unstated")
    assert texts(record) == ["its unit is not stated, so its amplitude is unknown: --unit mV or uV states it"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", " "])
def test_a_delimiter_is_found(tmp_path, delimiter):
    content = table(np.arange(500) / 250, X[:500], f"time{delimiter}ecg", "{:.4f}" + delimiter + "{:.3f}")
    assert (read(opened(tmp_path, content)) == X[:500]).all()
    name = {"\t": "tab", " ": "space"}.get(delimiter, delimiter)
    assert (read(opened(tmp_path, content, delimiter=name)) == X[:500]).all()
    with pytest.raises(Unfit, match="no line holds numbers as stated, --delimiter"):
        opened(tmp_path, content, delimiter="," if delimiter != "," else ";")


def test_a_decimal_comma_is_found_or_stated(tmp_path):
    semicolons = table(np.arange(500) / 250, X[:500], "Zeit [s];EKG [mV]", "{:.4f};{:.3f}").replace(".", ",")
    for options in ({}, {"decimal": ","}, {"delimiter": ";"}):
        assert (read(opened(tmp_path, semicolons, **options, lead="EKG")) == X[:500]).all()
    column = "\n".join(lines(X[:500])).replace(".", ",")
    assert (read(opened(tmp_path, column)) == X[:500]).all()  # 0,012 is no pair of numbers
    assert (read(opened(tmp_path, "ecg\n1,5\n2,5\n")) == [1.5, 2.5]).all()
    quoted = '"time","ecg"\n' + "".join(f'"{i / 250:.3f}","{v:.3f}"\n'.replace(".", ",") for i, v in enumerate(X[:500]))
    assert (read(opened(tmp_path, quoted)) == X[:500]).all()


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("567\n1,045\n-1,203\n", "'-1,203' may be -1203 with a sign between thousands: .* --decimal ,"),
        ("1,045\n1,203\n2,011\n", "'2,011'"),
        ("567\n1.045\n-1.203\n", "'-1.203' may be -1203 .* --decimal ."),
        ("n;ecg\n0;567\n1;1,045\n2;998\n", "'1,045'"),
        ('n,ecg\n0,"567"\n1,"1.045"\n2,"998"\n', "'1.045'"),
        ("567\n" * 200 + "1.045\n", "'1.045'"),
    ],
)
def test_a_sign_between_thousands_is_no_decimal_sign(tmp_path, content, shown):
    with pytest.raises(Unfit, match=shown):
        opened(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "options", "samples"),
    [
        ("567\n1,045\n", {"decimal": ","}, [567, 1.045]),
        ("567\n1.045\n", {"decimal": "."}, [567, 1.045]),
        ("12.345\n1.045\n13.000\n", {}, [12.345, 1.045, 13]),
        ("567\n1.045\n0.5\n", {}, [567, 1.045, 0.5]),
        ("567\n1.045\n2.5\n", {}, [567, 1.045, 2.5]),
    ],
)
def test_what_is_clear_or_stated_is_no_sign_between_thousands(tmp_path, content, options, samples):
    assert list(read(opened(tmp_path, content, **options))) == samples


def test_one_number_or_two_is_not_guessed(tmp_path):
    assert list(read(opened(tmp_path, "t [s],ecg\n0,5\n1,7\n2,1\n", rate_hz=1.0))) == [5, 7, 1]
    with pytest.raises(Unfit, match="'1,5' may be a number with a decimal comma, or several: state --decimal , or"):
        opened(tmp_path, "1,5\n2,7\n3,1\n")
    assert list(read(opened(tmp_path, "1,5\n2,7\n3,1\n", decimal=","))) == [1.5, 2.7, 3.1]
    assert list(read(opened(tmp_path, "1,5\n2,7\n3,1\n", delimiter=",", lead="1"))) == [5, 7, 1]


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff"), ("latin-1", b""), ("utf-8", b"")]
)
def test_encodings(tmp_path, encoding, mark):
    content = table(np.arange(500) / 250, X[:500] * 1000, "Zeit (time),Größe ecg [µV]", "{:.4f},{:.0f}")
    recording = opened(tmp_path, mark + content.encode(encoding))
    assert (recording.lead, recording.unit) == ("Größe ecg [µV]", "mV")
    assert np.abs(read(recording) - X[:500]).max() < 1e-12


def test_utf_16_without_a_mark_is_refused(tmp_path):
    with pytest.raises(Unfit, match="UTF-16 without a byte-order mark"):
        opened(tmp_path, "\n".join(lines(X)).encode("utf-16-le"))


@pytest.mark.parametrize(
    ("name", "unit", "factor"),
    [
        ("ecg [uV]", None, 1e-3),
        ("ecg (mV)", None, 1),
        ("ecg_mV", None, 1),
        ("ecg [V]", None, 1e3),
        ("ecg", "uV", 1e-3),
        ("ecg", "µV", 1e-3),
        ("ecg", "mV", 1),
        ("ecg", None, None),
        ("ecg [adu]", None, None),
    ],
)
def test_units_are_made_mv_or_said_to_be_unstated(tmp_path, name, unit, factor):
    recording = opened(tmp_path, "\n".join([name, *lines(X[:500])]), unit=unit)
    assert recording.unit == ("mV" if factor else "unstated")
    assert np.abs(read(recording) - X[:500] * (factor or 1)).max() < 1e-12


def test_a_unit_that_is_no_voltage_is_refused(tmp_path):
    with pytest.raises(RecordingError, match=r"the unit of csv recordings is one of V, mV, uV.* found mmHg"):
        imported(tmp_path, "0.1\n", unit="mmHg")
    with pytest.raises(Unfit, match="the unit is 'mmHg'"):
        opened(tmp_path, "0.1\n", unit="mmHg")


def test_a_second_line_of_the_header_states_units(tmp_path):
    rows = [f"'0:{i / 250:06.3f}',{v:.3f},0" for i, v in enumerate(X[:500])]
    header = ["'Elapsed time','MLII','V5'", "'hh:mm:ss.mmm','mV','mV'"]
    recording = opened(tmp_path, "\n".join([*header, *rows]), rate_hz=None, lead="II,MLII")
    assert (recording.sampling_rate_hz, recording.unit, recording.lead) == (250, "mV", "MLII [mV]")
    assert (read(recording) == X[:500]).all()


@pytest.mark.parametrize("empty", ["", "nan", "NaN", "NA", "null", "-", "inf"])
def test_an_empty_cell_is_a_missing_sample_and_told(tmp_path, empty):
    rows = lines(X[:500])
    rows[0] = rows[7] = empty
    recording = opened(tmp_path, "\n".join(["time,ecg", *(f"{i / 250},{row}" for i, row in enumerate(rows))]))
    assert np.flatnonzero(np.isnan(read(recording))).tolist() == [0, 7]
    assert recording.length == 500
    assert "cells that are empty or not finite are missing samples" in recording.notes


def test_a_blank_line_is_a_missing_sample_and_blank_last_lines_are_none(tmp_path):
    rows = lines(X[:500])
    rows[7] = ""
    recording = opened(tmp_path, "\n".join(rows) + "\n\n\n")
    assert (recording.length, np.flatnonzero(np.isnan(read(recording))).tolist()) == (500, [7])
    columns = "\n".join(["a,b", *(f"{row},1" if row else "" for row in rows), "", ""])
    assert np.flatnonzero(np.isnan(read(opened(tmp_path, columns, lead="a")))).tolist() == [7]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("0.1\n0.2\n0.x\n", "line 3 is no number: '0.x'"),
        ("0.l\n0.2\n0.3\n", "line 1 is no number: '0.l'"),
        ("?\n0.2\n0.3\n", r"line 1 is no number: '\?'"),
        ("time,ecg\n0,1\n0.004,1\n0.008,1,2\n", "line 4 has 3 values, the others 2"),
        ("ecg\n0.1\n0.2\n10:00\n", "line 4 is no number: '10:00'"),
        ("time,ecg\n2021-13-01T10:00:00,1\n", "column 'time': '2021-13-01T10:00:00' is no time"),
        ("a b c\nd e f\n", "line 1 is no number: 'a b c'"),
        ("\n\n \n", "empty"),
        ("0.1,0.2\n0.1,0.2\n", r"2 leads \(0, 1\) and --lead names none"),
        ("a,b\n0.1,0.2\n0.1,0.2\n", r"2 leads \(a, b\) and --lead names none"),
        (",".join(["0.1"] * 300), "300 columns"),
        ("0.1\n" + "0" * 40 + "x" * 40 + "\n", r"line 2 is no number: '0{40}…'"),
    ],
)
def test_what_is_no_sample_is_refused_with_its_place(tmp_path, content, reason):
    with pytest.raises(Unfit, match=reason):
        opened(tmp_path, content)


def test_the_line_is_right_behind_many_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_columns, "_BLOCK_CHARACTERS", 100)
    good = ["time,ecg", *(f"{i / 250},{v:.3f}" for i, v in enumerate(X[:500]))]
    assert (read(opened(tmp_path, "\n".join(good))) == X[:500]).all()
    with pytest.raises(Unfit, match=r"^line 301 is no number: 'bad'"):
        opened(tmp_path, "\n".join([*good[:300], "1.196,bad", *good[301:]]))
    with pytest.raises(Unfit, match="times go backwards in line 301"):
        opened(tmp_path, "\n".join([*good[:300], "1.0,0.1", *good[301:]]))


def test_a_lead_is_the_only_one_the_tasks_the_ecg_or_the_one_named(tmp_path):
    content = "time,X,V1,ecg [uV]\n" + "".join(f"{k / 250},{k},{k + 1000},{k + 2000}\n" for k in range(500))
    assert read(opened(tmp_path, content))[0] == 2  # the only one called ECG, in mV
    assert read(opened(tmp_path, content, lead="V1"))[0] == 1000
    assert read(opened(tmp_path, content, lead="MLII,X"))[0] == 0
    assert read(opened(tmp_path, content.replace("X", "II")))[0] == 0  # the first that the task prefers
    assert read(opened(tmp_path, content, lead="2"))[0] == 1000
    assert read(opened(tmp_path, content, lead="ecg [uV]"))[0] == 2
    path, task = tmp_path / "a.csv", tasks.default().model_copy(update={"leads": ["V1"]})
    assert csv_files.open_one(path, Options(), task).lead == "V1"
    with pytest.raises(Unfit, match="column 'time' holds times: choose another --lead"):
        opened(tmp_path, content, lead="time")
    with pytest.raises(Unfit, match="no lead 'V5' among time, X, V1, ecg"):
        opened(tmp_path, content, lead="V5")


def test_a_column_of_text_is_no_lead(tmp_path):
    content = "time,ecg,note\n" + "".join(f"{k / 250},{v:.3f},beat {k}\n" for k, v in enumerate(X[:500]))
    assert (read(opened(tmp_path, content)) == X[:500]).all()
    with pytest.raises(Unfit, match="column 'note' holds no numbers"):
        opened(tmp_path, content, lead="note")


def test_a_spreadsheet_with_dates_in_words_and_decimal_commas(tmp_path):
    rows = [f"1.2.2024;0:{i / 250:06.3f};{i};{x:.3f};{i / 1000:.3f};\n" for i, x in enumerate(X[:500])]
    rows = [row.replace(f";{row.split(';', 3)[3]}", ";" + row.split(";", 3)[3].replace(".", ",")) for row in rows]
    recording = opened(tmp_path, "Datum;Zeit;Sample;EKG I [mV];EKG II [mV];Marker\n" + "".join(rows), None, lead="I")
    assert (recording.lead, recording.sampling_rate_hz, recording.unit) == ("EKG I [mV]", 250, "mV")
    assert (read(recording) == X[:500]).all()
    assert opened(tmp_path, (tmp_path / "a.csv").read_text(), None).lead == "EKG II [mV]"  # the task prefers II
    with pytest.raises(Unfit, match=r"it has 0 leads \(none\)"):  # never the count of lines
        opened(tmp_path, "sample,ecg\n" + "".join(f"{i},{x:.3f} mV\n" for i, x in enumerate(X[:500])))


def test_names_may_stand_above_a_blank_line_and_facts_are_no_names(tmp_path):
    assert opened(tmp_path, "\n".join(["ecg [uV]", "", *lines(X[:500])])).lead == "ecg [uV]"
    assert opened(tmp_path, "\n".join(["Name,Somebody", *lines(X[:500])])).lead == ""
    columns = opened(tmp_path, "Lead,II\n" + "".join(f"{k / 250},{x}\n" for k, x in enumerate(X[:500])), None)
    assert (columns.lead, columns.length) == ("1", 500)


def test_other_files_of_the_folder(tmp_path):
    (tmp_path / "in").mkdir()
    for name in (".DS_Store", "thumb.png"):
        (tmp_path / "in" / name).write_bytes(b"\0")
    (tmp_path / "in" / "b.TXT").write_text("0.1")
    with pytest.raises(RecordingError, match=r"1 that is not: b\.TXT: not in the label table"):
        imported(tmp_path, "\n".join(lines(X)))
    (tmp_path / "in" / "b.TXT").unlink()
    assert imported(tmp_path, "\n".join(lines(X))).segments == 8


def test_facts_behind_comment_signs(tmp_path):
    content = "# fs: 250 Hz\n# unit = uV\n# made by hand\n" + "\n".join(lines(X[:500] * 1000, "{:.0f}"))
    recording = opened(tmp_path, content, rate_hz=None)
    assert (recording.sampling_rate_hz, recording.unit) == (250, "mV")
    with pytest.raises(Unfit, match="sampling rate is 'fast'"):
        opened(tmp_path, content.replace("250 Hz", "fast"), rate_hz=None)


def test_samples_are_read_by_place(tmp_path):
    times = np.arange(1000) / RATE_HZ + 2 * (np.arange(1000) >= 500)
    recording = opened(tmp_path, table(times, X[:1000]))
    assert recording.length == 1500
    part = recording.read(490, 1010)
    assert (part[:10] == X[490:500]).all()
    assert np.isnan(part[10:510]).all()
    assert (part[510:] == X[500:510]).all()


LIMITED = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from ecm_edge import tasks
from ecm_edge.data.recordings import csv_files
from ecm_edge.data.recordings.options import Options
from ecm_edge.data.recordings.windows import Unfit
for name in sys.argv[1:]:
    try:
        csv_files.open_one(Path(name), Options(sampling_rate_hz=250.0), tasks.default())
    except Unfit as problem:
        print(problem)
"""


def test_what_is_too_large_or_no_file_is_refused_in_little_memory(tmp_path):
    paths = [tmp_path / name for name in ("line.csv", "large.csv", "fifo.csv", "zero.csv", "folder.csv", "lines.csv")]
    for path, size in zip(paths, (300_000_000, 5 << 30), strict=False):
        path.touch()
        os.truncate(path, size)  # takes no room on the disk
    os.mkfifo(paths[2])
    paths[3].symlink_to("/dev/zero")
    paths[4].mkdir()
    with paths[5].open("wb") as stream:
        stream.writelines([b"\n" * 1_000_000] * 46)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *paths], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines() == [
        "line 1 is longer than 1,048,576 bytes",
        "5,368,709,120 bytes; at most 4,294,967,296 are read: split it",
        *["it is not a regular file"] * 3,
        "more than 45,000,000 lines: split it",
    ]


def test_spoilt_files_end_in_a_reason(tmp_path):
    """Bytes changed, cut, doubled or put in; what can still be read is read."""
    rng = np.random.default_rng(7)
    watch = "\n".join([*WATCH, *lines(signal(512, 1))]).encode()
    columns = table(np.arange(300) / 250, X[:300], "timestamp [s];ecg [uV]", "{:.4f};{:.3f}").encode()
    tricky = [b"\0", b"\n", b",", b";", b'"', b"'", b"-", b"1e308", b"9" * 400, b"\xff", b"nan", b":", b"\r", b"T1:2"]
    reasons = []
    for _ in range(150):
        data = bytearray((watch, columns)[rng.integers(2)])
        for _ in range(rng.integers(1, 6)):
            place = int(rng.integers(len(data) if rng.integers(2) else min(200, len(data))))
            piece = [bytes(rng.bytes(3)), tricky[rng.integers(len(tricky))], bytes(data[place : place + 50]), b""]
            data[place : place + int(rng.integers(0, 40))] = piece[rng.integers(4)]
        try:
            recording = opened(tmp_path, bytes(data), rate_hz=[None, 250.0][rng.integers(2)])
            assert read(recording).shape == (recording.length,)
        except Unfit as problem:
            reasons.append(str(problem))
    assert 20 < len(reasons) < 150
    assert [reason for reason in reasons if re.match(r"\w+Error: ", reason)] == []  # a fault of a library or of ours
