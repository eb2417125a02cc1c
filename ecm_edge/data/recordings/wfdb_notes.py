"""Rhythm notes of WFDB annotation files, as the format's manual (annot(5)) defines them.

They are read here because `wfdb.rdann` never ends on some damaged files, and takes 200 bytes of memory for each byte.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.data.recordings.windows import ROUNDED_S, Span, Unfit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

END = b"\0\0"
"""The last word of a file."""

_MAX_BYTES = 4_000_000  # two million beats

_SKIP, _TEXT, _LAST_KIND = 59, 63, 49  # between 49 and 59 nothing is defined; 60 to 62 belong to the note before
_RESOLUTION = re.compile(r"## time resolution: (\d{1,9}\.?\d{0,9})")


def rhythms(path: Path, rate_hz: float, duration_s: float) -> tuple[list[Span], list[str]]:
    """The rhythms of an annotation file in seconds, and what is to be told of them; else `Unfit`.

    Args:
        path: a regular file.
        rate_hz: what its times count in, if it does not say.
        duration_s: of the record, whose end is that of the last rhythm.
    """
    notes = list(_texts(_words(path)))
    stated = [float(found[1]) for _, text in notes if (found := _RESOLUTION.match(text))]
    rate_hz = next(filter(None, stated), rate_hz)
    begins = [(sample / rate_hz, text[1:]) for sample, text in notes if text.startswith("(")]
    onsets_s = [onset_s for onset_s, _ in begins]
    if not begins:
        raise Unfit("its notes have beats and no rhythm: give the rhythms as a table, --labels")
    if sorted(onsets_s) != onsets_s or onsets_s[0] < 0:
        raise Unfit("its notes are not in the order of time")
    if onsets_s[-1] > duration_s + ROUNDED_S:
        raise Unfit(f"truncated: {duration_s:.2f} s long, and a rhythm begins at {onsets_s[-1]:g} s")
    ends = zip(begins, [*onsets_s[1:], duration_s], strict=True)
    spans = [Span(onset_s, end_s, rhythm) for (onset_s, rhythm), end_s in ends if onset_s < end_s]
    twice = any(first == second for first, second in itertools.pairwise(onsets_s))
    return spans, ["two of its rhythm notes are at one sample: the last holds"] if twice else []


def _words(path: Path) -> list[int]:
    """The 16-bit words of the file."""
    if path.stat().st_size > _MAX_BYTES:
        raise Unfit(f"its notes are longer than {_MAX_BYTES} bytes")
    content = path.read_bytes()
    if len(content) % 2 or not content.endswith(END):
        raise Unfit("truncated: its notes do not end as they must")
    words: list[int] = np.frombuffer(content, "<u2").tolist()
    return words


def _texts(words: list[int]) -> Iterator[tuple[int, str]]:
    """(sample, text) of each note that has a text. A word is a kind in 6 bits and a number in 10."""
    sample = place = 0
    while place < len(words) - 1:
        kind, number = divmod(words[place], 1024)
        place += 1
        if kind == _SKIP:
            high, low = (*words[place : place + 2], 0, 0)[:2]
            sample += (high << 16 | low) - (high >> 15 << 32)
            place += 2
        elif kind == _TEXT:
            length = -(-number // 2)
            text = np.array(words[place : place + length], "<u2").tobytes()[:number]
            place += length
            yield sample, text.decode("latin-1").rstrip("\0").strip()
        elif kind <= _LAST_KIND:
            sample += number
    if place >= len(words):
        raise Unfit("truncated: its notes do not end as they must")
