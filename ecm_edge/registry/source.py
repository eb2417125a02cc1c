"""Which source of a merged data set a promotion is about: its figures, its comparison and the entry's name.

Sources differ in how many subjects they have and how much of each. Figures over all of them are mostly those of the
largest one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base.errors import CandidateError
from ecm_edge.base.names import did_you_mean
from ecm_edge.candidate.candidate import load_config
from ecm_edge.registry import registry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ecm_edge.data.dataset import SourceSet
    from ecm_edge.registry.contender import Contender
    from ecm_edge.registry.events import Event


def choose_source(name: str | None, challenger: Contender, shelf: Path, former: Event | None) -> SourceSet | None:
    """The source of that name; without one, that of the incumbent, or the only one that both data sets have.

    None stands for the whole data set: it was not merged, or is the incumbent's too, or nothing else is shared.

    Raises:
        CandidateError: the data set has no source of that name, or the candidate no test subject of it.
        RegistryError: the incumbent's entry was changed.
    """
    sources = challenger.dataset.header.sources
    measured = [source for source in sources if not challenger.test or set(challenger.test) & set(source.subjects)]
    if name is not None:
        return _named(name, measured)
    if former is None or not measured:
        return None
    folder, manifest = registry.entry_of(shelf, former)
    claimed = [source for source in measured if source.content_sha256 == manifest.source_sha256]
    if claimed:
        return claimed[0]
    config = load_config(folder)
    if config.dataset_sha256 == challenger.dataset.header.content_sha256:
        return None
    shared = [one for one in measured if one.content_sha256 in {config.dataset_sha256, *config.source_sha256}]
    return shared[0] if len(shared) == 1 else None


def _named(name: str, measured: Sequence[SourceSet]) -> SourceSet:
    known = {source.name: source for source in measured}
    if name not in known:
        raise CandidateError(
            "a promotion is about a source of the candidate's data set that it was not fitted to",
            f"{name!r}, not {' or '.join(known) or 'one of a data set that was not merged'}",
            f"{did_you_mean(name, known)}`ecm-edge data info` lists the sources.",
        )
    return known[name]
