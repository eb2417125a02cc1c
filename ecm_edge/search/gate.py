"""The gate before training: what an untrained network costs on the board. The command `ecm-edge gate`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ecm_edge.base import files
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

_MOST_SHAPES = 64  # of some 100 kB each


@doing("build the untrained network's image")
def gate_candidate(
    config: CandidateConfig, target: Target, segment: NDArray[np.float32]
) -> tuple[onnx.ModelProto, CostRecord]:
    """The exported graph of the untrained network, and what its image costs on the target once simplified.

    Only the form that ships is built. Where no image can be built or run here, the target's cost model estimates.

    Args:
        config: what would be trained.
        target: whose budgets count.
        segment: one real segment (1, T), on which the simplifier checks itself.
    """
    graphs = export.untrained(config, segment)
    return graphs.template, image_gate.gate_graph(graphs.simplified, target, counterpart=False)


@dataclass
class KnownShapes:
    """Graphs and costs of the networks that a run gated last: a network comes again with another training.

    Neither depends on the weights. A factory of a user's may build another network for another seed.
    """

    known: dict[str, tuple[onnx.ModelProto, CostRecord]] = field(default_factory=dict)

    def gate(
        self, config: CandidateConfig, target: Target, segment: NDArray[np.float32]
    ) -> tuple[onnx.ModelProto, CostRecord]:
        """As `gate_candidate`; built once for each network and target."""
        shape = _shape(config, target)
        if shape not in self.known:
            self.known[shape] = gate_candidate(config, target, segment)
            if len(self.known) > _MOST_SHAPES:
                self.known.pop(next(iter(self.known)))
        return self.known[shape]

    def template(self, config: CandidateConfig, target: Target) -> onnx.ModelProto | None:
        """The exported graph of the same network, untrained; None where it is not known any more."""
        template, _ = self.known.get(_shape(config, target), (None, None))
        return template


def _shape(config: CandidateConfig, target: Target) -> str:
    seed = config.seed if config.factory else None
    network = [config.family, config.factory, config.network, config.samples_per_segment, seed]
    return files.sha256_json([network, target.model_dump(mode="json")])


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
