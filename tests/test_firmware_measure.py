"""The host's side against boards that answer, are late, garble, or stop."""

import json
import re
import threading

import numpy as np
import pytest
import serial
from click.testing import CliRunner

from ecm_edge import targets
from ecm_edge.base.errors import DatasetError, FirmwareError, OutputError
from ecm_edge.base.records import Evidence
from ecm_edge.cli import measure as command
from ecm_edge.evaluate import exchange
from ecm_edge.evaluate import measure as m
from ecm_edge.evaluate.score import score_model
from ecm_edge.firmware import serve
from tests import firmware_toy as toy

QUICK = exchange.LineOptions(retries=2, timeout_s=0.3)
CONTEST = targets.load("loongson-2k0500")


@pytest.fixture
def few(dataset):
    """The names of two subjects: 24 segments."""
    return dataset.header.subjects[:2]


@pytest.fixture
def answers(tmp_path):
    return tmp_path / "answers.jsonl"


@pytest.fixture(autouse=True)
def _short_silence(monkeypatch):
    monkeypatch.setattr(exchange, "_SILENCE_S", 0.05)


def _good(_, samples):
    return toy.answer(samples)


def _lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


class Flood:
    """A line on which noise comes without a pause; its time-out is never below 0, as pyserial wants it."""

    in_waiting = 4096

    def write(self, frame):
        return len(frame)

    @property
    def timeout(self):
        return self.seconds

    @timeout.setter
    def timeout(self, seconds):
        if seconds < 0:
            raise ValueError(f"Not a valid timeout: {seconds}")
        self.seconds = seconds

    def read(self, count):
        return bytes(count)


@pytest.mark.parametrize("timeout_s", [0.0, 0.01])
def test_noise_without_a_pause_is_no_answer(timeout_s, monkeypatch):
    times = iter(np.arange(0, 9, 0.003))
    monkeypatch.setattr(exchange.time, "monotonic", lambda: float(next(times)))
    monkeypatch.setattr(exchange.protocol, "transfer_s", lambda _: 0.001)
    assert exchange._send(Flood(), b"frame", timeout_s, None) is None  # noqa: SLF001 - on a clock of its own


def test_the_score_is_that_of_the_model(dataset, few, answers, tmp_path):
    model = toy.model(tmp_path / "toy.onnx")
    with toy.fake_board(_good) as port:
        record = m.measure(port, dataset, answers, subjects=few, model=model, target=CONTEST, options=QUICK)
    expected = score_model(model, dataset, subjects=few, target=CONTEST).scores
    assert record.scores == expected.model_copy(update={"auc": None})
    assert (record.verdict, record.labels_differing) == ("PASS", [])
    assert (record.segments, record.retried, record.resumed) == (24, 0, 0)
    assert record.latency_ms.mean_ms == 0.5
    assert record.model_sha256
    assert len(_lines(answers)) == 25


def test_a_label_that_is_not_the_models_fails(dataset, few, answers, tmp_path):
    def board(number, samples):
        return toy.answer(-samples if number in {1, 3} else samples)

    with toy.fake_board(board) as port:
        record = m.measure(port, dataset, answers, subjects=few, model=toy.model(tmp_path / "toy.onnx"), options=QUICK)
        alone = m.measure(port, dataset, answers, subjects=few, resume=True, options=QUICK)
    rows = dataset.rows_of(few)
    assert record.verdict == "FAIL"
    assert record.labels_differing == [n for i, n in enumerate(dataset.names(rows)) if i in {1, 3}]
    assert (alone.verdict, alone.labels_differing) == ("NOT RUN", None)


def test_a_pseudo_terminal_is_never_called_measured_nor_scored_for_time(dataset, few, answers, tmp_path):
    image = tmp_path / "image"
    image.write_bytes(b"x" * 2048)
    with toy.fake_board(_good) as port:
        record = m.measure(port, dataset, answers, subjects=few, target=CONTEST, image=image, options=QUICK)
    assert record.latency_ms.evidence == Evidence.EMULATED
    assert record.emulator == "a pseudo-terminal"
    assert (record.image_bytes, record.board_score) == (2048, None)


def test_a_real_port_is_measured_and_scored(dataset, few, answers, tmp_path, monkeypatch):
    monkeypatch.setattr(serve, "is_pseudo_terminal", lambda _: False)
    image = tmp_path / "image"
    image.write_bytes(b"x" * 2048)
    with toy.fake_board(_good) as port:
        record = m.measure(port, dataset, answers, subjects=few, target=CONTEST, image=image, options=QUICK)
        said = m.measure(port, dataset, tmp_path / "b", subjects=few, target=CONTEST, image=image, emulated=True)
    assert record.latency_ms.evidence == Evidence.MEASURED
    terms = {term.name: term.value for term in record.board_score.terms}
    assert (terms["latency"], terms["size"]) == (0.5, 2)
    assert said.latency_ms.evidence == Evidence.EMULATED
    assert said.board_score is None


def test_late_missing_and_garbled_answers_are_asked_for_again(dataset, few, answers):
    def board(number, samples):
        good = toy.answer(samples)
        spoilt = {2: b"", 5: good[:5], 8: b"\x55\x55\xaa\x00", 11: toy.answer(samples, status=1), 14: good[1:]}
        noisy = {4: b"\x55\xaa\x03" + good, 7: b"\x00\xff" + good + b"\x11"}
        return spoilt.get(number, noisy.get(number, good))

    with toy.fake_board(board) as port:
        record = m.measure(port, dataset, answers, subjects=few, options=QUICK)
    rows = dataset.rows_of(few)
    given = {line["row"]: line["label"] for line in _lines(answers)[1:]}
    assert given == {row: toy.label(dataset.samples[row]) for row in rows.tolist()}
    assert record.retried == 5


