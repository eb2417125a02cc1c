"""PyTorch to ONNX: one input `samples` (1, 1, T), one output `scores` (1, 2), float32, opset 20, batch 1.

The graph is traced from a copy of the network with random weights, and the real weights are then written in by name.
This way no two tensors of an untrained network are equal (the exporter merges equal ones, such as batch norm's ones),
and a graph traced before training serves again after it: tracing takes some 0.7 s, writing the weights 1 ms.
"""

from __future__ import annotations

import copy
import functools
import importlib
import io
import logging
import warnings
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import onnx
import torch
from onnx import numpy_helper
from torch import nn

from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError, ModelError
from ecm_edge.candidate import candidate, row_sampling
from ecm_edge.forms import onnx_model, simplify
from ecm_edge.forms.decision import text_of
from ecm_edge.forms.export_records import ExportRecord, ExportResult
from ecm_edge.forms.onnx_graph import opset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import ModuleType

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.forms.onnx_model import Floats
    from ecm_edge.forms.simplify import SimplifyRecord

OPSET = 20
INPUT, OUTPUT = "samples", "scores"


def export_onnx(
    network: nn.Module,
    samples_per_segment: int,
    path: Path,
    *,
    log_path: Path,
    metadata: Mapping[str, str],
    template: onnx.ModelProto | None = None,
) -> ExportRecord:
    """Write the network as ONNX to `path` and the exporter's messages to `log_path`.

    Args:
        network: takes (1, 1, T) float32 and gives (1, 2); exported in evaluation mode.
        samples_per_segment: T.
        path: the model's file.
        log_path: the log's file.
        metadata: provenance for the model's metadata (tool version, hashes of data and configuration, seed).
        template: the graph of an earlier `to_onnx` of the same architecture, reused if its weights can be replaced.

    Raises:
        ModelError: the network cannot be exported, or the result is not a classifier as above.
    """
    reused = with_weights(template, network) if template is not None else None
    proto, log = (
        (reused, "graph reused; weights written by name\n") if reused else _export(network, samples_per_segment)
    )
    onnx_model.stamp(proto, {**metadata, "form": "export", "torch": torch.__version__})
    classifier = _check_contract(proto, samples_per_segment)
    onnx_model.save(proto, path)
    files.write_atomic(log_path, log.encode())
    return ExportRecord(
        opset=opset(proto),
        ir_version=proto.ir_version,
        input_name=classifier.input_name,
        input_shape=list(classifier.input_shape),
        output_name=classifier.output_name,
        nodes=len(proto.graph.node),
        nodes_by_op=onnx_model.op_counts(proto),
        weight_bytes=onnx_model.weight_bytes(proto),
        file_bytes=path.stat().st_size,
        sha256=files.sha256_file(path),
        exporter=f"torch {torch.__version__} torch.onnx.export(dynamo=True)",
        reused_graph=reused is not None,
        log_lines=len(log.splitlines()),
        log_file=log_path.name,
    )


def export_candidate(folder: Path, dataset: Dataset, *, template: onnx.ModelProto | None = None) -> ExportResult:
    """Export and simplify a trained candidate; leaves model.onnx, model.simplified.onnx, their records and the log.

    Args:
        folder: the candidate.
        dataset: the one it was made from; segments of its training subjects compare the graphs before and after.
        template: as for `export_onnx`.

    Raises:
        CandidateError: not a trained candidate, or made from another data set.
        ModelError: as for `export_onnx`.
    """
    config = candidate.load_config(folder)
    chosen = row_sampling.training_rows(config, dataset, simplify.SEGMENTS)
    exported = export_onnx(
        candidate.load_network(folder),
        config.samples_per_segment,
        folder / candidate.EXPORTED,
        log_path=folder / candidate.EXPORT_LOG,
        metadata=candidate_facts(config),
        template=template,
    )
    exported.save(folder / candidate.EXPORT)
    simplified = _simplify_in(folder, dataset.samples[chosen])
    return ExportResult(verdict=simplified.verdict, export=exported, simplify=simplified)


def simplify_candidate(folder: Path, dataset: Dataset) -> SimplifyRecord:
    """Simplify the model that a candidate was exported to; leaves model.simplified.onnx and simplify.json.

    Args:
        folder: the candidate.
        dataset: the one it was made from; segments of its training subjects compare the graphs before and after.

    Raises:
        CandidateError: not a candidate, made from another data set, or not exported as it is now.
        ModelError: the model cannot be simplified or run.
    """
    config = candidate.load_config(folder)
    chosen = row_sampling.training_rows(config, dataset, simplify.SEGMENTS)
    path = folder / candidate.EXPORTED
    if not path.is_file():
        raise CandidateError(
            "what is simplified was exported",
            f"no {candidate.EXPORTED} in {folder}",
            "Run `ecm-edge export`, which simplifies too.",
        )
    if onnx_model.provenance(onnx_model.load_proto(path)).get("config_sha256", config.sha256) != config.sha256:
        raise CandidateError(
            "a model is that of the configuration beside it",
            f"{candidate.CONFIG} of {folder} changed since {candidate.EXPORTED} was exported",
            "Restore it, or export again.",
        )
    return _simplify_in(folder, dataset.samples[chosen])


