"""The networks of a cross-validation that were trained without one fold each, in one file.

    folds.safetensors    the state of network f as "f.NAME"; no threshold is folded into it

F folds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load as safetensors_load
from safetensors.torch import save as safetensors_bytes

from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError
from ecm_edge.candidate import candidate
from ecm_edge.training.out_of_fold import FOLDS, NETWORKS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.training.out_of_fold import CrossValidationRecord

    State = Mapping[str, Tensor]

_LARGEST_BYTES = 1 << 29


def to_bytes(states: Mapping[int, State]) -> bytes:
    """The states by the number of their fold as a file; the same states give the same bytes."""
    return safetensors_bytes({f"{f}.{name}": value for f in sorted(states) for name, value in states[f].items()})


def load(folder: Path, config: CandidateConfig, record: CrossValidationRecord) -> list[nn.Module]:
    """The networks by their fold, F of them, in evaluation mode.

    Args:
        folder: the candidate's.
        config: the one that lies there.
        record: the one that lies there, as `out_of_fold.load` gives it.

    Raises:
        CandidateError: the networks were not kept, or their file changed or does not fit the configuration.
    """
    path = folder / NETWORKS
    if record.networks_sha256 is None:
        raise CandidateError(
            f"the networks of the folds are kept in {NETWORKS}",
            f"{FOLDS} of {folder} was written without them",
            "Train again with --folds.",
        )
    content = files.read_or_nothing(path, _LARGEST_BYTES)
    if files.sha256_bytes(content) != record.networks_sha256:
        raise CandidateError(
            f"{NETWORKS} stays as it was written",
            f"{path} changed or is gone",
            "Restore it, or train again with --folds.",
        )
    try:
        tensors = safetensors_load(content)
        return [_network(config, tensors, fold.number) for fold in record.folds]
    except (SafetensorError, RuntimeError) as problem:
        raise CandidateError(
            f"{NETWORKS} fits the configuration beside it",
            f"{str(problem).splitlines()[0]} in {path}",
            "Train again with --folds.",
        ) from None


def _network(config: CandidateConfig, tensors: State, fold: int) -> nn.Module:
    network, own = candidate.build_network(config), f"{fold}."
    network.load_state_dict({name.removeprefix(own): t for name, t in tensors.items() if name.startswith(own)})
    return network.eval()