def test_a_late_answer_is_not_taken_for_that_of_the_next_segment(dataset, few, answers, monkeypatch):
    """The first answer comes after the time-out, and so does a second one to the same segment."""
    monkeypatch.setattr(exchange, "_SILENCE_S", 0.3)
    held = []

    def board(number, samples):
        if number == 3:
            held.append(toy.answer(samples))
            return b""
        return held.pop() + toy.answer(samples) if held else toy.answer(samples)

    with toy.fake_board(board) as port:
        m.measure(port, dataset, answers, subjects=few, options=QUICK)
    given = [line["label"] for line in _lines(answers)[1:]]
    assert given == [toy.label(dataset.samples[row]) for row in dataset.rows_of(few)]


def test_a_board_that_stops_is_named_with_the_segment_and_resume_loses_nothing(dataset, few, answers):
    with toy.fake_board(lambda number, samples: None if number == 10 else toy.answer(samples)) as port:
        name = dataset.names(dataset.rows_of(few))[10]
        with pytest.raises(FirmwareError, match=rf"no answer to {re.escape(name)} .*3 attempts.*--resume"):
            m.measure(port, dataset, answers, subjects=few, options=QUICK)
    assert len(_lines(answers)) == 11
    asked = []
    with toy.fake_board(lambda number, samples: asked.append(number) or toy.answer(samples)) as port:
        record = m.measure(port, dataset, answers, subjects=few, resume=True, options=QUICK)
    assert (record.segments, record.resumed, len(asked)) == (24, 10, 14)
    assert [line["row"] for line in _lines(answers)[1:]] == dataset.rows_of(few).tolist()


def test_a_board_that_takes_no_bytes_in_the_middle_of_a_frame_is_an_error(dataset, few, answers):
    """Its buffer is full: the write itself does not end."""
    with toy.fake_board(lambda *_: None) as port, pytest.raises(FirmwareError, match="no answer to"):
        m.measure(port, dataset, answers, subjects=few, options=exchange.LineOptions(retries=3, timeout_s=0.2))


def test_a_line_cut_off_by_a_crash_is_asked_for_again(dataset, few, answers):
    with toy.fake_board(_good) as port:
        m.measure(port, dataset, answers, subjects=few, options=QUICK)
        answers.write_bytes(answers.read_bytes()[:-7])
        record = m.measure(port, dataset, answers, subjects=few, resume=True, options=QUICK)
    assert (record.segments, record.resumed) == (24, 23)
    assert len(_lines(answers)) == 25


def test_answers_of_another_board_or_data_set_are_refused(dataset, few, answers, monkeypatch):
    with toy.fake_board(_good) as port:
        m.measure(port, dataset, answers, subjects=few, options=QUICK)
        with pytest.raises(FirmwareError, match="exists"):
            m.measure(port, dataset, answers, subjects=few, options=QUICK)
        monkeypatch.setattr(serve, "is_pseudo_terminal", lambda _: False)
        with pytest.raises(FirmwareError, match="another emulator"):
            m.measure(port, dataset, answers, subjects=few, resume=True, options=QUICK)
    answers.write_text("{}\n")
    with pytest.raises(FirmwareError, match="one record a line"):
        m.measure(port, dataset, answers, subjects=few, resume=True, options=QUICK)


def test_a_score_that_is_not_finite_is_an_error(dataset, few, answers):
    def board(_, samples):
        return toy.answer(samples, status=2)

    with toy.fake_board(board) as port, pytest.raises(FirmwareError, match="SCORE_NOT_FINITE"):
        m.measure(port, dataset, answers, subjects=few, options=QUICK)


def test_a_port_that_is_not_there_or_in_use(dataset, few, answers, tmp_path):
    with pytest.raises(FirmwareError, match="can be opened"):
        m.measure(str(tmp_path / "none"), dataset, answers, subjects=few)
    with (
        toy.fake_board(_good) as port,
        serial.Serial(port, exclusive=True),
        pytest.raises(FirmwareError, match="no other program"),
    ):
        m.measure(port, dataset, answers, subjects=few)
    assert not answers.exists()


def test_subjects_and_places(dataset, answers, tmp_path):
    for subjects, error in (("test", "no candidate"), (["nobody"], "'nobody'"), ([], "labelled segment")):
        with pytest.raises(DatasetError, match=error):
            m.measure("none", dataset, answers, subjects=subjects)
    with toy.fake_board(_good) as port, pytest.raises(OutputError):
        m.measure(port, dataset, tmp_path / "no" / "answers.jsonl", subjects="all")


def test_the_command(dataset, few, tmp_path):
    with toy.fake_board(_good) as port:
        common = ["--port", port, "--data", str(dataset.folder), "--subjects", ",".join(few), "--target", CONTEST.name]
        shown = CliRunner().invoke(command.command, [*common, "-o", str(tmp_path / "a.jsonl")])
        emitted = CliRunner().invoke(command.command, [*common, "-o", str(tmp_path / "b.jsonl"), "--json"])
    assert shown.exit_code == 0, shown.output
    assert "24 segments of 2 subjects, 2 with AF; 0 sent again" in shown.output
    assert "emulated" in shown.output
    record = m.MeasureRecord.model_validate_json(emitted.output)
    assert record.scores.segments == 24


def test_nothing_is_left_running(dataset, few, answers):
    before = threading.active_count()
    with toy.fake_board(_good) as port:
        m.measure(port, dataset, answers, subjects=few, options=QUICK)
    assert threading.active_count() == before
    assert np.isfinite([line["latency_ms"] for line in _lines(answers)[1:]]).all()
