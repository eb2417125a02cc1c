"""DICOM waveforms (12-lead, general and ambulatory ECG) with a label table `file,subject,rhythm[,onset_s,duration_s]`.

A file is one with DICOM's preamble, whatever its name. It holds multiplex groups, each with its own rate and length;
leads are named and numbered across groups. Derived groups, such as a median beat, are left out where there are original
ones. Who the patient is is not read.
"""

from __future__ import annotations

import importlib.util
import io
import os
import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.base.errors import RecordingError
from ecm_edge.data.dataset import UNSTATED, natural_key
from ecm_edge.data.recordings.options import (
    STEPS_PER_MV,
    Labelled,
    check_rate,
    choose_lead,
    foreign,
    given,
    read_labels,
    regular,
    unlisted,
    write_labels,
)
from ecm_edge.data.recordings.units import to_millivolts
from ecm_edge.data.recordings.windows import Listing, Recording, Unfit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from ecm_edge.data.recordings.options import Options
    from ecm_edge.tasks import Task

LEAD = "Lead II"
"""The lead that `write` names."""

_PREAMBLE = 128  # bytes before the four that name the format
_NAME = b"DICM"
_DIRECTORY = "DICOMDIR"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_META = 2  # the group of the elements that say how the others are written
_LARGEST = 2**31  # bytes
_BLOCK = 2**20
_ITEM, _MOST_ITEMS = b"\xfe\xff\x00\xe0", 10_000  # pydicom takes a kilobyte for each
_DERIVED = "DERIVED"
_LEAD = re.compile(r"(?:lead\s+)?(?P<name>.*?)(?:\s*\(.*\))?", re.IGNORECASE)  # "Lead I (Einthoven)"
_KINDS = {(8, "SB"): "i1", (8, "UB"): "u1", (16, "SS"): "i2", (16, "US"): "u2", (32, "SL"): "i4", (32, "UL"): "u4"}
_CREATOR = "1.2.826.0.1.3680043.8.498.1"  # pydicom's root
_MILLIVOLT = ("mV", "UCUM", "millivolt")
_LEAD_II = ("2:2", "MDC", LEAD)


@dataclass(frozen=True)
class _Channel:
    """One channel of one multiplex group, and its number there."""

    group: Any  # pydicom.Dataset
    number: int

    @property
    def definition(self) -> Any:  # noqa: ANN401 - pydicom.Dataset
        return self.group.ChannelDefinitionSequence[self.number]

    @property
    def name(self) -> str:
        """The lead's name without the word lead."""
        sources = self.definition.get("ChannelSourceSequence") or [{}]
        text = str(sources[0].get("CodeMeaning") or self.definition.get("ChannelLabel") or "")
        match = _LEAD.fullmatch(text.strip())
        return match["name"] if match else text.strip()


class _Clamped(io.FileIO):
    """A file that is never asked for more bytes than it has: a length in it may say anything."""

    def read(self, size: int | None = -1, /) -> bytes:
        rest = os.fstat(self.fileno()).st_size - self.tell()
        return super().read(max(0, rest if size is None or size < 0 else min(size, rest)))


def list_recordings(source: Path, options: Options, task: Task) -> Listing:
    """Every file of the label table, by file name.

    Raises:
        RecordingError: pydicom is not installed; a broken or empty label table.
    """
    _needs_pydicom()
    labels = read_labels(given(options.labels))
    present = [path.relative_to(source).as_posix() for path in source.rglob("*") if _is_dicom(path)]
    return Listing(
        sorted(labels, key=natural_key),
        lambda name: _open(source / name, labels[name], options, task, name),
        unlisted(present, labels),
    )


def open_one(path: Path, options: Options, task: Task) -> Recording:
    """One file, without labels; else `Unfit`.

    Raises:
        RecordingError: pydicom is not installed.
    """
    _needs_pydicom()
    return _open(path, Labelled(path.stem, ()), options, task, path.name)


