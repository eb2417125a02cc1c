"""Fine-tuning with int8 simulated: the network learns with the rounding that `quantize` will do to it.

The simulation is not a second opinion about what is quantised. The network is exported, simplified and quantised as it
will be for the board; wherever the int8 graph has a QuantizeLinear, the value of that name in the network's own traced
graph is rounded with that scale and zero point, and every weight is rounded by channel as it will be folded, batch norm
in it. Gradients pass rounding as if it were not there, and end where a value is clipped. Batch norm keeps the
statistics of the training before, and nothing is dropped. Biases, of which the int8 form has 32 bits, are not rounded.

The weights stay those of a float network, from which both forms are made.
"""

from __future__ import annotations

import copy
import operator
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from onnx import TensorProto, numpy_helper
from torch import fx

from ecm_edge.base.errors import CandidateError, ModelError
from ecm_edge.candidate import row_sampling
from ecm_edge.forms import export, simplify
from ecm_edge.forms.quantize import CALIBRATION_SEGMENTS, quantize_int8
from ecm_edge.forms.reference.noise import BEFORE_OUTPUT
from ecm_edge.training.epochs import Loop

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx
    from torch import Tensor, nn

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.forms.onnx_model import Floats
    from ecm_edge.training.data import Teaching
    from ecm_edge.training.epochs import Epoch, Stopped

_LEAST, _MOST = -128, 127  # of int8; weights leave out the least, and are symmetric
_TINY = 1e-12

_Node = Any  # an fx.Node; fx types the arguments of one as anything at all

_aten = torch.ops.aten
_WEIGHTED = (_aten.conv1d.default, _aten.conv2d.default, _aten.linear.default)
_BATCH_NORM = _aten._native_batch_norm_legit_no_training.default  # noqa: SLF001 - its name in a traced graph


def fine_tune(
    network: nn.Module,
    config: CandidateConfig,
    before: Loop,
    teaching: Teaching,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    should_stop: Callable[[Epoch], bool] = lambda _: False,
) -> tuple[Loop, Stopped]:
    """Train a network, in place, for `qat_epochs` more; the last of them is kept.

    The training loss is that of the simulated int8 network; validation figures and the threshold are the float one's.

    Args:
        network: with the weights that `before` kept, and two scores; there is no auxiliary loss here.
        config: what it was trained by.
        before: the loop that trained it. Scales are calibrated on some of its segments, before and after every epoch.
        teaching: as for `train.fit`.
        on_epoch: called after every epoch.
        should_stop: called after `on_epoch`; training ends early where it returns True.

    Raises:
        CandidateError: something that the int8 form rounds is not found in the network.
        ModelError: the network cannot be exported or quantised.
    """
    data, training = before.data, config.training
    labelled = np.flatnonzero(data.train_labels.numpy() >= 0)
    chosen = labelled[row_sampling.spread_over(data.train_subjects[labelled], CALIBRATION_SEGMENTS)]
    batch = min(training.batch_size, before.batches.segments)
    simulated = Simulated(network, data.train_samples[chosen, 0].numpy(), batch=batch)
    begun, finer = len(before.epochs), _fine_tuning(config)
    loop = Loop(network, finer, data, before.device, before.rule, teaching, forward=simulated, begun=begun)

    def calibrate(epoch: Epoch) -> None:
        simulated.calibrate()
        on_epoch(epoch)

    return loop, loop.run(calibrate, should_stop)


def _fine_tuning(config: CandidateConfig) -> CandidateConfig:
    """The configuration of the epochs with int8 simulated."""
    training = config.training
    changes = {"epochs": training.qat_epochs, "learning_rate": training.qat_learning_rate, "auxiliary": 0.0}
    steady = {"keep": "last", "schedule": "one_cycle", "weight_average": "none"}
    return config.model_copy(update={"training": training.model_copy(update={**changes, **steady})})


class Simulated:
    """A function from (N, 1, T) samples to (N, 2) scores as the int8 form of a network would give them.

    It reads the network's own parameters at every call; the scales of activations are those of its last calibration.
    """

    def __init__(self, network: nn.Module, calibration: Floats, *, batch: int) -> None:
        """Trace the network, and calibrate.

        Args:
            network: (N, 1, T) to (N, 2).
            calibration: segments (n, T).
            batch: N at most.

        Raises:
            CandidateError: something that the int8 form rounds is not found in the network.
            ModelError: the network cannot be exported, traced or quantised.
        """
        self._network, self._calibration, self._batch = network, calibration, batch
        self._template = export.to_onnx(self._twin(), self._samples)
        self._traced = _trace(self._twin(), batch, self._samples).to(next(network.parameters()).device)
        self.calibrate()

    def calibrate(self) -> None:
        """Take the scales of the int8 form that the network's weights give now."""
        twin = self._twin()
        proto = export.with_weights(self._template, twin) or export.to_onnx(twin, self._samples)
        proto, _ = simplify.simplify(proto, self._calibration[:1])
        int8 = quantize_int8(proto, self._calibration)
        values = {name for node in proto.graph.node for name in node.output}
        self._rounding = _Rounding(self._traced, self._network, _scales(int8), values)
        self._rounding.check(int8)

    def __call__(self, samples: Tensor) -> Tensor:
        """(N, 1, T) -> (N, 2); the traced graph takes one N only, and no segment sees another in it."""
        missing = self._batch - len(samples)
        filled = torch.cat([samples, samples[:1].expand(missing, -1, -1)]) if missing else samples
        scores: Tensor = self._rounding.run(filled)
        return scores[: len(samples)]

    @property
    def _samples(self) -> int:
        return int(self._calibration.shape[1])

    def _twin(self) -> nn.Module:
        return copy.deepcopy(self._network).cpu().eval()


