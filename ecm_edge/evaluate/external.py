"""Whether scored segments are external to a model: of another data set than the one it was trained on.

The content hashes decide. They tell data sets apart and not people: recordings that were imported in another way have
another hash. So subjects with names of training subjects are told besides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ecm_edge.base.records import Record
from ecm_edge.data.reasons import some
from ecm_edge.forms import onnx_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.forms.model_file import ModelFile

Relation = Literal["own", "shared", "external", "unknown"]

_NAMES_SHOWN = 5


class Origin(Record):
    """How the scored data set and that of the training are related.

    own:      it is the one that the model was trained on.
    shared:   a part of it was trained on: `shared` names the sources, or the whole set where the model was trained on
              a data set that was merged from it.
    external: nothing of it was.
    unknown:  the model's file names no data set.

    `training_sha256` is the content hash of the training's data set, followed by those of the sources that it was
    merged from; empty where it is unknown. `statement` says all of it in one sentence.
    """

    relation: Relation
    training_sha256: list[str]
    shared: list[str]
    statement: str


def origin(model: ModelFile, dataset: Dataset) -> Origin:
    """How a data set is related to the one that a model was trained on."""
    trained, header = training_hashes(model), dataset.header
    here = {header.content_sha256: dataset.folder.name}
    here |= {source.content_sha256: source.name for source in header.sources}
    shared = [name for sha256, name in here.items() if sha256 in trained]
    if not trained:
        return Origin(relation="unknown", training_sha256=[], shared=[], statement=_UNKNOWN)
    if header.content_sha256 == trained[0]:
        statement = f"not external: the model was trained on this data set, content {trained[0][:12]}"
        return Origin(relation="own", training_sha256=trained, shared=shared, statement=statement)
    if shared:
        statement = f"not external: the model was trained on {', '.join(shared)}, by content hash"
        return Origin(relation="shared", training_sha256=trained, shared=shared, statement=statement)
    statement = (
        f"external by content hash: the model was trained on {trained[0][:12]}, and this is {_hashes(list(here))}"
    )
    return Origin(relation="external", training_sha256=trained, shared=[], statement=statement)


_UNKNOWN = "not known whether external: the model's file does not name the data set that it was trained on"


def _hashes(sha256: Sequence[str]) -> str:
    """The hash of the set, and of how many sources it was merged."""
    first, *sources = (one[:12] for one in sha256)
    return f"{first}, merged from {', '.join(sources)}" if sources else first


def training_hashes(model: ModelFile) -> list[str]:
    """The content hash of what a model was trained on, then those of its sources; empty where no one says."""
    if model.config:
        return [model.config.dataset_sha256, *model.config.source_sha256]
    facts = onnx_model.provenance(model.classifier.proto)
    return [
        sha256 for name in ("dataset_sha256", "source_sha256") for sha256 in facts.get(name, "").split(",") if sha256
    ]


def trained_on(model: ModelFile, dataset: Dataset, scored: Sequence[str]) -> list[str] | None:
    """The scored subjects that the model was trained or tuned on; None where the file does not name them.

    Of a shared data set these are the subjects by their names in the source that was trained on; where the training's
    data set was merged from this one, all but those of its test part, since they may have been renamed there.
    """
    related = origin(model, dataset)
    if related.relation == "external":
        return []
    if model.config is None:
        return None
    seen = {*model.config.split.train, *model.config.split.validation}
    if related.relation == "own":
        return [name for name in scored if name in seen]
    if model.config.dataset_sha256 not in {source.content_sha256 for source in dataset.header.sources}:
        own = _shared_subjects(model, dataset)
        return [name for name in scored if name in own and name not in model.config.split.test]
    source = next(s for s in dataset.header.sources if s.content_sha256 == model.config.dataset_sha256)
    known = {name for name in source.subjects if source.renamed.get(name, name) in seen}
    return [name for name in scored if name in known]


def _shared_subjects(model: ModelFile, dataset: Dataset) -> set[str]:
    """The subjects of the sources that the training's data set was merged from too; all where it holds this one."""
    trained = set(training_hashes(model))
    if dataset.header.content_sha256 in trained:
        return set(dataset.header.subjects)
    shared = [source for source in dataset.header.sources if source.content_sha256 in trained]
    return {name for source in shared for name in source.subjects}


def same_names(model: ModelFile, dataset: Dataset, scored: Sequence[str]) -> str | None:
    """A warning where subjects of an external data set have the names of training subjects; else None."""
    if model.config is None or origin(model, dataset).relation != "external":
        return None
    seen = {*model.config.split.train, *model.config.split.validation}
    same = [name for name in scored if name in seen]
    if not same:
        return None
    return (
        f"{len(same)} of these subjects have names of subjects that the model was trained or tuned on "
        f"({some(same, _NAMES_SHOWN)}): if they are the same people, the figures are too good"
    )
