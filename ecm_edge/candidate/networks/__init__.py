"""Network families, one a file: a record of its parameters and a function that builds it.

Every network takes (N, 1, T) float32 samples and returns (N, 2) float32 scores: not AF, AF.
Dimension letters: N segments, C channels, T samples, K kernel samples.
"""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ecm_edge.base import trust
from ecm_edge.base.errors import SpaceError
from ecm_edge.base.names import did_you_mean
from ecm_edge.base.records import field_meant, first_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import nn

    from ecm_edge.base.records import Record
    from ecm_edge.candidate.training_config import Scalar

FAMILIES = {
    "afnet": "ecm_edge.candidate.networks.afnet",
    "separable": "ecm_edge.candidate.networks.separable",
    "tcn": "ecm_edge.candidate.networks.tcn",
    "rhythm_wave": "ecm_edge.candidate.networks.rhythm_wave",
}
"""The families that ship. Each module has `Params`, a record, `WIDTHS`, `DEFAULTS`, and
`build(Params, samples_per_segment)`; `TRAINING` where its defaults of the training are other ones."""

DEFAULT_FAMILY = "tcn"
"""The family that is trained unless another one is named: that of the reference models."""


def build(family: str, params: Mapping[str, Any], samples_per_segment: int, factory: str | None = None) -> nn.Module:
    """A network with fresh weights; they depend on torch's global seed.

    Args:
        family: one of FAMILIES, or any name if `factory` is given.
        params: the family's parameters by name.
        samples_per_segment: T.
        factory: a user's own `module:function`, called as function(params, samples_per_segment).

    Raises:
        SpaceError: an unknown family, a parameter that does not fit it, or a factory that fails.
    """
    if factory is not None:
        return _from_factory(factory, params, samples_per_segment)
    network: nn.Module = _module(family).build(parameters(family, params), samples_per_segment)
    return network


def parameters(family: str, params: Mapping[str, Any]) -> Record:
    """The parameters of a shipped family, checked; nothing is built.

    Raises:
        SpaceError: an unknown family, or a parameter that does not fit it.
    """
    kind: type[Record] = _module(family).Params
    try:
        return kind.model_validate(dict(params))
    except ValidationError as problem:
        raise SpaceError(
            f"parameters must fit the family {family}",
            first_fault(problem),
            f"{field_meant(problem, kind, 'parameters')}Those of training are written training.NAME.",
        ) from None


def check_family(family: str) -> None:
    """Refuse a family that does not ship; loads nothing."""
    if family not in FAMILIES:
        raise SpaceError(
            f"a family is one of {', '.join(FAMILIES)}, or has a factory",
            repr(family),
            f"{did_you_mean(family, FAMILIES)}See `ecm-edge space`.",
        )


def _module(family: str) -> Any:  # noqa: ANN401 - a module with `Params`, `WIDTHS`, `DEFAULTS` and `build`
    check_family(family)
    return importlib.import_module(FAMILIES[family])


def widths(family: str) -> tuple[str, ...]:
    """The parameters of a shipped family that make it wider; none for a user's own."""
    if family not in FAMILIES:
        return ()
    names: tuple[str, ...] = _module(family).WIDTHS
    return names


def defaults(family: str) -> dict[str, Scalar]:
    """The parameters of a small network of a shipped family, which fits every board that ships.

    Raises:
        SpaceError: an unknown family.
    """
    return dict(_module(family).DEFAULTS)


def training_defaults(family: str, factory: str | None = None) -> dict[str, Scalar]:
    """The options of the training whose default is another one for this family; none for a user's own."""
    if factory is not None or family not in FAMILIES:
        return {}
    return dict(getattr(_module(family), "TRAINING", {}))


def chosen(
    family: str | None, network: Mapping[str, Scalar], factory: str | None = None
) -> tuple[str, dict[str, Scalar]]:
    """The family and all parameters of a network of which some were named; a factory's is called as the factory.

    Args:
        family: a shipped one, or a name for the factory's network; DEFAULT_FAMILY where neither is named.
        network: the parameters that were named; the rest are the family's defaults.
        factory: a user's own `module:function`, which has no defaults here.

    Raises:
        SpaceError: an unknown family.
    """
    if factory is not None:
        return family or factory, dict(network)
    family = family or DEFAULT_FAMILY
    return family, {**defaults(family), **network}


def command_of(factory: str) -> str:
    """A factory as `base/trust.py` knows it: importing it and calling it runs whatever it is."""
    return f"factory = {factory!r}"


def find_factory(factory: str) -> Callable[[dict[str, Any], int], nn.Module]:
    """Import a user's own `module:function`; it is not called.

    Raises:
        SpaceError: there is none, or importing it fails.
        TrustError: neither a trusted file nor the user named it.
    """
    trust.check([command_of(factory)])
    module_name, _, function_name = factory.partition(":")
    with _users_code(factory, "PYTHONPATH=. finds a module in the current folder."):
        function: Callable[[dict[str, Any], int], nn.Module] = getattr(
            importlib.import_module(module_name), function_name
        )
    return function


def _from_factory(factory: str, params: Mapping[str, Any], samples_per_segment: int) -> nn.Module:
    from torch import nn

    function = find_factory(factory)
    with _users_code(factory, "Call it by hand with the same parameters to see where it fails."):
        network = function(dict(params), samples_per_segment)
    if not isinstance(network, nn.Module) or not list(network.parameters()):
        found = f"{type(network).__name__} from {factory!r}"
        raise SpaceError("a factory returns a torch.nn.Module with parameters", found, "Return the network.")
    return network


@contextmanager
def _users_code(factory: str, hint: str) -> Iterator[None]:
    """Whatever a user's own code raises becomes one clear error."""
    try:
        yield
    except (Exception, SystemExit) as problem:
        raise SpaceError(
            "a factory is an importable module:function(params, samples_per_segment)",
            f"{type(problem).__name__}: {' '.join(str(problem).split())} from {factory!r}",
            hint,
        ) from problem
