"""How numbers are written on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecm_edge.base.records import Interval

NONE = "–"
_KIB = 1024.0
_TINY = 1e-3
_DECIMALS = {"acc": 4, "nse": 6, "cos": 6}


def number(value: float | None, digits: int = 4) -> str:
    """Significant digits, thousands set apart, powers of ten only for the very small; a dash for what is absent.

    >>> number(165526.0), number(3.72e-9, 3), number(0.58363), number(0.0), number(-12.0), number(None)
    ('165,526', '3.7e-09', '0.5836', '0', '−12', '–')
    """
    if value is None:
        return NONE
    size = abs(value)
    if size >= 10.0**digits - 0.5:  # where `g` would turn to powers of ten
        text = f"{size:,.0f}"
    elif size and size < _TINY:
        text = f"{size:.{digits - 1}g}"
    else:
        text = f"{size:,.{digits}g}"
    return f"−{text}" if value < 0 else text


def ratio(value: float | None) -> str:
    """Three decimals: 0.900."""
    return NONE if value is None else f"{value:.3f}"


def point(figure: Interval | None) -> str:
    """The figure itself, without its interval."""
    return ratio(figure.value if figure else None)


def ends(figure: Interval | None) -> str:
    """The ends of a 95 % interval, or that there is none."""
    if figure is None or figure.low is None or figure.high is None:
        return "no interval"
    return f"{figure.low:.3f} … {figure.high:.3f}"


def subjects(count: int, part: str) -> str:
    """Whom a score speaks of.

    >>> subjects(3, "test"), subjects(6, "out_of_fold")
    ('3 test subjects', 'all 6 subjects, out of fold')
    """
    return f"all {count} subjects, out of fold" if part == "out_of_fold" else f"{count} {part} subjects"


def percent(share: float) -> str:
    """A share of one as percent without decimals, with one below 10 %.

    >>> percent(0.632), percent(0.0626)
    ('63 %', '6.3 %')
    """
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"  # noqa: PLR2004 - one more digit below


def quantity(value: float | None, unit: str) -> str:
    """A value with its unit; bytes as KiB from 1 KiB on, truth as a word, and a bare number with two digits more.

    >>> quantity(2048.0, "B"), quantity(-360.0, "B"), quantity(4.3037, "ms"), quantity(0.99999, "")
    ('2.0 KiB', '−360 B', '4.304 ms', '0.99999')
    """
    if value is None:
        return NONE
    if unit == "bool":
        return "yes" if value else "no"
    if unit == "B" and abs(value) >= _KIB:
        return f"{value / _KIB:,.1f} KiB".replace("-", "−")
    return f"{number(value)} {unit}" if unit else number(value, 6)


def setting(value: bool | float | str) -> str:  # noqa: FBT001 - whatever a configuration holds
    """A value of a configuration.

    >>> setting(True), setting(0.0020674182), setting("mean_max"), setting(250000)
    ('yes', '0.002067', 'mean_max', '250,000')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else number(value)


def agreement(value: float | None, name: str) -> str:
    """A figure of parity: decimals for those that are 1 at best, three digits for those that are 0 at best.

    >>> agreement(0.9999991, "cos"), agreement(3.725e-9, "max_abs")
    ('0.999999', '3.7e-09')
    """
    if value is None or name not in _DECIMALS:
        return number(value, 3)
    return f"{value:.{_DECIMALS[name]}f}".replace("-", "−")


def signed(value: float | None, unit: str) -> str:
    """A margin: how far inside (+) or outside (−) of the limit."""
    if value is None or unit == "bool":
        return NONE
    text = quantity(value, unit) if unit else number(value)
    return f"+{text}" if value > 0 else text
