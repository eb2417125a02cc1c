"""DICOM waveforms: instances made here are read as they are meant, or refused with a reason."""

from __future__ import annotations

import importlib.util
import os
from functools import partial

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    TwelveLeadECGWaveformStorage,
    generate_uid,
)

from ecm_edge import tasks
from ecm_edge.base.errors import RecordingError
from ecm_edge.data.dataset import UNSTATED, open_dataset
from ecm_edge.data.recordings import dicom
from ecm_edge.data.recordings.importer import import_recordings
from ecm_edge.data.recordings.options import Options
from ecm_edge.data.recordings.windows import Unfit

load = partial(import_recordings, file_format="dicom")
RATE = 250
NUMBERS = np.random.default_rng(5).integers(-900, 900, (RATE * 40, 3))  # (t, C)


def code(meaning, value="x"):
    item = Dataset()
    item.CodeMeaning, item.CodeValue, item.CodingSchemeDesignator = meaning, value, "SCPECG"
    return item


def channel(name, unit="uV", **more):
    item = Dataset()
    item.ChannelSourceSequence = Sequence([code(name)])
    item.ChannelSensitivity, item.ChannelBaseline, item.ChannelSensitivityCorrectionFactor = 2.5, 10, 0.5
    item.ChannelSensitivityUnitsSequence = Sequence([code("", unit)])
    for keyword, value in more.items():
        delattr(item, keyword) if value is None else setattr(item, keyword, value)
    return item


def group(names, numbers=NUMBERS, rate=RATE, kind=(16, "SS", "<i2"), originality="ORIGINAL", channels=(), **more):
    item = Dataset()
    item.WaveformOriginality = originality
    item.NumberOfWaveformSamples, item.NumberOfWaveformChannels = len(numbers), len(names)
    item.SamplingFrequency = rate
    item.ChannelDefinitionSequence = Sequence(channels or [channel(name) for name in names])
    item.WaveformBitsAllocated, item.WaveformSampleInterpretation = kind[:2]
    data = numbers[:, : len(names)].astype(kind[2]).tobytes()
    item.add_new("WaveformData", "OB" if kind[0] == 8 else "OW", data + b"\0" * (len(data) % 2))
    for keyword, value in more.items():
        delattr(item, keyword) if value is None else setattr(item, keyword, value)
    return item


def save(path, *groups, syntax=ExplicitVRLittleEndian):
    instance, meta = Dataset(), FileMetaDataset()
    instance.SOPClassUID = meta.MediaStorageSOPClassUID = TwelveLeadECGWaveformStorage
    instance.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["test"])
    meta.TransferSyntaxUID, instance.file_meta = syntax, meta
    instance.PatientName = "Some^Body"
    if groups:
        instance.WaveformSequence = Sequence(groups)
    path.parent.mkdir(exist_ok=True)
    instance.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def opened(tmp_path):
    """A function that writes an instance and opens it."""

    def write(*groups, syntax=ExplicitVRLittleEndian, **options):
        return dicom.open_one(save(tmp_path / "a.dcm", *groups, syntax=syntax), Options(**options), tasks.default())

    return write


def test_items_without_end_are_refused(opened, monkeypatch):
    assert opened(group(LEADS)).lead == "II"
    monkeypatch.setattr(dicom, "_MOST_ITEMS", 3)
    with pytest.raises(Unfit, match="items in its sequences; at most 3 are read"):
        opened(group(LEADS))


def millivolts(numbers):
    return (numbers * 2.5 * 0.5 + 10) / 1000


LEADS = ["Lead I (Einthoven)", "Lead II", "V1"]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_the_tasks_lead_is_read_in_millivolts(opened, syntax):
    recording = opened(group(LEADS), syntax=syntax)
    assert (recording.lead, recording.unit, recording.sampling_rate_hz, recording.length) == ("II", "mV", 250, 10000)
    np.testing.assert_allclose(recording.read(3, 999), millivolts(NUMBERS[3:999, 1]), rtol=0, atol=1e-12)


