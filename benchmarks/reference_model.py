"""The tables of the models that ship, from the records of the entries in data/reference/."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks import counts
from ecm_edge.base.numbers import KIB, with_positives
from ecm_edge.registry import registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ecm_edge.base.records import Form

BOARD, OTHER_BOARD = counts.BOARDS
FORM: Form = "float32"
DISTURBED = ("motion, 1 σ", "in-band noise, 0.5 σ")
BROAD_MS = 150


def table() -> str:
    """The table as Markdown."""
    lines = [f"| {FORM}, `{BOARD}` | value | evidence |", "|---|---|---|"]
    entry = counts.incumbent(BOARD)
    rows = [
        *_accuracy(entry),
        *_elsewhere(entry),
        *_robustness(entry),
        *_smaller(counts.incumbent(OTHER_BOARD)),
        *_cost(entry),
        *_proof(entry),
        *_decision(),
    ]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows)])


def summary() -> str:
    """The few figures of README.md, a column for each board."""
    columns = [_column(board) for board in counts.BOARDS]
    titles = "".join(f" `{board}` |" for board in counts.BOARDS)
    lines = [f"| the model that ships, {FORM} |{titles} evidence |", "|---|---|---|---|"]
    for cells in zip(*columns, strict=True):
        (what, _, evidence), values = cells[0], [value for _, value, _ in cells]
        assert all((name, kind) == (what, evidence) for name, _, kind in cells)
        lines.append(f"| {' | '.join([what, *values, evidence])} |")
    return "\n".join(lines)


def _column(board: str) -> list[tuple[str, str, str]]:
    """Each line's title, its figure for a board, and where that comes from."""
    entry = counts.incumbent(board)
    scores = _record(entry, "score")["scores"]
    (ours,) = (form for form in _record(entry, "firmware")["forms"] if form["form"] == FORM)
    latency = ours["latency_ms"]
    low, mean, high = (f"{latency[f'{name}_ms']:.2f}" for name in ("low", "mean", "high"))
    hops = {hop["name"].replace(board, "board"): hop["parity"] for hop in _record(entry, "verify")["hops"]}
    here, there = hops[f"{FORM}: reference→C"], hops[f"{FORM}: C→board (emulated)"]
    flips = f"{here['label_flips']} of {here['segments']:,}; {there['label_flips']} of {there['segments']:,}"
    (other,) = _other_sources(entry)
    return [
        (f"mean Fβ, {scores['subjects']} subjects of the contest", _interval(scores["fbeta_mean"]), "out of fold"),
        ("specificity, the same subjects", _interval(scores["specificity"]), "out of fold"),
        (
            f"specificity, {other['subjects']:,} subjects of another recorder",
            _interval(other["specificity"]),
            "out of fold",
        ),
        ("flash, RAM", ", ".join(f"{ours[name] / KIB:.1f} KiB" for name in ("flash_bytes", "ram_bytes")), "measured"),
        ("latency of one inference", f"{mean} ms ({low} … {high})", "estimated"),
        ("labels in which the C differs: on this host; on the emulated board", flips, "`verify`"),
    ]


