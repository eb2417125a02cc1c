"""EDF, EDF+, BDF and BDF+: files made here byte by byte are read as they are meant, or refused with a reason."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest

from ecm_edge import tasks
from ecm_edge.base.errors import EcmEdgeError, RecordingError
from ecm_edge.data.dataset import UNSTATED, open_dataset
from ecm_edge.data.recordings import edf, edf_file
from ecm_edge.data.recordings.importer import import_recordings
from ecm_edge.data.recordings.options import Options
from ecm_edge.data.recordings.windows import Unfit
from ecm_edge.data.rhythms import RhythmRules

load = partial(import_recordings, file_format="edf")
RATE = 250
NOISE = np.random.default_rng(3).integers(-900, 900, RATE * 200)
ANNOTATION_BYTES = 120


@dataclass(frozen=True)
class Channel:
    label: str = "ECG"
    unit: bytes = b"uV"
    rate: int = RATE
    limits: tuple = (-5000, 5000, -32768, 32767)
    numbers: np.ndarray = field(default_factory=lambda: NOISE)


def field_(value, width):
    return (value if isinstance(value, bytes) else str(value).encode("ascii")).ljust(width)


def packed(numbers, sample_bytes):
    return b"".join(struct.pack("<i", int(number))[:sample_bytes] for number in numbers)


def tal(onset, *texts, duration=None):
    length = "" if duration is None else f"\x15{duration:g}"
    return "\x14".join([f"{onset:+.12g}{length}", *texts, "\0"]).encode()


def file(*channels, records=40, kind="EDF+C", texts=(), onsets=None, record_s=1, sample_bytes=2, stated=None):
    """The bytes of a file; `texts` are the annotations of its first record. Kind "" is plain EDF."""
    channels = list(channels or [Channel()])
    counts = [int(channel.rate * record_s) for channel in channels]
    onsets = [k * record_s for k in range(records)] if onsets is None else onsets
    if kind:
        channels.append(Channel(f"{kind[:3]} Annotations", b"", limits=(-1, 1, -32768, 32767)))
        counts.append(ANNOTATION_BYTES // sample_bytes)
    columns = [
        [(channel.label, 16) for channel in channels],
        [("", 80)] * len(channels),
        [(channel.unit, 8) for channel in channels],
        *([(channel.limits[k], 8) for channel in channels] for k in range(4)),
        [("", 80)] * len(channels),
        [(count, 8) for count in counts],
        [("", 32)] * len(channels),
    ]
    main = [b"\xffBIOSEMI" if sample_bytes == 3 else field_(0, 8), b" " * 176, field_(256 * (len(channels) + 1), 8)]
    main += [field_(kind, 44), field_(records if stated is None else stated, 8), field_(record_s, 8)]
    main += [field_(len(channels), 4)]
    data = []
    for k in range(records):
        for channel, count in zip(channels[: len(channels) - bool(kind)], counts, strict=False):
            data.append(packed(channel.numbers[k * count : (k + 1) * count], sample_bytes))
        if kind:
            data.append((tal(onsets[k], "") + (b"".join(texts) if k == 0 else b"")).ljust(ANNOTATION_BYTES, b"\0"))
    header = b"".join(field_(value, width) for column in columns for value, width in column)
    return b"".join([*main, header, *data])


def millivolts(numbers, channel):
    low, high, first, last = channel.limits
    return ((numbers - first) * (high - low) / (last - first) + low) / 1000


@pytest.fixture
def source(tmp_path):
    """A function that writes a folder of files and gives it."""

    def write(**files):
        for name, content in files.items():
            path = tmp_path / "in" / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return tmp_path / "in"

    return write


def test_annotations_without_end_are_refused(source, monkeypatch):
    monkeypatch.setattr(edf_file, "_MOST_TEXTS", 8)
    folder = source(a_edf=file(texts=[tal(0, *"abcdefghi")]), b_edf=file(texts=[tal(0, "(N")]))
    with pytest.raises(Unfit, match="more than 8 annotations"):
        opened(folder).rhythms()
    assert opened(folder, "b.edf")


def opened(folder, name="a.edf", **options):
    return edf.open_one(folder / name, Options(**options), tasks.default())


def table(folder, *rows):
    path = folder.parent / "labels.csv"
    path.write_text("\n".join(["file,subject,rhythm,onset_s,duration_s", *rows]) + "\n")
    return Options(labels=path)


def test_annotations_are_the_rhythms(source, tmp_path):
    texts = [tal(0, "N", duration=20), tal(20, "AFIB", duration=20)]
    other = file(Channel(numbers=-NOISE), texts=texts)
    record = load(source(a_edf=file(texts=texts), sub__b_EDF=other), tmp_path / "d")
    assert record.rhythms == {"AFIB": 8, "N": 8}
    assert open_dataset(tmp_path / "d").header.subjects == ["a", "sub/b"]
    assert (record.leads, record.unit, record.notes) == ({"ECG": 2}, "mV", [])


def test_an_annotation_without_a_duration_lasts_until_the_next_and_the_last_until_the_end(source, tmp_path):
    folder = source(a_edf=file(texts=[tal(0, "N"), tal(25, "AFIB")]))
    assert load(folder, tmp_path / "d").rhythms == {"AFIB": 3, "N": 5}


def test_onsets_count_from_the_first_record(source, tmp_path):
    onsets = [k + 0.5 for k in range(40)]
    folder = source(a_edf=file(texts=[tal(0.5, "N", duration=20), tal(20.5, "AFIB")], onsets=onsets))
    assert load(folder, tmp_path / "d").rhythms == {"AFIB": 4, "N": 4}


def test_a_text_that_is_no_rhythm_is_refused_until_it_is_ignored(source, tmp_path):
    texts = [tal(0, "N"), tal(12, "button"), tal(20, "AFIB")]
    folder = source(a_edf=file(texts=texts))
    with pytest.raises(RecordingError, match=r"'button' \(1 windows\).*--ignore"):
        load(folder, tmp_path / "d")
    record = load(folder, tmp_path / "d", rules=RhythmRules(ignored=("button",)))
    assert record.rhythms == {"AFIB": 4, "N": 4}  # it does not end the rhythm before it
    assert [note.text for note in record.notes] == ["the annotation 'button' is ignored"]


def test_an_ignored_stretch_is_cut_out_of_the_rhythm(source, tmp_path):
    texts = [tal(0, "N"), tal(10, "artefact", duration=10), tal(15, "artefact", duration=5)]
    record = load(source(a_edf=file(texts=texts)), tmp_path / "d", rules=RhythmRules(ignored=("artefact",)))
    assert record.rhythms == {"N": 6}
    assert [(lost.reason, lost.windows) for lost in record.left_out] == [("the rhythm 'artefact' is ignored", 2)]


def test_a_code_that_is_ignored_still_ends_the_rhythm_before_it(source, tmp_path):
    texts = [tal(0, "N"), tal(10, "NOISE"), tal(20, "AFIB")]
    record = load(source(a_edf=file(texts=texts)), tmp_path / "d", rules=RhythmRules(ignored=("NOISE",)))
    assert record.rhythms == {"AFIB": 4, "N": 2}
    assert [(lost.reason, lost.windows) for lost in record.left_out] == [("the rhythm 'NOISE' is ignored", 2)]


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ([tal(0, "N", duration=40), tal(3, "start")], "'start' without a duration lies within 'N'.*--ignore"),
        ([tal(0, "N"), tal(99, "stop")], "'stop' begins after the recording's end.*--ignore"),
        ([tal(0, "N", duration=99)], "truncated: 40.00 s long, and a rhythm lasts until 99 s"),
        ([tal(0, "N", duration=20), tal(10, "AFIB", duration=20)], "two rhythms at 10 s: 'N' and 'AFIB'"),
        ([tal(k * 0.8, "N") for k in range(10)], "as beats do"),
        ([], "no annotation, and no --labels"),
        ([b"+0 N\x14\0"], "a damaged annotation in data record 0"),
    ],
)
def test_annotations_that_cannot_be_rhythms_are_refused(source, tmp_path, texts, reason):
    with pytest.raises(RecordingError, match=reason):
        load(source(a_edf=file(texts=texts)), tmp_path / "d")


def test_of_two_rhythms_at_one_moment_the_last_holds_and_it_is_told(source, tmp_path):
    record = load(source(a_edf=file(texts=[tal(0, "AFIB"), tal(0, "N")])), tmp_path / "d")
    assert record.rhythms == {"N": 8}
    assert [note.text for note in record.notes] == [
        "several annotations at one moment: the last one without a duration holds"
    ]


def test_a_table_holds_in_place_of_annotations_and_it_is_told(source, tmp_path):
    folder = source(a_edf=file(texts=[tal(0, "start"), tal(1, "N", duration=40)]))
    record = load(folder, tmp_path / "d", options=table(folder, "a.edf,p,AFIB,,"))
    assert record.rhythms == {"AFIB": 8}
    assert [note.text for note in record.notes] == ["it has annotations; the label table holds in their place"]
    assert open_dataset(tmp_path / "d").header.subjects == ["p"]


def test_a_discontinuous_file_has_missing_samples_where_it_has_holes(source, tmp_path):
    onsets = [k + 100 * (k >= 20) for k in range(40)]
    folder = source(a_edf=file(kind="EDF+D", onsets=onsets, texts=[tal(0, "N"), tal(120, "AFIB")]))
    recording = opened(folder)
    samples = recording.read(0, recording.length)
    expected = millivolts(NOISE[: 40 * RATE], Channel())
    assert recording.length == 140 * RATE
    assert np.isnan(samples[20 * RATE : 120 * RATE]).all()
    np.testing.assert_allclose(samples[np.isfinite(samples)], expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(recording.read(19 * RATE + 7, 121 * RATE), samples[19 * RATE + 7 : 121 * RATE])
    record = load(folder, tmp_path / "d")
    assert record.rhythms == {"AFIB": 4, "N": 4}
    assert sum(lost.windows for lost in record.left_out) == 20


def test_a_hole_that_is_shorter_than_a_window_costs_its_window(source, tmp_path):
    onsets = [k + 0.5 * (k >= 22) for k in range(40)]
    folder = source(a_edf=file(kind="EDF+D", onsets=onsets, texts=[tal(0, "N")]))
    assert load(folder, tmp_path / "d").rhythms == {"N": 7}


@pytest.mark.parametrize(
    ("onsets", "reason"),
    [
        ([0, 1, *range(2, 40)][::-1], "overlap"),
        ([0, 0.5, *range(2, 40)], "overlap"),
        ([*range(39), 1e9], "more than a year"),
    ],
)
def test_a_discontinuous_file_without_a_clear_time_line_is_refused(source, onsets, reason):
    with pytest.raises(Unfit, match=reason):
        opened(source(a_edf=file(kind="EDF+D", onsets=onsets)))


def test_a_continuous_file_whose_times_jump_is_read_and_it_is_told(source):
    recording = opened(source(a_edf=file(onsets=[k + 9 * (k > 5) for k in range(40)])))
    assert recording.length == 40 * RATE
    assert recording.notes == ("read as continuous, as its header says; the times of its data records say otherwise",)


def test_every_stretch_is_read_as_from_the_whole(source):
    recording = opened(source(a_edf=file(Channel("Resp", b"", 10), Channel(), kind="")))
    expected = millivolts(NOISE[: 40 * RATE], Channel())
    for start, stop in [(0, 10000), (1, 2), (249, 251), (250, 500), (9999, 10000), (5, 9000)]:
        np.testing.assert_allclose(recording.read(start, stop), expected[start:stop], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["", "BDF+C", "BDF+D"])
def test_bdf_has_24_bits(source, kind):
    channel = Channel(limits=(-100_000, 100_000, -8_388_608, 8_388_607), numbers=NOISE * 9000)
    folder = source(a_BDF=file(channel, kind=kind, sample_bytes=3))
    recording = opened(folder, "a.BDF")
    expected = millivolts(channel.numbers[: 40 * RATE], channel)
    assert np.ptp(expected) > 190
    np.testing.assert_allclose(recording.read(0, 10000), expected, rtol=0, atol=1e-9)


def test_edf_and_bdf_may_lie_in_one_folder(source, tmp_path):
    folder = source(a_edf=file(texts=[tal(0, "N")]), b_Bdf=file(kind="BDF+C", sample_bytes=3, texts=[tal(0, "AFIB")]))
    assert load(folder, tmp_path / "d").rhythms == {"AFIB": 8, "N": 8}


@pytest.mark.parametrize(("unit", "factor"), [(b"\xb5V", 1), ("µV".encode(), 1), ("μV".encode(), 1), (b"mV", 1000)])
def test_the_sign_for_micro_is_known_in_each_of_its_bytes(source, unit, factor):
    recording = opened(source(a_edf=file(Channel(unit=unit))))
    np.testing.assert_allclose(recording.read(0, 5), millivolts(NOISE[:5], Channel()) * factor, rtol=1e-12)


def test_a_unit_that_is_not_stated_is_told(source, tmp_path):
    record = load(source(a_edf=file(Channel(unit=b""), texts=[tal(0, "N")])), tmp_path / "d")
    assert record.unit == UNSTATED
    assert [note.text for note in record.notes] == ["its unit is not stated"]


def test_another_channel_need_not_be_sound(source):
    odd = Channel("SpO2", b"%", 1, limits=(0, 0, 5, 5))
    recording = opened(source(a_edf=file(odd, Channel())))
    assert (recording.lead, recording.sampling_rate_hz) == ("ECG", RATE)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ((-5, 5, 7, 7), "digital minimum 7 and the maximum 7"),
        ((-5, 5, 7, -7), "digital minimum 7 and the maximum -7"),
        ((5, 5, -7, 7), "physical minimum 5 and the maximum 5"),
        ((-5, "1e300", -7, 7), "beyond any ECG"),
        ((-5, "nan", -7, 7), "the highest value is 'nan'"),
        ((-5, "", -7, 7), "the highest value is ''"),
    ],
)
def test_the_channel_that_is_read_has_a_range(source, limits, reason):
    with pytest.raises(Unfit, match=reason):
        opened(source(a_edf=file(Channel(limits=limits))))


def test_a_range_with_a_decimal_comma_or_upside_down_is_read(source):
    recording = opened(source(a_edf=file(Channel(limits=("5000,5", "-5000,5", -32768, 32767)))))
    inverted = millivolts(NOISE[:5], Channel(limits=(5000.5, -5000.5, -32768, 32767)))
    np.testing.assert_allclose(recording.read(0, 5), inverted, rtol=0, atol=1e-12)


LEADS = [Channel("ECG V1"), Channel("ECG II", numbers=-NOISE), Channel("Resp", b"", 25)]


@pytest.mark.parametrize(
    ("wanted", "lead"), [(None, "ECG II"), ("ECG V1", "ECG V1"), ("0", "ECG V1"), ("x,1", "ECG II")]
)
def test_a_lead_is_chosen_by_name_or_number_or_by_the_task(source, wanted, lead):
    assert opened(source(a_edf=file(*LEADS)), lead=wanted).lead == lead


def test_leads_without_a_preference_are_named(source):
    with pytest.raises(Unfit, match=r"3 leads \(A, B, Resp\) and --lead names none"):
        opened(source(a_edf=file(Channel("A"), Channel("B"), LEADS[2])))


def test_another_signal_in_volts_never_stands_for_an_ecg_without_a_unit(source):
    for label in ("II", "ECG II"):
        recording = opened(source(a_edf=file(Channel(label, b""), Channel("Resp", b"mV"), kind="")))
        assert (recording.lead, recording.unit) == (label, UNSTATED)
    folder = source(a_edf=file(Channel("ekg1", b""), Channel("Resp", b"mV"), kind=""))
    with pytest.raises(Unfit, match=r"2 leads .* and --lead names none"):
        opened(folder)


def test_each_channel_has_its_own_rate(source):
    recording = opened(source(a_edf=file(Channel("slow", b"mV", 25), Channel("fast", b"mV", 200))), lead="slow")
    assert (recording.sampling_rate_hz, recording.length) == (25, 1000)


def test_records_of_which_the_number_is_not_stated_are_counted_by_the_files_size(source):
    recording = opened(source(a_edf=file(stated=-1) + b"\0" * 100))
    assert recording.length == 40 * RATE
    assert recording.notes == ("its number of data records is not stated: taken from the file's size",)


def test_bytes_after_the_last_record_are_told(source):
    assert opened(source(a_edf=file(stated=30))).notes == (
        "there are bytes after its last data record: they are not read",
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-1], "truncated: 39 data records where 40"),
        (lambda data: data[:300], "truncated in its header"),
        (lambda data: data[:236] + b"99999999" + data[244:], "truncated: 40 data records where 99999999"),
        (lambda data: data[:236] + b"0       " + data[244:], "no data record"),
        (lambda data: data[:236] + b"-7      " + data[244:], "no data record"),
        (lambda data: data[:244] + b"0       " + data[252:], "no time of a recording"),
        (lambda data: data[:244] + b"1e-300  " + data[252:], "no rate of an ECG"),
        (lambda data: data[:244] + b"1e300   " + data[252:], "no time of a recording"),
        (lambda data: data[:252] + b"9999" + data[256:], "size does not fit 9999 signals"),
        (lambda data: data[:252] + b"-1  " + data[256:], "size does not fit -1 signals"),
        (lambda data: data[:688] + b"99999999" + data[696:], "data records have 200000118 bytes"),
        (lambda data: data[:688] + b"-5      " + data[696:], "-5 samples"),
        (lambda data: data[:688] + b"1.5     " + data[696:], "'1.5' in its header"),
        (lambda data: b"BIOSIG  " + data[8:], "neither EDF nor BDF"),
        (lambda _: b"", "neither EDF nor BDF"),
    ],
)
def test_a_header_that_does_not_fit_its_file_is_refused(source, change, reason):
    with pytest.raises(Unfit, match=reason):
        opened(source(a_edf=change(file())))


def test_a_fifo_a_missing_file_and_a_folder_are_refused(source, tmp_path):
    folder = source(a_edf=file())
    os.mkfifo(folder / "b.edf")
    (folder / "c.edf").mkdir()
    with pytest.raises(RecordingError, match=r"b.edf: it is not a regular file; .*d.edf: it is not there"):
        load(folder, tmp_path / "d", options=table(folder, "a.edf,p,N,,", "b.edf,p,N,,", "d.edf,p,N,,"))
    with pytest.raises(RecordingError, match="no file in"):
        load(folder / "c.edf", tmp_path / "d")


def test_annotations_that_are_no_rhythms_do_not_hinder_an_answer(source):
    recording = opened(source(a_edf=file(texts=[tal(0, "N", duration=40), tal(3, "start")])))
    assert not recording.spans
    assert recording.notes[0].startswith("its annotations are not used: the annotation 'start'")


def test_a_damaged_file_is_refused_and_never_breaks_the_reader(source):
    rng = np.random.default_rng(11)
    sound = file(Channel("Resp", b"", 10), Channel(), texts=[tal(0, "N"), tal(9, "AFIB", duration=3)], kind="EDF+D")
    read = 0
    for _ in range(150):
        data = bytearray(sound)
        for place in rng.integers(0, rng.choice([256, 1100, len(data)]), rng.integers(1, 9)):
            data[place] = rng.choice([*b"0123456789 +-.eE,\0\x14\x15\xff", rng.integers(256)])
        folder = source(a_edf=bytes(data[: rng.integers(len(data))] if rng.random() < 0.2 else data))
        try:
            recording = edf.open_one(folder / "a.edf", Options(lead="1"), tasks.default())
            read += len(recording.read(0, min(recording.length, 20 * RATE))) > 0
        except (Unfit, EcmEdgeError):
            continue
    assert 20 < read < 150