def write(folder: Path, recordings: Iterable[Recording], task: Task) -> None:
    """Write recordings as 16-bit ambulatory ECG of one lead in steps of 1 µV, with their label table.

    Raises:
        RecordingError: pydicom is not installed.
    """
    del task
    _needs_pydicom()
    written = []
    for recording in recordings:
        name = f"{recording.name}.dcm"
        _instance(recording).save_as(folder / name, enforce_file_format=True)
        written.append((name, recording))
    write_labels(folder, written)


def _needs_pydicom() -> None:
    if importlib.util.find_spec("pydicom") is None:
        raise RecordingError("DICOM is read with pydicom", "none installed", "Run pip install 'ecm-edge[dicom]'.")


def _is_dicom(path: Path) -> bool:
    """Whether a file has the preamble of DICOM; the directory of a disk does not count."""
    if not path.is_file() or path.name == _DIRECTORY:
        return False
    with path.open("rb") as stream:
        return stream.read(_PREAMBLE + len(_NAME))[_PREAMBLE:] == _NAME


@contextmanager
def _unwarned() -> Iterator[None]:
    """Pydicom warns of values beyond the standard; a user could do nothing about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _named() -> Iterator[None]:
    """An element that is missing is `Unfit`, by its name."""
    try:
        yield
    except AttributeError as problem:
        raise Unfit(f"it lacks {problem.name}") from problem


def _open(path: Path, labelled: Labelled, options: Options, task: Task, name: str) -> Recording:
    """One file, the samples of its lead read; else `Unfit`."""
    with foreign(), _unwarned(), _named():
        channels = _channels(path)
        channel = channels[choose_lead([one.name for one in channels], options.lead, task.leads)]
        rate_hz = float(channel.group.SamplingFrequency)
        check_rate(rate_hz, options.sampling_rate_hz)
        raw, gain, baseline, unit = _raw(channel), *_scale(channel)
        padding = _padding(channel, raw.dtype)

    def signal(start: int, stop: int) -> np.ndarray:
        samples = raw[start:stop] * gain + baseline
        return samples if padding is None else np.where(raw[start:stop] == padding, np.nan, samples)

    return Recording(
        name,
        labelled.subject,
        len(raw),
        rate_hz,
        labelled.spans,
        signal,
        lead=channel.name,
        unit=unit,
        notes=("its sensitivity is not stated: the unit of a sample is unknown",) if unit == UNSTATED else (),
    )


def _channels(path: Path) -> list[_Channel]:
    """The channels of a file, group by group."""
    import pydicom

    if not _is_dicom(regular(path)):
        raise Unfit("not a DICOM file")
    if path.stat().st_size > _LARGEST:
        raise Unfit(f"{path.stat().st_size} bytes; at most {_LARGEST} are read")
    with _Clamped(path) as stream:
        stream.seek(_PREAMBLE + len(_NAME))
        meta = pydicom.filereader.read_dataset(stream, False, True, stop_when=lambda tag, *_: tag >> 16 != _META)
        if meta.get("TransferSyntaxUID") == _DEFLATED:
            raise Unfit("deflated, so that its size is not known: write it anew in explicit little endian")
        stream.seek(0)
        if (items := _items(stream)) > _MOST_ITEMS:
            raise Unfit(f"{items} items in its sequences; at most {_MOST_ITEMS} are read")
        stream.seek(0)
        groups = list(pydicom.dcmread(stream, specific_tags=["WaveformSequence"]).get("WaveformSequence") or ())
    if not groups:
        raise Unfit("DICOM without a waveform")
    original = [group for group in groups if group.get("WaveformOriginality") != _DERIVED]
    return [
        _Channel(group, number)
        for group in original or groups
        for number in range(len(group.ChannelDefinitionSequence))
    ]


def _items(stream: BinaryIO) -> int:
    """How many items the sequences of a file may have, at most: each begins with the same four bytes."""
    count, before = 0, b""
    while block := stream.read(_BLOCK):
        count += (before + block).count(_ITEM)
        before = block[1 - len(_ITEM) :]
    return count


def _raw(channel: _Channel) -> np.ndarray:
    """The numbers of a channel, (t,) integers."""
    group = channel.group
    kind = (group.WaveformBitsAllocated, group.WaveformSampleInterpretation)
    if kind not in _KINDS:
        raise Unfit(f"samples of {kind[0]} bits as {kind[1]}; known are {', '.join(code for _, code in _KINDS)}")
    endian = ">" if group.original_encoding[1] is False and kind[0] > 8 else "<"  # noqa: PLR2004 - a byte has no order
    dtype, data = np.dtype(endian + _KINDS[kind]), group.WaveformData
    shape = (int(group.NumberOfWaveformSamples), int(group.NumberOfWaveformChannels))
    if shape[1] != len(group.ChannelDefinitionSequence):
        raise Unfit(f"{shape[1]} channels, of which {len(group.ChannelDefinitionSequence)} are described")
    promised = shape[0] * shape[1] * dtype.itemsize
    if min(shape) < 1 or not promised <= len(data) <= promised + 1:  # a byte makes the length even
        raise Unfit(f"{len(data)} bytes of samples where {shape[0]} samples of {shape[1]} channels are promised")
    numbers: np.ndarray = np.frombuffer(data, dtype, shape[0] * shape[1]).reshape(shape)[:, channel.number].copy()
    return numbers


def _scale(channel: _Channel) -> tuple[float, float, str]:
    """(gain, baseline, unit): a sample is gain · number + baseline, in mV if its sensitivity is stated."""
    definition = channel.definition
    if definition.get("ChannelSensitivity") is None:
        return 1.0, 0.0, UNSTATED
    factor = to_millivolts(str(definition.ChannelSensitivityUnitsSequence[0].CodeValue))
    correction = definition.get("ChannelSensitivityCorrectionFactor")
    gain = float(definition.ChannelSensitivity) * (1.0 if correction is None else float(correction)) * factor
    baseline = float(definition.get("ChannelBaseline") or 0.0) * factor
    if gain == 0 or not np.isfinite([gain, baseline]).all():
        raise Unfit(f"{channel.name!r} has the sensitivity {gain:g} mV and the baseline {baseline:g} mV")
    return gain, baseline, "mV"


def _padding(channel: _Channel, dtype: np.dtype[Any]) -> int | None:
    """The number that stands for a missing sample, None where there is none."""
    value = channel.group.get("WaveformPaddingValue")
    if not isinstance(value, bytes) or len(value) < dtype.itemsize:
        return None
    return int(np.frombuffer(value, dtype, 1)[0])


def _instance(recording: Recording) -> Any:  # noqa: ANN401 - pydicom.Dataset
    """One recording as an instance that depends on nothing but the recording."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, AmbulatoryECGWaveformStorage, ExplicitVRLittleEndian, generate_uid

    def unique(kind: str) -> UID:
        return generate_uid(entropy_srcs=[kind, recording.subject, recording.name])

    digital = np.round(recording.read(0, recording.length) * STEPS_PER_MV).astype("<i2")  # (t,)
    instance, meta = Dataset(), FileMetaDataset()
    instance.SOPClassUID = meta.MediaStorageSOPClassUID = AmbulatoryECGWaveformStorage
    instance.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = unique("instance")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(_CREATOR)
    meta.ImplementationVersionName = "ECM_EDGE"
    instance.file_meta = meta
    instance.StudyInstanceUID, instance.SeriesInstanceUID = unique("study"), unique("series")
    instance.Modality, instance.PatientID, instance.PatientName = "ECG", recording.subject, ""
    instance.AcquisitionDateTime, instance.InstanceNumber = "20000101000000", "1"
    channel = Dataset()
    channel.ChannelSourceSequence = [_code(*_LEAD_II)]
    channel.ChannelSensitivity = 1 / STEPS_PER_MV
    channel.ChannelSensitivityUnitsSequence = [_code(*_MILLIVOLT)]
    channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline = 1, 0
    channel.WaveformBitsStored = 16
    group = Dataset()
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = 1, len(digital)
    group.SamplingFrequency = recording.sampling_rate_hz
    group.ChannelDefinitionSequence = [channel]
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.add_new("WaveformData", "OW", digital.tobytes())
    instance.WaveformSequence = [group]
    return instance


def _code(value: str, scheme: str, meaning: str) -> Any:  # noqa: ANN401 - pydicom.Dataset
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
