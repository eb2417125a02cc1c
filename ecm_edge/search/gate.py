"""The gate before training: what an untrained network costs on the board."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base.progress import doing
from ecm_edge.firmware import image_gate
from ecm_edge.forms import export

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from ecm_edge.candidate.candidate import CandidateConfig
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
