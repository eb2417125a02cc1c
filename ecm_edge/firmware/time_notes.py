"""Why the estimated times are as they are, in a sentence each: int8 that is slower, and intervals that are lopsided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base.numbers import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ecm_edge.firmware.fit_records import FormFit

_LOPSIDED = 3.0  # one side of an interval so many times as long as the other


def time_notes(forms: Sequence[FormFit]) -> list[str]:
    """The sentences for the images of one board; none where nothing needs a word."""
    return [*slower(forms), *_lopsided(forms)]


def slower(forms: Sequence[FormFit]) -> Iterator[str]:
    """That int8 takes longer than float32 by the estimate, and why; nothing where it does not."""
    by_form = {fit.form: fit for fit in forms}
    plain, small = by_form.get("float32"), by_form.get("int8")
    if plain is None or small is None or small.latency_ms.mean_ms <= plain.latency_ms.mean_ms:
        return
    counts = (small.instructions_per_mac, plain.instructions_per_mac)
    against = "" if None in counts else f" ({counts[0]:.2f} instructions a MAC against {counts[1]:.2f})"
    yield (
        f"int8 is slower than float32 on this core{against}: bytes have to be unpacked, and each sum scaled back to "
        "eight bits, by instructions that float32 does not need"
    )


def _lopsided(every: Sequence[FormFit]) -> Iterator[str]:
    forms = [fit for fit in every if _is_lopsided(fit)]
    if not forms:
        return
    of = " and ".join(fit.form for fit in forms)
    time = forms[-1].latency_ms
    yield (
        f"the interval of {of} is lopsided: the estimate lets instructions wait for the results before them, as the "
        f"core does, and its lower end ({number(time.low_ms)} ms for {forms[-1].form}) is a core that never waits"
    )


def _is_lopsided(fit: FormFit) -> bool:
    time = fit.latency_ms
    if time.low_ms is None or time.high_ms is None:
        return False
    return time.mean_ms - time.low_ms > _LOPSIDED * (time.high_ms - time.mean_ms)
