"""DFT and STFT as products with constant matrices; MelWeightMatrix, a constant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.forms.model_rules import bounded

if TYPE_CHECKING:
    from ecm_edge.forms.reference.rewriting.site import Rule, Site

_AXIS_AS_INPUT = 20  # the operator set in which DFT's axis became an input


def dft(site: Site) -> None:
    """DFT along an axis, of real or complex values (the last axis), forward or inverse, of one side or of both."""
    shape, length = site.shape(site.input(0)), site.value(1, "a length")
    axis = site.attribute("axis", 1)
    if site.version >= _AXIS_AS_INPUT:
        given = site.value(2, "an axis")
        axis = -2 if given is None else int(given.item())
    axis %= len(shape)
    one_sided, inverse = bool(site.attribute("onesided", 0)), bool(site.attribute("inverse", 0))
    usual = 2 * (shape[axis] - 1) if inverse and one_sided else shape[axis]
    count = usual if length is None else int(length.item())
    matrix = _matrix(shape[axis], shape[-1], count, inverse=inverse, one_sided=one_sided)
    order = [*(each for each in range(len(shape) - 1) if each != axis), axis, len(shape) - 1]
    moved = site.add("Transpose", site.input(0), perm=order)
    outer = [shape[each] for each in order[:-2]]
    rows = site.add("Reshape", moved, site.constant([*outer, len(matrix)], np.int64))
    parts = 1 if inverse and one_sided else 2
    y = site.add("MatMul", rows, site.constant(matrix))
    y = site.add("Reshape", y, site.constant([*outer, matrix.shape[1] // parts, parts], np.int64))
    site.add("Transpose", y, output=site.output(0), perm=[order.index(each) for each in range(len(shape))])


def _matrix(samples: int, parts: int, count: int, *, inverse: bool, one_sided: bool) -> np.ndarray:
    """(samples * parts, results * parts of each): what each real or imaginary part adds to those of the results.

    Args:
        samples: given along the axis; beyond `count` they are left out.
        parts: 1 for real values, 2 for complex ones.
        count: length of the transform.
        inverse: back from frequencies, by 1 / count.
        one_sided: forward half of the results; back real results of half of the frequencies.
    """
    bounded([count, samples])
    results = count // 2 + 1 if one_sided and not inverse else count
    bounded([samples * parts, results * 2])
    times = np.arange(samples)[:, None] * np.arange(results) % max(count, 1)
    turn = np.exp((2j if inverse else -2j) * np.pi * times / count)
    turn[count:] = 0
    if inverse:
        turn /= count
    if inverse and one_sided:
        return _real_results(turn, count).reshape(samples * parts, results)
    whole = np.stack([turn, 1j * turn][:parts], axis=1)  # (samples, parts, results)
    return np.stack([whole.real, whole.imag], axis=-1).reshape(samples * parts, results * 2)


def _real_results(turn: np.ndarray, count: int) -> np.ndarray:
    """(frequencies, 2, results): with its mirror, which the first and, of an even count, the middle one have not."""
    numbers = np.arange(len(turn))
    twice = np.where((numbers == 0) | (2 * numbers == count), 1, 2) * (numbers <= count // 2)
    return np.asarray(np.stack([turn.real, -turn.imag], axis=1) * twice[:, None, None])


def stft(site: Site) -> None:
    """STFT: the DFT of every frame, weighted by a window."""
    shape, step = site.shape(site.input(0)), int(site.needed(1, "a step").item())
    window, length = site.value(2, "a window"), site.value(3, "a length")
    size = int(length.item()) if length is not None else len(window) if window is not None else shape[1]
    if step < 1 or not 1 <= size <= shape[1]:
        raise site.refused("frames lie within the signal", f"frames of {size} every {step} of {shape[1]} samples")
    starts = np.arange(0, shape[1] - size + 1, step)
    parts = shape[2] if len(shape) > 2 else 1  # noqa: PLR2004 - a real signal may have no axis of parts
    one_sided = bool(site.attribute("onesided", 1))
    matrix = _matrix(size, parts, size, inverse=False, one_sided=one_sided)
    if window is not None:
        matrix = matrix * np.repeat(window.astype(np.float64), parts)[:, None]
    bounded([shape[0], len(starts), len(matrix)])
    signal = site.add("Reshape", site.input(0), site.constant([shape[0], shape[1], parts], np.int64))
    places = site.constant(starts[:, None] + np.arange(size), np.int64)
    frames = site.add("Gather", signal, places, axis=1)
    rows = site.add("Reshape", frames, site.constant([shape[0], len(starts), len(matrix)], np.int64))
    y = site.add("MatMul", rows, site.constant(matrix))
    whole = [shape[0], len(starts), matrix.shape[1] // 2, 2]
    site.add("Reshape", y, site.constant(whole, np.int64), output=site.output(0))


def mel_weights(site: Site) -> None:
    """MelWeightMatrix: triangles over the bins of a spectrum, equally wide in mel."""
    bins, length, rate, low, high = (site.needed(i, "a size").item() for i in range(5))
    spectrum = int(length) // 2 + 1
    bounded([spectrum, bins])
    first, last = (2595 * np.log10(1 + edge / 700) for edge in (low, high))
    mels = first + (last - first) / (int(bins) + 2) * np.arange(int(bins) + 2)  # the last edge is not reached
    edges = ((int(length) + 1) * 700 * (10 ** (mels / 2595) - 1) // rate).astype(np.int64)
    weights = np.zeros((spectrum, int(bins)))
    for column, (left, middle, right) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        rising = np.arange(left, middle + 1)
        weights[rising, column] = (rising - left) / max(middle - left, 1) if middle > left else 1
        falling = np.arange(middle, right)
        weights[falling, column] = (right - falling) / max(right - middle, 1)
    to = site.attribute("output_datatype", 1)
    site.add("Cast", site.constant(weights), output=site.output(0), to=to)


RULES: dict[str, Rule] = {"DFT": dft, "MelWeightMatrix": mel_weights, "STFT": stft}
