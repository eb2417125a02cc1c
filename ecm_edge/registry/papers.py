"""What a signed entry carries besides: where it comes from, and its bills of materials; then the signature over all.

papers/provenance.intoto.json, papers/sbom.cdx.json, papers/ml-bom.cdx.json, model.sig
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base import files
from ecm_edge.candidate.candidate import SCORE, load_config
from ecm_edge.evaluate.score import ScoreRecord
from ecm_edge.registry import attestation, bom, signatures
from ecm_edge.registry.entries import MANIFEST, PAPERS, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def signer(key: str) -> Callable[[Path], None]:
    """What signs the folder of an entry with a key, for `promote`.

    Raises:
        RegistryError: nothing can be signed with this key.
    """
    signatures.check_private_key(key)

    def sign(folder: Path) -> None:
        write(folder)
        signatures.sign(folder, key)

    return sign


def write(folder: Path) -> None:
    """Write the papers of an entry into its folder, from its manifest and its records.

    Raises:
        OutputError: they cannot be written.
    """
    manifest = Manifest.load(folder / MANIFEST)
    score = ScoreRecord.load(folder / SCORE) if (folder / SCORE).is_file() else None
    parts = {manifest.image.file: manifest.image.sha256} if manifest.image else {}
    place = folder / PAPERS
    files.make_folder(place)
    files.write_atomic(place / attestation.NAME, _provenance(manifest, files.sha256_file(folder / MANIFEST)))
    files.write_atomic(place / bom.TOOL_NAME, bom.of_tool())
    own = score if score is not None and score.model_sha256 == manifest.model_sha256 else None
    card = bom.of_model(manifest.model_file, manifest.model_sha256, parts, load_config(folder), own)
    files.write_atomic(place / bom.MODEL_NAME, card)


def _provenance(manifest: Manifest, sha256: str) -> bytes:
    """The statement about every file of the entry."""
    inputs = {"configuration": manifest.config_sha256, "dataset": manifest.dataset_sha256}
    if manifest.source and manifest.source_sha256:
        inputs[f"source {manifest.source}"] = manifest.source_sha256
    origin = attestation.Origin(
        commands=[f"ecm-edge promote CANDIDATE --data DATA --target {manifest.target} --form {manifest.form}"],
        inputs=inputs,
        compiler=manifest.image.compiler if manifest.image else "none",
        versions=manifest.provenance,
        parameters={"target": manifest.target, "form": manifest.form},
    )
    return attestation.statement(manifest.files | {MANIFEST: sha256}, origin)
