"""The incumbent of a board in MLflow's registry: a version of the board's model, with the alias `incumbent`.

Our registry decides; MLflow's shows the decision to those who look there. An entry is one run with its files and one
version of the model, which MLflow loads as ONNX.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecm_edge.base import files
from ecm_edge.base.errors import RegistryError
from ecm_edge.base.progress import doing
from ecm_edge.candidate.candidate import SCORE, load_config
from ecm_edge.evaluate.score import ScoreRecord
from ecm_edge.registry import registry

if TYPE_CHECKING:
    from ecm_edge.registry.entries import Manifest
    from ecm_edge.search.mlflow_log import Server

ALIAS = "incumbent"
_MANIFEST = "manifest_sha256"
_MODEL = "model"
_FIGURES = {"F1": "f1", "Fbeta": "fbeta_mean", "G": "g", "specificity": "specificity"}


@doing("MLflow's registry")
def log_incumbent(server: Server, shelf: Path) -> str:
    """Make MLflow's alias name the incumbent of a shelf; the version's number.

    Raises:
        RegistryError: there is no incumbent, or its entry was changed.
        SearchError: the server does not take it.
    """
    event = registry.incumbent(shelf)
    if event is None:
        raise RegistryError("MLflow's alias names an incumbent", f"none in {shelf}", "Promote a candidate first.")
    folder, manifest = registry.entry_of(shelf, event)
    experiment = server.experiment(f"{manifest.target} incumbents")
    with server.clear_errors("takes a model"):
        version = _version_of(server, manifest.target, str(event.manifest_sha256))
        if version is None:
            version = _new_version(server, experiment, folder, manifest, str(event.entry), str(event.manifest_sha256))
        server.client.set_registered_model_alias(manifest.target, ALIAS, version)
    return version


def _version_of(server: Server, model: str, manifest_sha256: str) -> str | None:
    """The version that an entry has already; an entry that is the incumbent again gets no second one."""
    found = server.client.search_model_versions(f"name = '{model}'")
    return next((str(one.version) for one in found if one.tags.get(_MANIFEST) == manifest_sha256), None)


def _new_version(
    server: Server, experiment: str, folder: Path, manifest: Manifest, entry: str, manifest_sha256: str
) -> str:
    from mlflow.exceptions import MlflowException

    client = server.client
    run = client.create_run(experiment, run_name=entry)
    server.write(run.info.run_id, parameters=_parameters(folder), named=_named(folder, manifest, entry), folder=folder)
    with files.scratch_folder() as staged:
        _write_model(Path(staged), folder / manifest.model_file, run.info.run_id)
        client.log_artifacts(run.info.run_id, str(staged), _MODEL)
    try:
        client.create_registered_model(manifest.target, description=f"ecm-edge: detectors for {manifest.target}")
    except MlflowException:  # it is there
        client.get_registered_model(manifest.target)
    tags = {"entry": entry, _MANIFEST: manifest_sha256, "form": manifest.form, "model_sha256": manifest.model_sha256}
    source = f"{run.info.artifact_uri}/{_MODEL}"
    return str(client.create_model_version(manifest.target, source, run.info.run_id, tags=tags).version)


def _parameters(folder: Path) -> dict[str, Any]:
    config = load_config(folder)
    return {"family": config.family, "seed": config.seed, **config.network}


def _named(folder: Path, manifest: Manifest, entry: str) -> dict[str, Any]:
    """Figures under the names that trials have, as the entry's `score` found them, and what the manifest says."""
    scores = ScoreRecord.load(folder / SCORE).scores if (folder / SCORE).is_file() else None
    figures = {name: getattr(scores, ours, None) for name, ours in _FIGURES.items()}
    texts = {"entry": entry, "form": manifest.form, "data": "synthetic" if manifest.synthetic else "recorded"}
    verdicts = {gate: verdict.value for gate, verdict in manifest.verdicts.items()}
    known = {name: figure.value for name, figure in figures.items() if figure is not None}
    return {**known, "latency_ms": manifest.latency_ms.mean_ms, **texts, "verdict": verdicts}


def _write_model(staged: Path, model: Path, run_id: str) -> None:
    """What MLflow loads as ONNX: the file, and its own description of it."""
    from mlflow.models import Model

    shutil.copyfile(model, staged / model.name)
    described = Model(artifact_path=_MODEL, run_id=run_id, metadata={"sha256": files.sha256_file(model)})
    described.add_flavor("onnx", onnx_version=importlib.metadata.version("onnx"), data=model.name)
    described.save(str(staged / "MLmodel"))
