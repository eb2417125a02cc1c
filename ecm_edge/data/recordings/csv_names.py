"""What the names of columns and of facts say: a lead, a time, a count of lines, and the unit behind the name."""

from __future__ import annotations

import re

from ecm_edge.data.recordings.units import voltage

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
"""Seconds for each unit of a time that is a number."""
_TIME_UNITS = {"sec": "s", "secs": "s", "second": "s", "seconds": "s", "msec": "ms", "millis": "ms", "µs": "us"}
_UNIT = r"(?:[\s_]*[\[(]\s*([^\[\]()]*?)\s*[\])]|[\s_/]+([uµμm]v|ms|us|ns|s|sec|seconds))\s*$"
_TIME = re.compile(
    r"time|elapsed|clock|epoch|millis|^date|^t$|^(m|u|n)?s(ec(ond)?s?)?$"
    r"|zeit|^datum|^temps|^heure|^tiempo|^hora|^fecha|^tempo",
    re.IGNORECASE,
)
_COUNTER = re.compile(
    r"^(|#|n|no|nr|index|id|frame|count(er)?|seq(uence)?|unnamed: 0|samples?(\W*(no|nr|num(ber)?|index|id))?\W*)$",
    re.IGNORECASE,
)


def bare(name: str) -> str:
    """A name without its unit, and without "Lead" or "ECG" in front.

    >>> bare("ecg [uV]"), bare("ECG lead II"), bare("timestamp_ms"), bare("aVR (right)")
    ('ecg', 'II', 'timestamp', 'aVR (right)')
    """
    found = re.search(_UNIT, name, re.IGNORECASE)
    known = found and (voltage(found[1] or found[2] or "") or time_unit(found[1] or found[2] or ""))
    text = name[: found.start()] if found and known else name
    return re.sub(r"^((lead|ecg|ekg)[\s_]+)+(?=\w)", "", text.strip(), flags=re.IGNORECASE) or name


def unit_of(name: str) -> str:
    """The unit behind a name, as it is written there; "" if there is none.

    >>> unit_of("ecg [uV]"), unit_of("ecg_mV"), unit_of("Lead V"), unit_of("ecg (adu)")
    ('uV', 'mV', '', 'adu')
    """
    found = re.search(_UNIT, name, re.IGNORECASE)
    return (found[1] or found[2] or "") if found else ""


def time_unit(text: str) -> str | None:
    """The key of `SECONDS` for a unit as people write it; None if it is none.

    >>> time_unit("ms"), time_unit("Seconds"), time_unit("mV")
    ('ms', 's', None)
    """
    word = text.strip().casefold().replace("μ", "µ")
    word = _TIME_UNITS.get(word, word)
    return word if word in SECONDS else None


def is_time(name: str) -> bool:
    """Whether a column of this name holds times.

    >>> [is_time(name) for name in ("t", "sensor timestamp [ns]", "Elapsed time", "Zeit [s]", "ecg", "V1")]
    [True, True, True, True, False, False]
    """
    return bool(_TIME.search(bare(name)))


def is_counter(name: str) -> bool:
    """Whether a column of this name counts lines.

    >>> [is_counter(name) for name in ("", "sample #", "Index", "II")]
    [True, True, True, False]
    """
    return bool(_COUNTER.match(name))


def sampling_rate_hz(text: str) -> float | None:
    """The rate in Hz that a fact states; None if it is not a rate.

    >>> sampling_rate_hz("512 hertz"), sampling_rate_hz("0.5 kHz"), sampling_rate_hz("fast")
    (512.0, 500.0, None)
    """
    found = re.fullmatch(
        r"(\d+(?:[.,]\d+)?)\s*(k?)(?:hz|hertz|sps|samples?\s*(?:/|per)\s*s(?:ec(?:ond)?)?)?",
        text.strip(),
        re.IGNORECASE,
    )
    rate_hz = float(found[1].replace(",", ".")) * (1000.0 if found[2] else 1.0) if found else 0.0
    return rate_hz or None


_FACTS = {
    "rate": re.compile(r"(sampl\w*[ _-]*(rate|freq\w*|per s(ec(ond)?)?)|fs)[ _]*[\[(]?(hz)?[\])]?$", re.IGNORECASE),
    "unit": re.compile(r"units?$", re.IGNORECASE),
    "lead": re.compile(r"(lead|channel)$", re.IGNORECASE),
}


_INTERVAL = re.compile(r"(?:sampl\w*[ _-]*(?:interval|period)|dt)[ _]*[\[(]?([a-zµμ]*)[\])]?$", re.IGNORECASE)
_TIME_STEP = re.compile(r"(\d*[.,]?\d+(?:e-?\d+)?)\s*([a-zµμ]*)", re.IGNORECASE)


def fact(line: str) -> tuple[str, str] | None:
    """What a line before the samples states: ("rate", "unit" or "lead", its value); None if it states none of them.

    >>> fact("Sample Rate,512 hertz"), fact("# unit: uV"), fact("Rate,72 bpm")
    (('rate', '512 hertz'), ('unit', 'uV'), None)
    >>> fact("Sampling interval (ms): 2"), fact("dt = 0.004 s")
    (('rate', '500 Hz'), ('rate', '250 Hz'))
    """
    parts = re.split(r"[,;:=\t]", line.strip(" \t#%/\"'"), maxsplit=1)
    if len(parts) == 1:
        return None
    key, value = (part.strip(" \t\"'") for part in parts)
    interval, step = _INTERVAL.match(key), _TIME_STEP.fullmatch(value)
    unit = interval and step and time_unit(step[2] or interval[1])
    if interval and step and unit and (step_s := float(step[1].replace(",", ".")) * SECONDS[unit]):
        return "rate", f"{1 / step_s:.12g} Hz"
    return next(((name, value) for name, pattern in _FACTS.items() if pattern.match(key) and value), None)
