"""Units of a sample: how people write them, and the factor of each to mV."""

from __future__ import annotations

import re

from ecm_edge.data.recordings.windows import Unfit

MILLIVOLTS = {"V": 1e3, "mV": 1.0, "uV": 1e-3, "nV": 1e-6}
"""Factors to mV."""

_VOLTAGE = "[uµμmn]?v|(?:micro|milli|nano)?volts?"  # the sign of micro and the Greek letter


def voltage(text: str) -> str | None:
    """The key of `MILLIVOLTS` for a unit as people write it; None if it is no voltage.

    >>> voltage("µV"), voltage("millivolts"), voltage("MV"), voltage("adu")
    ('uV', 'mV', 'mV', None)
    """
    word = text.strip().casefold()
    if not re.fullmatch(_VOLTAGE, word):
        return None
    word = re.sub("^micro|^[µμ]", "u", re.sub("volts?$", "v", word))
    return re.sub("^milli", "m", re.sub("^nano", "n", word))[:-1] + "V"


def to_millivolts(unit: str) -> float:
    """The factor from a unit, as people write it, to mV; one that is not a voltage is `Unfit`."""
    known = voltage(unit)
    if known is None:
        raise Unfit(f"the unit is {unit!r}; it must be one of {', '.join(MILLIVOLTS)}")
    return MILLIVOLTS[known]