def _simplify_in(folder: Path, segments: Floats) -> SimplifyRecord:
    """Simplify a candidate's exported model, compared on these segments (n, T), and leave the model and the record."""
    proto, simplified = simplify.simplify(onnx_model.load_proto(folder / candidate.EXPORTED), segments)
    onnx_model.save(proto, folder / candidate.FORM_FILES["float32"])
    simplified.save(folder / candidate.SIMPLIFY)
    return simplified


def candidate_facts(config: CandidateConfig) -> dict[str, str]:
    """A candidate's provenance as it stands in the metadata of every form.

    Its sources and its unit stand there only where it was merged, or where its unit is not mV.
    """
    others = {"source_sha256": ",".join(config.source_sha256), "unit": config.unit if config.unit != "mV" else ""}
    return {name: value for name, value in others.items() if value} | {
        "tool_version": version("ecm-edge"),
        "config_sha256": config.sha256,
        "dataset_sha256": config.dataset_sha256,
        "synthetic": str(config.synthetic).lower(),
        "seed": str(config.seed),
    }


def to_onnx(network: nn.Module, samples_per_segment: int) -> onnx.ModelProto:
    """The network as a checked graph; nothing is written.

    Raises:
        ModelError: as for `export_onnx`.
    """
    proto, _ = _export(network, samples_per_segment)
    _check_contract(proto, samples_per_segment)
    return proto


@dataclass(frozen=True)
class Untrained:
    """The graph of an untrained network, into which trained weights can be written, and the same one simplified."""

    template: onnx.ModelProto
    simplified: onnx.ModelProto


def untrained(config: CandidateConfig, segment: Floats) -> Untrained:
    """The graphs of a configuration's network before any training.

    Args:
        config: what would be trained.
        segment: one segment (1, T), on which the simplifier checks itself.

    Raises:
        ModelError: as for `export_onnx`.
    """
    return untrained_network(candidate.build_network(config), config.samples_per_segment, segment)


def untrained_network(network: nn.Module, samples_per_segment: int, segment: Floats) -> Untrained:
    """The graphs of a network before any training; arguments and errors as `untrained` and `export_onnx`."""
    template = to_onnx(network, samples_per_segment)
    counted = with_weights(template, randomised(network)) or template  # equal tensors would be merged
    simplified, _ = simplify.simplify(counted, segment)
    return Untrained(template, simplified)