def _trace(network: nn.Module, batch: int, samples_per_segment: int) -> fx.GraphModule:
    """The graph of a network in evaluation mode, whose nodes have the names of the values in its ONNX form."""
    example = (torch.zeros(batch, 1, samples_per_segment),)
    with warnings.catch_warnings(action="ignore"):  # torch's, about itself
        try:
            program = torch.export.export(network, example).run_decompositions({})
        except Exception as problem:  # whatever a user's network raises is bad input here
            first = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
            raise ModelError(
                f"a network that is fine-tuned for int8 takes {batch} segments at once", first, "Set qat_epochs = 0."
            ) from problem
        traced: fx.GraphModule = program.module(check_guards=False)
        return traced


def _scales(int8: onnx.ModelProto) -> dict[str, tuple[float, int]]:
    """Scale and zero point of every QuantizeLinear, by the name of the value that it rounds."""
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in int8.graph.initializer}
    return {
        node.input[0].removesuffix(BEFORE_OUTPUT): (float(held[node.input[1]]), int(held[node.input[2]]))
        for node in int8.graph.node
        if node.op_type == "QuantizeLinear"
    }


class _Rounding(fx.Interpreter):
    """Runs a traced graph with a network's own parameters, and rounds what the int8 form rounds.

    `values` are the names that the simplified graph still has: a batch norm whose input, or whose output, is not among
    them was folded into the layer before it, or behind it.
    """

    def __init__(
        self, traced: fx.GraphModule, network: nn.Module, scales: dict[str, tuple[float, int]], values: set[str]
    ) -> None:
        super().__init__(traced)
        self._tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        self._scales, self._values = scales, values
        nodes: list[_Node] = list(traced.graph.nodes)
        self._names = {node: node.name for node in nodes}
        for node in nodes:
            if node.op == "placeholder":
                self._names[node] = export.INPUT
            elif node.op == "output":
                self._names[node.args[0][0]] = export.OUTPUT
        self._layers = [node for node in nodes if node.target in _WEIGHTED]

    def check(self, int8: onnx.ModelProto) -> None:
        """Whether all that the int8 form rounds is rounded here.

        Raises:
            CandidateError: it is not.
        """
        kinds = {tensor.name: tensor.data_type for tensor in int8.graph.initializer}
        weights = sum(
            node.op_type == "DequantizeLinear" and kinds.get(node.input[0]) == TensorProto.INT8
            for node in int8.graph.node
        )
        unknown = sorted(set(self._scales) - set(self._names.values()))
        if unknown or weights != len(self._layers):
            found = f"no {', '.join(unknown)}" if unknown else f"{len(self._layers)} layers for {weights} weights"
            raise CandidateError(
                "fine-tuning for int8 finds every rounded value in the network", found, "Set qat_epochs = 0."
            )

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401 - as fx has it
        """The network's own tensor where it has one of that name, and else the graph's constant."""
        return self._tensors[target] if target in self._tensors else super().get_attr(target, args, kwargs)

    def run_node(self, n: _Node) -> Any:  # noqa: ANN401 - as fx has it
        """One node, its weights and its value rounded where the int8 form does."""
        if n.target in _WEIGHTED:
            (x, weight, *rest), named = self.fetch_args_kwargs_from_env(n)
            value = n.target(x, self._rounded(n, weight), *rest, **named)
        else:
            value = super().run_node(n)
        scale = self._scales.get(self._names[n])
        return value if scale is None else torch.fake_quantize_per_tensor_affine(value, *scale, _LEAST, _MOST)

    def _rounded(self, layer: _Node, weight: Tensor) -> Tensor:
        """Weights (O, I / groups, ...) that are whole steps of their channel once batch norm is folded into them."""
        factor = self._folded(layer, weight).detach()
        folded = weight * factor
        step = (folded.detach().flatten(1).abs().amax(1) / _MOST).clamp_min(_TINY)  # (O,)
        zero = torch.zeros_like(step, dtype=torch.int32)
        rounded = torch.fake_quantize_per_channel_affine(folded, step, zero, 0, -_MOST, _MOST)
        return rounded / torch.where(factor.abs() < _TINY, torch.ones_like(factor), factor)

    def _folded(self, layer: _Node, weight: Tensor) -> Tensor:
        """What folding multiplies the weights by, in a shape that goes with theirs."""
        factor = torch.ones_like(weight)
        kernel = [1] * (weight.dim() - 2)
        users, source = list(layer.users), layer.args[0]
        if len(users) == 1 and users[0].target is _BATCH_NORM and self._names[layer] not in self._values:
            factor = factor * self._slope(users[0]).view(-1, 1, *kernel)
        if _is_normed(source) and self._names[source] not in self._values:
            slope = self._slope(source.args[0])  # (I,)
            groups = len(slope) // weight.shape[1]
            by_group = slope.view(groups, 1, -1).expand(-1, len(weight) // groups, -1)
            factor = factor * by_group.reshape(len(weight), -1, *kernel)
        return factor

    def _slope(self, norm: _Node) -> Tensor:
        """(C,) what a batch norm multiplies its channels by."""
        _, weight, _, _, variance, _, epsilon = norm.args
        slope = torch.rsqrt(self._tensors[variance.target] + epsilon)
        return slope if weight is None else slope * self._tensors[weight.target]


def _is_normed(value: _Node) -> bool:
    """Whether it is the output of a batch norm."""
    return getattr(value, "target", None) is operator.getitem and value.args[0].target is _BATCH_NORM
