"""The gate before training: what an untrained network costs on the board. The command `ecm-edge gate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base.progress import doing
from ecm_edge.candidate import candidate
from ecm_edge.firmware import image_gate
from ecm_edge.firmware.placeholder_forms import noise
from ecm_edge.forms import export

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.candidate.training_config import Scalar
    from ecm_edge.forms.gate import CostRecord
    from ecm_edge.targets import Target


@doing("build the untrained network's image")
def gate_candidate(
    config: CandidateConfig, target: Target, segment: NDArray[np.float32]
) -> tuple[onnx.ModelProto, CostRecord]:
    """The exported graph of the untrained network, and what its image costs on the target once simplified.

    Where no image can be built or run here, the target's cost model estimates.

    Args:
        config: what would be trained.
        target: whose budgets count.
        segment: one real segment (1, T), on which the simplifier checks itself.
    """
    graphs = export.untrained(config, segment)
    return graphs.template, image_gate.gate_graph(graphs.simplified, target)


@doing("build the untrained network's image")
def gate_network(
    family: str,
    network: dict[str, Scalar],
    samples_per_segment: int,
    target: Target,
    *,
    factory: str | None = None,
) -> CostRecord:
    """What an untrained network costs on a target, without a data set; figures do not depend on weights.

    Args:
        family: one of those that ship, or any name where `factory` is given.
        network: the family's parameters by name.
        samples_per_segment: T.
        target: whose budgets count.
        factory: a user's own `module:function`.

    Raises:
        SpaceError: an unknown family, a parameter that does not fit it, or a factory that fails.
        ModelError: the network cannot be exported.
    """
    built = candidate.new_network(family, network, samples_per_segment, factory)
    graphs = export.untrained_network(built, samples_per_segment, noise(samples_per_segment, 1))
    return image_gate.gate_graph(graphs.simplified, target)