def test_samples_of_big_endian_files_are_not_turned_round(opened):
    recording = opened(group(LEADS, kind=(16, "SS", ">i2")), syntax=ExplicitVRBigEndian)
    np.testing.assert_allclose(recording.read(0, 9), millivolts(NUMBERS[:9, 1]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [(8, "SB", "i1"), (8, "UB", "u1"), (16, "US", "<u2"), (32, "SL", "<i4")])
def test_every_width_of_a_sample_is_read(opened, kind):
    numbers = np.abs(NUMBERS[:1251] % 100)
    recording = opened(group(LEADS, numbers, kind=kind), lead="V1")
    np.testing.assert_allclose(recording.read(0, 1251), millivolts(numbers[:, 2]), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("lead", "name"), [("I", "I"), ("V1", "V1"), ("0", "I"), ("V5,2", "V1"), (None, "II")])
def test_a_lead_is_chosen_by_name_or_number(opened, lead, name):
    assert opened(group(LEADS), lead=lead).lead == name


def test_groups_have_their_own_rates_and_derived_ones_are_left_out(opened):
    beat = group(["Lead II"], NUMBERS[:600], rate=500, originality="DERIVED")
    slow = group(["Lead aVR"], NUMBERS[:4000], rate=100)
    assert opened(beat, slow, group(LEADS)).sampling_rate_hz == 250
    recording = opened(beat, slow, group(LEADS), lead="aVR")
    assert (recording.sampling_rate_hz, recording.length) == (100, 4000)
    assert opened(beat).sampling_rate_hz == 500


def test_a_label_names_a_channel_without_a_source(opened):
    one = channel("", ChannelSourceSequence=None, ChannelLabel="ECG")
    assert opened(group(["x"], channels=[one])).lead == "ECG"


def test_padding_is_missing(opened):
    numbers = NUMBERS.copy()
    numbers[100:200] = -32768
    samples = opened(group(LEADS, numbers, WaveformPaddingValue=b"\x00\x80")).read(50, 250)
    np.testing.assert_array_equal(np.isnan(samples), np.isin(np.arange(50, 250), np.arange(100, 200)))


def test_a_sensitivity_that_is_not_stated_leaves_the_unit_unstated(opened):
    recording = opened(group(["x"], channels=[channel("Lead II", ChannelSensitivity=None)]))
    assert recording.unit == UNSTATED
    assert recording.notes == ("its sensitivity is not stated: the unit of a sample is unknown",)
    assert list(recording.read(0, 3)) == list(NUMBERS[:3, 0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"NumberOfWaveformSamples": 2**32 - 1}, "60000 bytes of samples where 4294967295 samples of 3 channels"),
        ({"NumberOfWaveformSamples": 0}, "where 0 samples"),
        ({"NumberOfWaveformSamples": 9000}, "60000 bytes of samples where 9000 samples"),
        ({"NumberOfWaveformChannels": 4}, "4 channels, of which 3 are described"),
        ({"WaveformSampleInterpretation": "MB"}, "samples of 16 bits as MB"),
        ({"SamplingFrequency": None}, "it lacks SamplingFrequency"),
        ({"SamplingFrequency": 0}, "sampled at 0 Hz: no rate of an ECG"),
        ({"channels": [channel("Lead II")] * 3}, r"3 leads named 'II': choose one by its number, --lead 0 or 1 or 2"),
        ({"channels": [channel("Lead II", unit="mm[Hg]")] * 3}, r"'mm\[Hg\]'"),
        ({"channels": [channel("Lead II", ChannelSensitivity=0)] * 3}, "'II' has the sensitivity 0 mV"),
    ],
)
def test_a_group_that_contradicts_itself_is_refused(tmp_path, change, reason):
    channels = change.pop("channels", ())
    save(tmp_path / "in" / "a.dcm", group(LEADS, channels=channels, **change))
    (tmp_path / "labels.csv").write_text("file,subject,rhythm\na.dcm,p,N\n")
    lead = "0" if channels and "--lead" not in reason else None
    with pytest.raises(RecordingError, match=reason):
        load(tmp_path / "in", tmp_path / "d", options=Options(labels=tmp_path / "labels.csv", lead=lead))


def test_labels_come_from_the_table_and_files_are_known_by_their_content(tmp_path):
    save(tmp_path / "in" / "IM0001", group(LEADS))
    save(tmp_path / "in" / "b.DCM", group(LEADS))
    (tmp_path / "in" / "DICOMDIR").write_bytes((tmp_path / "in" / "IM0001").read_bytes())
    (tmp_path / "in" / "notes.txt").write_text("no recording")
    table = tmp_path / "labels.csv"
    table.write_text("file,subject,rhythm\nIM0001,p1,AFIB\n")
    with pytest.raises(RecordingError, match=r"1 that is not: b\.DCM: not in the label table"):
        load(tmp_path / "in", tmp_path / "d", options=Options(labels=table))
    table.write_text("file,subject,rhythm\nIM0001,p1,AFIB\nb.DCM,p2,N\n")
    record = load(tmp_path / "in", tmp_path / "d", options=Options(labels=table))
    assert (record.rhythms, record.leads) == ({"AFIB": 8, "N": 8}, {"II": 2})
    assert open_dataset(tmp_path / "d").header.subjects == ["p1", "p2"]


def test_what_is_no_waveform_is_refused(opened, tmp_path):
    with pytest.raises(Unfit, match="without a waveform"):
        opened()
    os.mkfifo(tmp_path / "fifo.dcm")
    for name, reason in [("fifo.dcm", "it is not a regular file"), ("none.dcm", "it is not there")]:
        with pytest.raises(Unfit, match=reason):
            dicom.open_one(tmp_path / name, Options(), tasks.default())


def test_a_deflated_file_is_refused(opened):
    with pytest.raises(Unfit, match="deflated"):
        opened(group(LEADS), syntax=pydicom.uid.DeflatedExplicitVRLittleEndian)


def test_without_pydicom_it_is_said_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(RecordingError, match=r"pip install 'ecm-edge\[dicom\]'"):
        dicom.open_one(tmp_path / "a.dcm", Options(), tasks.default())


def test_a_damaged_file_is_refused_and_never_breaks_the_reader(tmp_path):
    rng, read = np.random.default_rng(7), 0
    sound = save(
        tmp_path / "a.dcm", group(["Lead I"], NUMBERS[:600, :1]), group(["Lead II"], NUMBERS[:50, 1:2])
    ).read_bytes()
    for _ in range(120):
        data = bytearray(sound)
        for place in rng.integers(132, rng.choice([700, len(data)]), rng.integers(1, 6)):
            data[place] = rng.choice([0, 255, rng.integers(256)])
        path = tmp_path / "b.dcm"
        path.write_bytes(data[: rng.integers(len(data))] if rng.random() < 0.2 else data)
        try:
            recording = dicom.open_one(path, Options(lead="0"), tasks.default())
            read += len(recording.read(0, recording.length)) > 0
        except Unfit:
            continue
    assert 20 < read < 120
