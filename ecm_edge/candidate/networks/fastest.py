"""Which way a long training runs its forward pass: timed once for each shape of a network, and remembered.

    plain       by the network's own modules
    eager       with the batch innermost, see `batch_last`
    compiled    the same, compiled

All of them compute the same within float32's rounding. Rounding adds up over a training, so that its weights depend on
the way. A short training always runs plain: nothing is timed, and a seed gives the same weights whatever else the
machine does. A long one is timed where its shape was not timed before; each later training of that shape runs the same
way. ECM_EDGE_FORWARD names the way for all trainings.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch

from ecm_edge.base import files, machine
from ecm_edge.base.errors import CandidateError, EcmEdgeError
from ecm_edge.base.progress import doing
from ecm_edge.base.records import Record
from ecm_edge.candidate.networks import batch_last

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    Function = Callable[[Tensor], Tensor]

Way = Literal["plain", "eager", "compiled"]
VARIABLE = "ECM_EDGE_FORWARD"

_WORTH_TIMING = 150_000  # passes of a segment; compiling takes as long as 100,000 of them
_GAIN = 0.9  # of the step of a simpler way; one that is not faster than that is not taken
_ROUNDS = 6
_LONGEST_S = 10.0  # of all rounds; two of them are always run
_FORMAT = 1  # of what is remembered; another one where the ways themselves change


@dataclass(frozen=True)
class Chosen:
    """The forward pass of a training: (N, 1, T) samples to scores, which way that is, and why."""

    forward: Function
    way: Way
    reason: str


class Timing(Record):
    """What was measured of one shape: the seconds of a step by way, and the way that was taken."""

    way: Way
    seconds: dict[Way, float]

    def told(self) -> str:
        """The milliseconds of a step by way."""
        return ", ".join(f"{way} {1000 * seconds:.1f} ms" for way, seconds in self.seconds.items())


_timed: dict[str, Timing] = {}


def choose(network: nn.Module, passes: int, shape: tuple[int, ...]) -> Chosen:
    """The forward pass that a training of so many passes runs.

    Args:
        network: in the mode in which it is to run; where it is timed its weights and statistics stay as they are.
        passes: how many segments it will be given in all.
        shape: (N, 1, T) of a batch.

    Raises:
        CandidateError: ECM_EDGE_FORWARD names no way.
    """
    ways, missing = _possible(network)
    named = wanted()
    if named is not None:
        reason = f"{VARIABLE}={named}{'' if named in ways else f', but {missing}'}"
        return forward_of(network, named if named in ways else "plain", reason)
    if len(ways) == 1:
        return forward_of(network, "plain", missing)
    if passes < _WORTH_TIMING:
        return forward_of(network, "plain", f"too short to be timed: below {_WORTH_TIMING:,} segment passes")
    return _fastest(network, ways, shape)


def wanted() -> Way | None:
    """The way that the user names, if any.

    Raises:
        CandidateError: ECM_EDGE_FORWARD names no way.
    """
    named = os.environ.get(VARIABLE) or None
    for way in get_args(Way):
        if named == way:
            return way  # type: ignore[no-any-return] # get_args does not know that these are ways
    if named is not None:
        raise CandidateError(f"{VARIABLE} is one of {', '.join(get_args(Way))}", repr(named), "Set it, or unset it.")
    return None


def _possible(network: nn.Module) -> tuple[tuple[Way, ...], str]:
    """The ways that this network can run here, the simplest first, and what is missing for the others."""
    if any(parameter.device.type != "cpu" for parameter in network.parameters()):
        return ("plain",), "the network does not lie on the CPU"
    if not batch_last.supports(network):
        return ("plain",), "the network has a module that is not known with the batch innermost"
    if not batch_last.can_compile():
        return ("plain", "eager"), "there is no C++ compiler (CXX, or g++)"
    return ("plain", "eager", "compiled"), ""


def forward_of(network: nn.Module, way: Way, reason: str) -> Chosen:
    """The forward pass of a network that runs this way, for this reason."""
    forward = network if way == "plain" else batch_last.training_forward(network, compiled=way == "compiled")
    return Chosen(forward, way, reason)


def _fastest(network: nn.Module, ways: Sequence[Way], shape: tuple[int, ...]) -> Chosen:
    """The way that was the fastest for this shape: remembered, or timed now."""
    key = _key(network, ways, shape)
    known = _timed.get(key) or remembered(key)
    if known is not None:
        _timed[key] = known
        return forward_of(network, known.way, f"timed before: {known.told()} a step")
    made = {way: forward_of(network, way, "") for way in ways}
    with doing("time a few steps of each way through the network"):
        seconds = step_seconds(network, made, shape)
    failed = [way for way in ways if way not in seconds]
    timing = _timed[key] = remembered(key) or Timing(way=_best(seconds), seconds=seconds)
    if not failed:  # a compiler that fails may be mended: other processes try it again
        _keep(key, timing)
    lost = f"; {', '.join(failed)} failed" if failed else ""
    return Chosen(made[timing.way].forward, timing.way, f"timed: {timing.told()} a step{lost}")


def _best(seconds: dict[Way, float]) -> Way:
    """The fastest way; a simpler one where the gain is small. `seconds` has the simplest first."""
    best: Way = "plain"
    for way, taken in seconds.items():
        if taken < _GAIN * seconds[best]:
            best = way
    return best


def step_seconds(network: nn.Module, made: dict[Way, Chosen], shape: tuple[int, ...]) -> dict[Way, float]:
    """The least seconds of a step by way, in turns, so that what else the machine does meets all of them."""
    with _as_it_was(network):
        samples = torch.randn(shape)
        for chosen in made.values():
            _step(network, chosen.forward, samples)  # this compiles
        made = {way: chosen for way, chosen in made.items() if way != "compiled" or _is_compiled(chosen.forward)}
        seconds: dict[Way, float] = {}
        begun = time.perf_counter()
        for round_ in range(_ROUNDS):
            if round_ > 1 and time.perf_counter() - begun > _LONGEST_S:
                break
            for way, chosen in made.items():
                started = time.perf_counter()
                _step(network, chosen.forward, samples)
                taken = time.perf_counter() - started
                seconds[way] = min(taken, seconds.get(way, taken))
    return seconds


def _step(network: nn.Module, forward: Function, samples: Tensor) -> None:
    """Forward and, where the network is trained, backward."""
    with torch.set_grad_enabled(network.training):
        scores = forward(samples)
        if network.training:
            scores.square().mean().backward()  # type: ignore[no-untyped-call] # torch leaves it untyped


def _is_compiled(forward: Function) -> bool:
    return isinstance(forward, batch_last.Forward) and forward.compiled


@contextmanager
def _as_it_was(network: nn.Module) -> Iterator[None]:
    """Whatever runs in the block, the network's weights and statistics and torch's random state are as before it."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            yield
        finally:
            network.zero_grad(set_to_none=True)
            network.load_state_dict(state)


def _key(network: nn.Module, ways: Sequence[Way], shape: tuple[int, ...]) -> str:
    """A hash of all that decides which way is the fastest."""
    return files.sha256_json(
        {
            "format": _FORMAT,
            "modules": repr(network),
            "parameters": [list(parameter.shape) for parameter in network.parameters()],
            "trained": network.training,
            "batch": list(shape),
            "ways": list(ways),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "processor": machine.processor(),
            "cores": os.cpu_count(),
        }
    )


def _path(key: str) -> Path:
    return machine.cache_folder() / "forward" / f"{key}.json"


def remembered(key: str) -> Timing | None:
    """What another process remembered, if it can be read."""
    with suppress(OSError, EcmEdgeError):
        return Timing.load(_path(key))
    return None


def _keep(key: str, timing: Timing) -> None:
    """Remember it for other processes, where that can be written; a file is whole or absent."""
    path = _path(key)
    with suppress(OSError, EcmEdgeError):
        path.parent.mkdir(parents=True, exist_ok=True)
        timing.save(path)
