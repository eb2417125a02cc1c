"""The chain of a candidate's forms, or of one ONNX file, over the labelled segments of a data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from ecm_edge.base import files, provenance
from ecm_edge.base.errors import CandidateError, ModelError
from ecm_edge.base.progress import track
from ecm_edge.base.records import Form, Gate, Verdict, at_least, not_run, verdict_of_what_ran
from ecm_edge.candidate import candidate, row_sampling
from ecm_edge.evaluate.verify import hops
from ecm_edge.evaluate.verify.c_hops import CHops
from ecm_edge.evaluate.verify.compiled import workshop
from ecm_edge.evaluate.verify.forms import FormFile, recorded_sha256, torch_scores
from ecm_edge.evaluate.verify.layers import between_graphs, between_modules, between_reference
from ecm_edge.evaluate.verify.records import (
    AS_RUN,
    EMULATED_SEGMENTS,
    EXPORTED,
    FILE_AS_RUN,
    HALVED,
    QUANTISED,
    SIMPLIFIED,
    Hop,
    LayerDifference,
    VerifyRecord,
    hops_to,
    judged_by,
)
from ecm_edge.evaluate.verify.segments import Segments, positive_subjects, segments_from, segments_of
from ecm_edge.firmware import generate
from ecm_edge.forms import onnx_model, reference, simplify
from ecm_edge.forms.decision import TWO_SCORES
from ecm_edge.forms.facts import facts_of
from ecm_edge.forms.model_file import check_length
from ecm_edge.forms.reference.noise import rank_layers
from ecm_edge.forms.sample_file import Samples
from ecm_edge.metrics import criteria
from ecm_edge.targets import score_rule

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.evaluate.verify.compiled import Workshop
    from ecm_edge.forms.decision import Decision
    from ecm_edge.forms.onnx_model import Classifier
    from ecm_edge.targets import FloatParity, Target

Step = Callable[[], Hop]

_RANKED = 32
_LAYER_L2R = 1e-4  # float32 rounding leaves some 1e-6
_LAYER_L2R_FLOAT16 = 1e-2  # rounding the weights leaves some 1e-3


def verify_candidate(
    folder: Path,
    dataset: Dataset,
    target: Target,
    *,
    form: Form | None = None,
    segments: int | None = None,
    emulated: int = EMULATED_SEGMENTS,
) -> VerifyRecord:
    """Compare every form of a candidate on its validation subjects, and leave the record in its folder.

    A candidate that was trained on all subjects has none; its forms are compared on those.

    Args:
        folder: the candidate; a form that is not there is NOT RUN.
        dataset: the one it was made from.
        target: whose thresholds hold.
        form: which one the verdict is about; the one that the target ships, its first, where None.
        segments: at most so many, spread evenly over the subjects; all where None.
        emulated: the largest number of them for the emulated board.

    Raises:
        CandidateError: not a candidate, one that was not exported, or made from another data set; or a form that the
            target does not run.
        ModelError: a form that is corrupt or no classifier.
    """
    form = form or target.precision[0]
    if form not in target.precision:
        hint = f"{target.name} runs {', '.join(target.precision)}."
        raise CandidateError("verify judges a form that the target runs", form, hint)
    config = candidate.load_config(folder)
    candidate.check_dataset(config, dataset)
    candidate.check_forms(folder, data=dataset.folder)
    chosen = row_sampling.verification_rows(config, dataset, segments)
    compared = _segments(dataset, chosen, target)
    whole = len(chosen) == len(dataset.rows_of(row_sampling.verification_subjects(config)))
    with workshop() as shop:
        chain = CandidateChain(folder, compared, target, shop, emulated=emulated, ship=whole)
        record = _record(folder, chain, dataset, target, form)
    record.save(folder / candidate.VERIFY)
    return record


def verify_again(
    folder: Path, dataset: Dataset, target: Target, form: Form, *, segments: int, emulated: int
) -> VerifyRecord:
    """Compare the forms on the way to one form of a candidate on a sample; nothing is written into its folder.

    Args:
        folder: the candidate.
        dataset: the one it was made from.
        target: whose thresholds hold.
        form: the hops of other forms are NOT RUN.
        segments: at most so many, spread evenly over the subjects that `verify_candidate` takes.
        emulated: the largest number of them for the emulated board.

    Raises:
        CandidateError: not a candidate, one that was not exported, or made from another data set.
        ModelError: a form that is corrupt or no classifier.
    """
    config = candidate.load_config(folder)
    chosen = row_sampling.verification_rows(config, dataset, segments)
    compared = _segments(dataset, chosen, target)
    with workshop() as shop:
        chain = CandidateChain(folder, compared, target, shop, emulated=emulated, ship=False, only=form)
        return _record(folder, chain, dataset, target)


def verify_model(
    path: Path,
    dataset: Dataset | Samples,
    target: Target,
    *,
    segments: int | None = None,
    emulated: int = EMULATED_SEGMENTS,
    threshold: float | None = None,
) -> VerifyRecord:
    """Check any ONNX classifier: onnxruntime and C against the reference and, if it is not quantised, simplified.

    Other arguments as for `verify_candidate`.

    Args:
        path: the file.
        dataset: all its labelled rows; or segments from a file of samples, or noise, for a model of any shape.
        target: as above.
        segments: as above.
        emulated: as above.
        threshold: of a model of one score; by default 0.5 for a sigmoid and 0 for a logit.

    Raises:
        ModelError: the file is missing, corrupt, or not a classifier of one input of the data set's length.
    """
    classifier = onnx_model.load_classifier(path, threshold)  # refused before anything is compared
    _check_nodes(classifier, target)
    if isinstance(dataset, Samples):
        compared = segments_from(dataset.at_most(segments), classifier.decision)
    else:
        check_length(classifier, dataset)
        _check_labels(classifier)
        chosen = row_sampling.spread(dataset, dataset.rows_of(dataset.header.subjects), segments)
        compared = _segments(dataset, chosen, target, classifier.decision)
    with workshop() as shop:
        file = FormFile(path, compared, threshold)
        chain = FileChain(file, compared, target, shop, emulated=emulated)
        record = _record(path, chain, dataset, target)
    return record.model_copy(update={"facts": facts_of(classifier)})


def _check_nodes(classifier: Classifier, target: Target) -> None:
    """Refuse a node of a known operator that neither the reference nor C can be made of; of others the hops tell."""
    try:
        graph = reference.load(classifier.proto)
    except ModelError:
        return
    try:
        generate.generate(classifier.proto, target)
    except ModelError:
        reference.scores(graph, np.zeros((1, int(np.prod(classifier.input_shape))), np.float32))


def _check_labels(classifier: Classifier) -> None:
    """Refuse a model of several classes: a data set has two."""
    if classifier.decision.kind == "classes":
        raise ModelError(
            "a data set is for models of one or two scores",
            f"{classifier.decision.count} scores in {classifier.path}",
            "Compare it on a file of samples: --samples.",
        )


class CandidateChain:
    """The hops of a candidate; each looks at two of its forms."""

    def __init__(
        self,
        folder: Path,
        segments: Segments,
        target: Target,
        shop: Workshop,
        *,
        emulated: int,
        ship: bool,
        only: Form | None = None,
    ) -> None:
        self.segments, self._folder, self._target = segments, folder, target
        self._recorded, self._only = recorded_sha256(folder), only
        self._exported = FormFile(folder / candidate.EXPORTED, segments)
        forms = {form: FormFile(folder / candidate.FORM_FILES[form], segments) for form in get_args(Form)}
        self._float32, self._float16, self._int8 = forms["float32"], forms["float16"], forms["int8"]
        self.compiled = [
            CHops(shop, form, file, target, segments, self._unwanted_c(form), emulated=emulated, ship=ship)
            for form, file in forms.items()
        ]

    @property
    def steps(self) -> list[Step]:
        """The hops, in order."""
        own = [self._torch, self._simplified, self._half, self._quantised, self._runtime]
        return [*own, *(step for compiled in self.compiled for step in compiled.steps)]

    @property
    def paths(self) -> list[Path]:
        """The files that are there."""
        paths = [form.path for form in (self._exported, self._float32, self._float16, self._int8)]
        return [path for path in (self._folder / candidate.CHECKPOINT, *paths) if path.is_file()]

    def _unwanted(self, form: str) -> str:
        """The reason not to compare a form for this target; empty if it must be compared."""
        if self._only and form not in {"float32", self._only}:
            return f"only the forms on the way to {self._only} are asked for"
        return "" if form in self._target.precision else f"{self._target.name} does not run {form}"

    def _unwanted_c(self, form: Form) -> str:
        """The same for the C of a form: on the way to another form none is needed."""
        other = f"only {self._only} is asked for" if self._only and form != self._only else ""
        return self._unwanted(form) or other

    def _torch(self) -> Hop:
        name, sides = EXPORTED, (candidate.CHECKPOINT, self._exported.path.name)
        checkpoint = self._folder / candidate.CHECKPOINT
        missing = "" if checkpoint.is_file() else f"there is no {checkpoint.name}"
        if reason := missing or self._exported.missing:
            return hops.skipped(name, sides, reason)
        network = candidate.load_network(self._folder)
        return hops.float_hop(
            name,
            sides,
            (torch_scores(network, self.segments.samples), self._exported.scores),
            self.segments,
            self._target.parity.float32,
            other_gates=[self._exported.unchanged(self._recorded)],
            locate=lambda: between_modules(network, self._exported.classifier.proto, self.segments.samples),
            layer_l2r=_LAYER_L2R,
        )

    def _simplified(self) -> Hop:
        limits = self._target.parity.float32
        return self._between(SIMPLIFIED, self._exported, self._float32, limits, _LAYER_L2R)

    def _half(self) -> Hop:
        limits = self._target.parity.float16
        if reason := self._unwanted("float16"):
            return hops.skipped(HALVED, (self._float32.path.name, self._float16.path.name), reason)
        return self._between(HALVED, self._float32, self._float16, limits, _LAYER_L2R_FLOAT16)

    def _between(self, name: str, parent: FormFile, child: FormFile, limits: FloatParity, layer_l2r: float) -> Hop:
        sides = (parent.path.name, child.path.name)
        if reason := parent.missing or child.missing:
            return hops.skipped(name, sides, reason)
        samples = self.segments.samples
        return hops.float_hop(
            name,
            sides,
            (parent.scores, child.scores),
            self.segments,
            limits,
            other_gates=[child.made_from(parent), child.unchanged(self._recorded)],
            locate=lambda: between_graphs(parent.classifier.proto, child.classifier.proto, samples),
            layer_l2r=layer_l2r,
        )

    def _quantised(self) -> Hop:
        name, sides = QUANTISED, (self._float32.path.name, f"{self._int8.path.name} in the reference")
        if reason := self._unwanted("int8") or self._float32.missing or self._int8.missing:
            return hops.skipped(name, sides, reason)
        judged = self._int8.judged
        if isinstance(judged, str):
            return hops.failed(name, sides, judged)
        return hops.accuracy_hop(
            name,
            sides,
            (self._float32.scores, judged),
            self.segments,
            self._target.parity.int8,
            other_gates=[self._int8.made_from(self._float32), self._int8.unchanged(self._recorded)],
            locate=self._noisiest,
        )

    def _runtime(self) -> Hop:
        name, sides = AS_RUN, (f"{self._int8.path.name} in the reference", "onnxruntime")
        if reason := self._unwanted("int8") or self._int8.missing:
            return hops.skipped(name, sides, reason)
        judged, graph = self._int8.judged, self._int8.graph
        if isinstance(judged, str) or isinstance(graph, str):
            return hops.failed(name, sides, str(judged))
        scores = (judged, self._int8.scores)
        proto = self._int8.classifier.proto
        return hops.runtime_hop(name, sides, proto, graph, scores, self.segments, self._target.parity.int8)

    def _noisiest(self) -> LayerDifference | None:
        """The layer whose quantisation alone changes the scores most; None where the float scores are not finite."""
        if not np.isfinite(self._float32.scores).all():
            return None
        protos = (self._float32.classifier.proto, self._int8.classifier.proto)
        ranked = rank_layers(*protos, self.segments.samples[:_RANKED])
        if not ranked:
            return None
        worst = ranked[0]
        l2r = None if worst.sqnr_db is None else 10 ** (-worst.sqnr_db / 20)
        return LayerDifference(layer=worst.layer, op=worst.op, tensor="scores", l2r=l2r, max_abs=worst.max_abs)


class FileChain:
    """The hops of a single ONNX file of any origin."""

    def __init__(self, file: FormFile, segments: Segments, target: Target, shop: Workshop, *, emulated: int) -> None:
        self.segments, self._target = segments, target
        self._form = file
        form = generate.form_of(self._form.classifier.proto)
        unwanted = "" if form in target.precision else f"{target.name} does not run {form}"
        self.compiled = [CHops(shop, form, self._form, target, segments, unwanted, emulated=emulated, ship=False)]

    @property
    def steps(self) -> list[Step]:
        """The hops, in order."""
        return [self._simplified, self._runtime, *self.compiled[0].steps]

    @property
    def paths(self) -> list[Path]:
        """The one file, and those beside it that hold its weights."""
        return [self._form.path, *self._form.classifier.beside]

    @property
    def _is_quantised(self) -> bool:
        return any(node.op_type == "QuantizeLinear" for node in self._form.classifier.proto.graph.node)

    def _simplified(self) -> Hop:
        name, sides = SIMPLIFIED, (self._form.path.name, "simplified")
        if self._is_quantised:
            return hops.skipped(name, sides, "quantised graphs are not simplified")
        proto = self._form.classifier.proto
        try:
            simplified, _ = simplify.simplify(proto, self.segments.samples[:1])
        except ModelError as problem:
            return hops.skipped(name, sides, str(problem))
        scores = onnx_model.run_scores(onnx_model.classifier_of(simplified), self.segments.samples)
        return hops.float_hop(
            name,
            sides,
            (self._form.scores, scores),
            self.segments,
            self._target.parity.float32,
            locate=lambda: between_graphs(proto, simplified, self.segments.samples),
            layer_l2r=_LAYER_L2R,
        )

    def _runtime(self) -> Hop:
        name, sides = FILE_AS_RUN, (f"{self._form.path.name} in the reference", "onnxruntime")
        graph, proto = self._form.graph, self._form.classifier.proto
        if isinstance(graph, str):
            return hops.skipped(name, sides, graph)
        judged = self._form.judged
        if isinstance(judged, str):
            return hops.failed(name, sides, judged)
        scores = (judged, self._form.scores)
        if self._is_quantised:
            return hops.runtime_hop(name, sides, proto, graph, scores, self.segments, self._target.parity.int8)
        return hops.float_hop(
            name,
            sides,
            scores,
            self.segments,
            self._target.parity.float32,
            locate=lambda: between_reference(graph, proto, self.segments.samples),
            layer_l2r=_LAYER_L2R,
        )


def _segments(dataset: Dataset, chosen: np.ndarray, target: Target, decision: Decision = TWO_SCORES) -> Segments:
    beta, _ = criteria(score_rule(target, dataset.header.task))
    return segments_of(dataset, chosen, beta, decision)


def _record(
    model: Path,
    chain: CandidateChain | FileChain,
    dataset: Dataset | Samples,
    target: Target,
    form: Form | None = None,
) -> VerifyRecord:
    """Run the hops of a chain and sum them up; the verdict is about the way to a form, or about all."""
    made, segments = [step() for step in track(chain.steps, "compare forms, hop")], chain.segments
    counted = at_least("segments_compared", len(segments.samples), 1, "segments")
    of_hops = [_gate_of(hop) for hop in made]
    failed = next((hop.name for hop in made if hop.verdict == Verdict.FAIL), None)
    judged = hops_to(form, target) if form else [hop.name for hop in made]
    nothing = counted.verdict == Verdict.PASS and all(hop.verdict == Verdict.NOT_RUN for hop in made)
    return VerifyRecord(
        verdict=Verdict.NOT_RUN
        if nothing
        else verdict_of_what_ran([counted, *(gate for gate in of_hops if gate.name in judged)]),
        form=form,
        model=model.name,
        target=target.name,
        judged_by=judged_by(target),
        **_source(dataset, segments),
        segments=len(segments.samples),
        first_diverging_hop=failed,
        hops=made,
        model_sha256={path.name: files.sha256_file(path) for path in chain.paths},
        firmware=[verified for compiled in chain.compiled if (verified := compiled.verified())],
        gates=[counted, *of_hops],
        provenance=provenance.collect(),
    )


def _source(dataset: Dataset | Samples, segments: Segments) -> dict[str, Any]:
    """The fields of the record that say what was compared on."""
    if isinstance(dataset, Samples):
        names = {"dataset": dataset.name, "dataset_sha256": dataset.sha256, "task": "", "label": "label 1"}
        return names | {"synthetic": dataset.synthetic, "subjects": []}
    return {
        "dataset": dataset.folder.name,
        "dataset_sha256": dataset.header.content_sha256,
        "task": dataset.header.task.name,
        "label": dataset.header.task.label,
        "synthetic": dataset.header.synthetic,
        "subjects": sorted(set(segments.subjects)),
        "subjects_with_positives": positive_subjects(segments),
    }


def _gate_of(hop: Hop) -> Gate:
    """The hop as one gate of the whole."""
    if hop.verdict == Verdict.NOT_RUN:
        return not_run(hop.name, hop.reason)
    broken = ", ".join(gate.name for gate in hop.gates if gate.verdict == Verdict.FAIL) or hop.reason
    return at_least(hop.name, float(hop.verdict == Verdict.PASS), 1, "bool", broken)
