"""Bills of materials in CycloneDX 1.7: of the tool (SBOM), and of a model (ML-BOM).

They have no date, and their serial numbers come from what they say, so that the same work gives the same bytes.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from ecm_edge.base import installed
from ecm_edge.base.records import Interval

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.metadata import Distribution

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.evaluate.score import ScoreRecord

TOOL_NAME, MODEL_NAME = "sbom.cdx.json", "ml-bom.cdx.json"
_FIGURES = ("accuracy", "precision", "recall", "f1", "specificity", "npv", "auc", "fbeta_mean", "g")
_NOT_FOR = (
    "It is not a medical device, and has been through no clinical trial.",
    "An answer is not a diagnosis: it takes a physician, and a recording that is long enough.",
)


def of_tool() -> bytes:
    """The SBOM of this tool: every package that it needs here, with version and licence."""
    packages = installed.needed_by("ecm-edge")
    components = [_package(each) for each in packages]
    own = next(each for each in components if each["name"] == "ecm-edge")
    return _bom({**own, "type": "application"}, [each for each in components if each is not own])


def _package(package: Distribution) -> dict[str, Any]:
    name = installed.canonical(package)
    url = f"pkg:pypi/{name}@{package.version}"
    licence = [{"license": {"name": installed.licence(package)}}]
    return {
        "type": "library",
        "bom-ref": url,
        "name": name,
        "version": package.version,
        "purl": url,
        "licenses": licence,
    }


def of_model(
    name: str, sha256: str, parts: Mapping[str, str], config: CandidateConfig | None, score: ScoreRecord | None
) -> bytes:
    """The ML-BOM of a model: what it was trained on, its figures with intervals, what it is for.

    Args:
        name: the model's file.
        sha256: of it.
        parts: further files that come with it, as images, by their SHA-256.
        config: of its candidate; without one the model came as a file, and nothing is known of its training.
        score: of its candidate, if there is one of this model.
    """
    model = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": name,
        "version": sha256[:12],
        "hashes": _hashes(sha256),
        "modelCard": _card(config, score),
    }
    datasets = _datasets(config)
    files = [
        {"type": "file", "bom-ref": f"file:{part}", "name": part, "hashes": _hashes(digest)}
        for part, digest in sorted(parts.items())
    ]
    return _bom(model, [*datasets, *files])


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]


def _datasets(config: CandidateConfig | None) -> list[dict[str, Any]]:
    """The data set that the model was trained on, by its content."""
    if config is None:
        return []
    kind = "synthetic ECG" if config.synthetic else "recorded ECG"
    data = {"type": "dataset", "name": kind, "classification": "synthetic" if config.synthetic else "personal health"}
    return [
        {
            "type": "data",
            "bom-ref": "dataset",
            "name": kind,
            "version": config.dataset_sha256[:12],
            "hashes": _hashes(config.dataset_sha256),
            "data": [data],
        }
    ]


def _card(config: CandidateConfig | None, score: ScoreRecord | None) -> dict[str, Any]:
    card: dict[str, Any] = {}
    if config is not None:
        card["modelParameters"] = {
            "approach": {"type": "supervised"},
            "task": "classification",
            "architectureFamily": config.family,
            "datasets": [{"ref": "dataset"}],
        }
        card["considerations"] = {"useCases": [config.task.title], "technicalLimitations": list(_NOT_FOR)}
    if score is not None:
        card["quantitativeAnalysis"] = {"performanceMetrics": _metrics(score)}
    return card


def _metrics(score: ScoreRecord) -> list[dict[str, Any]]:
    """The figures that are defined, with intervals by resampling subjects."""
    part = f"{score.part}, {score.scores.subjects} subjects, {score.scores.segments} segments"
    figures = {name: getattr(score.scores, name) for name in _FIGURES}
    return [
        {
            "type": name,
            "value": f"{figure.value:.6g}",
            "slice": part,
        }
        | _interval(figure)
        for name, figure in figures.items()
        if isinstance(figure, Interval)
    ]


def _interval(figure: Interval) -> dict[str, Any]:
    if figure.low is None or figure.high is None:
        return {}
    return {"confidenceInterval": {"lowerBound": f"{figure.low:.6g}", "upperBound": f"{figure.high:.6g}"}}


def _bom(component: dict[str, Any], components: list[dict[str, Any]]) -> bytes:
    said = {"metadata": {"component": component}, "components": components}
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(said, sort_keys=True))
    head = {"bomFormat": "CycloneDX", "specVersion": "1.7", "serialNumber": f"urn:uuid:{serial}", "version": 1}
    return (json.dumps(head | said, indent=2, ensure_ascii=False) + "\n").encode()