def with_weights(proto: onnx.ModelProto, network: nn.Module) -> onnx.ModelProto | None:
    """A copy of an exported graph with the network's parameters and buffers in place of its initializers.

    None where floating-point names or shapes do not match one to one: then the network must be exported afresh.
    """
    tensors = {name: value.detach() for name, value in network.state_dict().items() if value.is_floating_point()}
    held = {tensor.name: tensor for tensor in proto.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    if {name: list(value.shape) for name, value in tensors.items()} != {name: list(t.dims) for name, t in held.items()}:
        return None
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    for tensor in result.graph.initializer:
        if tensor.name in tensors:
            tensor.CopyFrom(numpy_helper.from_array(tensors[tensor.name].float().cpu().numpy(), tensor.name))
    return result


def _export(network: nn.Module, samples_per_segment: int) -> tuple[onnx.ModelProto, str]:
    """The graph and the exporter's log, by way of random weights where those can be replaced by name."""
    proto, log = _trace(randomised(network), samples_per_segment)
    result = with_weights(proto, network)
    if result is None:
        result, second = _trace(copy.deepcopy(network).eval(), samples_per_segment)
        log += "weights do not match the graph by name; exported again with the real ones\n" + second
    _strip(result)
    return result, log


def randomised(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose tensors are all different, so that no tool merges any two of them.

    They are positive, as variances must be, and small, so that deep networks stay finite.
    """
    twin = copy.deepcopy(network).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in twin.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(0.1 * (torch.rand(tensor.shape, generator=generator) + 0.5))
    return twin


def _trace(network: nn.Module, samples_per_segment: int) -> tuple[onnx.ModelProto, str]:
    """torch.onnx.export with everything it says caught; no optimisation, so that tensors keep their names."""
    example = (torch.zeros(1, 1, samples_per_segment),)
    with _tables_kept(), _captured() as log:
        try:
            program = torch.onnx.export(
                network.cpu(),
                example,
                dynamo=True,
                optimize=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
        except Exception as problem:  # whatever a user's network or the exporter raises is bad input here
            if _interrupted(problem):
                raise KeyboardInterrupt from problem
            first = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
            raise ModelError(
                f"a network maps (1, 1, {samples_per_segment}) to (1, 2) with exportable operators",
                f"{type(problem).__name__}: {first}",
                "Use operators that torch.onnx knows, and no data-dependent control flow.",
            ) from problem
    if program is None:
        raise ModelError("torch.onnx.export returns a program", "none", "Use the pinned version of torch.")
    return program.model_proto, log.getvalue()


@contextmanager
def _tables_kept() -> Iterator[None]:
    """Let the exporter keep two tables of operators that it would make again: two thirds of the time of an export.

    Neither depends on the network. onnxscript's is kept for the process, torch's own for one export, since operators
    may be added between two. Where this version of torch makes them in another way, they are made as usual.
    """
    with ExitStack() as kept:
        with suppress(ImportError, AttributeError, TypeError):
            registry = importlib.import_module("torch.onnx._internal.exporter._registration").ONNXRegistry
            table = functools.partial(_table, registry.from_torchlib)
            with _captured():  # what it says is of the first export of a process alone
                table(opset_version=OPSET)
            kept.enter_context(_replaced(registry, "from_torchlib", table))
        with suppress(ImportError, KeyError):
            utils = importlib.import_module("torch._export.utils")
            once = functools.cache(vars(utils)["_materialize_cpp_cia_ops"])
            kept.enter_context(_replaced(utils, "_materialize_cpp_cia_ops", once))
        yield


@contextmanager
def _replaced(owner: type | ModuleType, name: str, value: Callable[..., Any]) -> Iterator[None]:
    """Another attribute for as long as the block runs."""
    before = vars(owner)[name]  # a class method as it was declared
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@functools.cache
def _table(make: Callable[..., Any], *, opset_version: int) -> object:
    return make(opset_version=opset_version)


def _interrupted(problem: BaseException | None) -> bool:
    """Whether Ctrl-C lies behind it: torch reports that like any failure."""
    while problem is not None and not isinstance(problem, KeyboardInterrupt):
        problem = problem.__cause__ or problem.__context__
    return problem is not None


@contextmanager
def _captured() -> Iterator[io.StringIO]:
    """Collect prints, warnings and torch's logs; the exporter warns about itself and about absent torchvision.

    Torch gives handlers and no propagation to several of its loggers; what is heard here is the root of them and the
    exporter's own.
    """
    log = io.StringIO()
    loggers, handler = [logging.getLogger(name) for name in ("torch", "torch.onnx")], logging.StreamHandler(log)
    before = [logger.handlers for logger in loggers]
    for logger in loggers:
        logger.handlers = [handler]
    try:
        with redirect_stdout(log), redirect_stderr(log), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield log
    finally:
        for logger, handlers in zip(loggers, before, strict=True):
            logger.handlers = handlers
        log.writelines(f"{warning.category.__name__}: {warning.message}\n" for warning in caught)


def _strip(proto: onnx.ModelProto) -> None:
    """Remove what depends on the place of the export: stack traces and the like; the module names stay."""
    del proto.graph.metadata_props[:]
    for value in [*proto.graph.value_info, *proto.graph.input, *proto.graph.output, *proto.graph.initializer]:
        del value.metadata_props[:]
    for node in proto.graph.node:
        node.doc_string = ""
        kept = [(entry.key, entry.value) for entry in node.metadata_props if entry.key == onnx_model.SCOPES]
        del node.metadata_props[:]
        for key, value in kept:
            node.metadata_props.add(key=key, value=value)


def _check_contract(proto: onnx.ModelProto, samples_per_segment: int) -> onnx_model.Classifier:
    """Opset, batch 1, names and onnx's checker."""
    onnx_model.check(proto, "the exported model")
    classifier = onnx_model.classifier_of(proto)
    exported = (opset(proto), classifier.input_name, classifier.input_shape, classifier.output_name)
    wanted = (OPSET, INPUT, (1, 1, samples_per_segment), OUTPUT)
    if not classifier.is_detector:
        raise ModelError(
            f"a network maps (1, 1, {samples_per_segment}) to two scores",
            f"{text_of(classifier.input_shape)} to {classifier.decision.count}",
            "End the net in two scores.",
        )
    if exported != wanted:
        raise ModelError(
            f"an export has opset, input, shape and output {wanted}", f"{exported}", "Use the pinned version of torch."
        )
    return classifier