def _record(entry: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((entry / f"{name}.json").read_text(encoding="utf-8"))
    return content


def _accuracy(entry: Path) -> Iterator[tuple[str, str, str]]:
    record = _record(entry, "score")
    assert (record["form"], record["part"]) == (FORM, "out_of_fold")
    scores = record["scores"]
    named = ("specificity", "specificity"), ("f1", "F1"), ("recall", "sensitivity")
    positive = sum(subject["tp"] + subject["fn"] > 0 for subject in scores["by_subject"])
    false_alarms = [
        f"{each['rhythm']} {each.get('called_positive', each.get('called_af')):,} of {each['segments']:,}"
        for each in scores["by_rhythm"]
        if each["label"] == 0
    ]
    yield f"mean Fβ over {with_positives(scores['subjects'], positive)}", _interval(scores["fbeta_mean"]), "out of fold"
    yield f"G, subjects above {scores['good_subject_above']}", _interval(scores["g"]), "out of fold"
    for field, title in named:
        yield title, _interval(scores[field]), "out of fold"
    yield "called AF, of segments without", ", ".join(false_alarms), "out of fold"
    yield (
        f"the board's score, of {record['board']['board_score']['most']:g}",
        f"{record['board']['board_score']['total']:.1f}",
        "from these and the estimated latency",
    )


def _elsewhere(entry: Path) -> Iterator[tuple[str, str, str]]:
    for source in _other_sources(entry):
        figures = f"{_interval(source['recall'])} / {_interval(source['specificity'])}"
        yield f"{source['source']}, {source['subjects']:,} subjects: sensitivity / specificity", figures, "out of fold"


def _other_sources(entry: Path) -> list[dict[str, Any]]:
    """The figures of the sources that score.json is not of."""
    claimed = _record(entry, "score")["sources"]
    return [each for each in _record(entry, "folds")["scores"]["by_source"] if each["source"] not in claimed]


def _robustness(entry: Path) -> Iterator[tuple[str, str, str]]:
    record = _record(entry, "robustness")
    (claimed,) = _record(entry, "score")["sources"]
    for row in record["rows"]:
        if row["name"] in DISTURBED:
            (own,) = (each for each in row["by_source"] if each["source"] == claimed)
            yield f"mean Fβ changes by, {row['name']}", _interval(own["fbeta_change"]), "out of fold"
    for row in record["broadened"]["rows"]:
        if row["width_ms"] == BROAD_MS:
            name = f"regular sinus rhythm of {row['source']} with a QRS of {BROAD_MS} ms, called AF"
            yield name, _interval(row["called_positive"]), "out of fold"


def _smaller(entry: Path) -> Iterator[tuple[str, str, str]]:
    """The network within the budget of the other board, in one line a source."""
    scores = _record(entry, "score")["scores"]
    figures = " / ".join(f"{scores[name]['value']:.3f}" for name in ("fbeta_mean", "g", "f1"))
    macs = _record(entry, "firmware")["forms"][0]["macs"]
    yield f"the network of `{OTHER_BOARD}`, {macs:,} MACs: mean Fβ / G / F1", figures, "out of fold"
    for name, value, evidence in _elsewhere(entry):
        yield f"the same, {name}", value, evidence


def _cost(entry: Path) -> Iterator[tuple[str, str, str]]:
    forms = {form["form"]: form for form in _record(entry, "firmware")["forms"]}
    ours, latency = forms[FORM], forms[FORM]["latency_ms"]
    known = counts.load()
    per_board = [
        ", ".join(
            f"{form} {known.of(counts.incumbent(board).name, board, form).instructions:,}" for form in (FORM, "int8")
        )
        for board in (BOARD, OTHER_BOARD)
    ]
    yield "MACs, parameters", f"{ours['macs']:,}, {ours['parameters']:,}", "counted in the graph"
    yield "instructions of one inference", per_board[0], "counted in the emulator"
    yield f"the same on `{OTHER_BOARD}`", per_board[1], "counted in the emulator"
    yield (
        "latency",
        f"{latency['mean_ms']:.2f} ms ({latency['low_ms']:.2f} … {latency['high_ms']:.2f})",
        f"{latency['evidence']}; no board was measured",
    )
    sizes = ", ".join(f"{ours[name] / KIB:.1f} KiB" for name in ("flash_bytes", "ram_bytes"))
    yield "image, RAM", sizes, "measured on the linked image"


def _proof(entry: Path) -> Iterator[tuple[str, str, str]]:
    hops = {hop["name"].replace(f"{BOARD} (emulated)", "board"): hop for hop in _record(entry, "verify")["hops"]}
    here, int8 = hops[f"{FORM}: reference→C"], hops["int8: reference→C"]
    board, other = hops[f"{FORM}: C→board"], hops["int8: reference→onnxruntime"]
    assert here["parity"]["segments"] == int8["parity"]["segments"] == other["parity"]["segments"]
    yield (
        f"C against the reference, {here['parity']['segments']:,} segments",
        f"{here['parity']['label_flips']} labels differ; int8 scores by {int8['parity']['max_abs']:g}",
        "on the host",
    )
    yield (
        f"the same C on the emulated board, {board['parity']['segments']} segments",
        f"scores differ by {board['parity']['max_abs']:g} at most",
        "emulated",
    )
    yield (
        "onnxruntime against the int8 reference",
        f"{other['parity']['label_flips']} labels differ; scores by at most {other['score_max_lsb']} LSB",
        "on the host",
    )


def _decision() -> Iterator[tuple[str, str, str]]:
    for board in counts.BOARDS:
        event = registry.incumbent(counts.SHELVES / board)
        assert event is not None
        assert event.entry is not None
        yield (
            f"promoted on `{board}` over {event.replaces or 'none'}",
            event.reason,
            f"`history`, {event.date_utc[:10]}",
        )


def _interval(figure: dict[str, float]) -> str:
    return f"{figure['value']:.3f} ({figure['low']:.3f} … {figure['high']:.3f})"
