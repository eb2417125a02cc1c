"""How numbers are written for people: on the report's page, on the model card and in the tables of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base.records import Interval

if TYPE_CHECKING:
    from ecm_edge.base.records import Latency

NONE = "–"
"""Stands where there is no number."""

KIB = 1024
_PARITY_DECIMALS = {"acc": 4, "nse": 6, "cos": 6}


def number(value: float | None, digits: int = 4) -> str:
    """Significant digits, with commas between thousands; a value of more digits is written as a whole number.

    >>> number(165526.0), number(3.7252e-9), number(0.58363, 3), number(-12.0), number(None)
    ('165,526', '3.725e-09', '0.584', '-12', '–')
    """
    if value is None:
        return NONE
    too_long = abs(value) >= 10.0**digits - 0.5  # where `g` would turn to powers of ten
    return f"{value:,.0f}" if too_long else f"{value:,.{digits}g}"


def whole(value: int | None) -> str:
    """A whole number, with commas between thousands.

    >>> whole(50000), whole(None)
    ('50,000', '–')
    """
    return NONE if value is None else f"{value:,}"


def counted(count: int, one: str, several: str = "") -> str:
    """A number of things.

    >>> counted(1, "entry", "entries"), counted(1000, "entry", "entries"), counted(0, "file")
    ('1 entry', '1,000 entries', '0 files')
    """
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def fixed(value: float | None, decimals: int) -> str:
    """A value with that many decimals.

    >>> fixed(0.99999912, 6), fixed(None, 6)
    ('0.999999', '–')
    """
    return NONE if value is None else f"{value:.{decimals}f}"


def ratio(value: float | None) -> str:
    """A share of one, or a change of one, with three decimals."""
    return fixed(value, 3)


def point(figure: Interval | None) -> str:
    """The value of a figure, without its interval."""
    return ratio(figure.value if figure else None)


def ends(figure: Interval | None) -> str:
    """The ends of a figure's 95 % interval, or that it has none."""
    if figure is None or figure.low is None or figure.high is None:
        return "no interval"
    return f"{figure.low:.3f} … {figure.high:.3f}"


def figure(value: Interval | float | None) -> str:
    """A ratio; of an `Interval` with its ends behind it.

    >>> figure(Interval(value=0.9, low=0.8, high=0.95)), figure(Interval(value=0.9)), figure(0.5), figure(None)
    ('0.900 (0.800 … 0.950)', '0.900 (no interval)', '0.500', '–')
    """
    return f"{point(value)} ({ends(value)})" if isinstance(value, Interval) else ratio(value)


def percent(share: float) -> str:
    """A share of one as percent: without decimals, or with one below 10 %.

    >>> percent(0.632), percent(0.0626)
    ('63 %', '6.3 %')
    """
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"  # noqa: PLR2004 - one more digit below


def quantity(value: float | None, unit: str) -> str:
    """A value with its unit: bytes from 1 KiB on as KiB; a value without a unit has six digits.

    >>> quantity(2048.0, "B"), quantity(-360.0, "B"), quantity(4.3037, "ms"), quantity(0.99999, "")
    ('2.0 KiB', '-360 B', '4.304 ms', '0.99999')
    """
    if value is None:
        return NONE
    if unit == "B" and abs(value) >= KIB:
        return f"{value / KIB:,.1f} KiB"
    return f"{number(value)} {unit}" if unit else number(value, 6)


def margin(value: float | None, unit: str) -> str:
    """How far inside (+) or outside (-) of its limit a value lies.

    >>> margin(2048.0, "B"), margin(-0.5, ""), margin(0.0, "ms")
    ('+2.0 KiB', '-0.5', '0 ms')
    """
    written = quantity(value, unit) if unit else number(value)
    return f"+{written}" if value is not None and value > 0 else written


def latency(time: Latency) -> str:
    """The mean in milliseconds, and from where to where it may lie.

    >>> from ecm_edge.base.records import Latency
    >>> latency(Latency(evidence="estimated", source="a model", mean_ms=0.76529, low_ms=0.4719, high_ms=0.9308))
    '0.7653 ms (0.4719 … 0.9308)'
    """
    if time.low_ms is None or time.high_ms is None:
        return quantity(time.mean_ms, "ms")
    return f"{quantity(time.mean_ms, 'ms')} ({number(time.low_ms)} … {number(time.high_ms)})"


def parity(value: float | None, name: str) -> str:
    """A figure of parity: with decimals where 1 is the best, with three digits where 0 is.

    >>> parity(0.9999991, "cos"), parity(3.7252e-9, "max_abs")
    ('0.999999', '3.73e-09')
    """
    return fixed(value, _PARITY_DECIMALS[name]) if name in _PARITY_DECIMALS else number(value, 3)


def clock(seconds: float, decimals: int = 1) -> str:
    """A duration, or a time from the start of a recording, as hours, minutes and seconds.

    >>> clock(3723.26), clock(59.97), clock(0, decimals=0), clock(90000, decimals=0)
    ('1:02:03.3', '0:01:00.0', '0:00:00', '25:00:00')
    """
    ticks = round(seconds * 10**decimals)
    whole, rest = divmod(ticks, 10**decimals)
    fraction = f".{rest:0{decimals}d}" if decimals else ""
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}{fraction}"


def setting(value: bool | float | str | None) -> str:  # noqa: FBT001 - whatever a configuration holds
    """A value of a configuration.

    >>> setting(True), setting(0.0020674182), setting("mean_max"), setting(250000), setting(None)
    ('yes', '0.00206742', 'mean_max', '250,000', 'none')
    """
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "none"}[value]
    return value if isinstance(value, str) else number(value, 6)


def with_positives(count: int, positive: int | None, label: str = "AF") -> str:
    """The subjects behind a mean Fβ: those without a positive segment have Fβ = 1 by rule.

    >>> with_positives(53, 31), with_positives(1, 0), with_positives(8226, None)
    ('53 subjects, 31 with AF', '1 subject, 0 with AF', '8,226 subjects')
    """
    counted = f"{count:,} subject{'' if count == 1 else 's'}"
    return counted if positive is None else f"{counted}, {positive:,} with {label}"


def subjects(count: int, part: str) -> str:
    """The subjects that were scored: how many, and of which part of the data.

    >>> subjects(1, "test"), subjects(6, "out_of_fold"), subjects(8226, "all")
    ('1 test subject', 'all 6 subjects, out of fold', 'all 8,226 subjects')
    """
    noun = f"subject{'' if count == 1 else 's'}"
    if part in {"all", "out_of_fold"}:
        return f"all {count:,} {noun}{', out of fold' if part == 'out_of_fold' else ''}"
    return f"{count:,} {part} {noun}"
