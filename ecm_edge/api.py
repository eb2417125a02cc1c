"""The verbs of the command line as typed functions, for use from Python.

from pathlib import Path
from ecm_edge import api

dataset = api.open_dataset(Path("af"))
record = api.verify(Path("run/trials/0007"), dataset, api.load_target("loongson-2k0500"))
"""

from ecm_edge.candidate.candidate import load_network, locate
from ecm_edge.candidate.space import load as load_space
from ecm_edge.data.audit import audit
from ecm_edge.data.dataset import check_content, open_dataset
from ecm_edge.data.info import info
from ecm_edge.data.merge import merge
from ecm_edge.data.recordings.importer import import_recordings
from ecm_edge.data.splits import assign_folds, assign_folds_by_source
from ecm_edge.data.synthetic import synthesise
from ecm_edge.evaluate.bench import bench_candidate as bench
from ecm_edge.evaluate.measure import measure
from ecm_edge.evaluate.predict import predict
from ecm_edge.evaluate.robustness import check_robustness as robustness
from ecm_edge.evaluate.score import score_model as score
from ecm_edge.evaluate.score import score_out_of_fold
from ecm_edge.evaluate.verify import verify_candidate as verify
from ecm_edge.evaluate.verify import verify_model
from ecm_edge.firmware.fit import fit_model as fit
from ecm_edge.firmware.record import build_candidate as build_firmware
from ecm_edge.firmware.record import build_model
from ecm_edge.firmware.serve import serve
from ecm_edge.firmware.sources import generate_model as generate_firmware
from ecm_edge.forms.export import export_candidate as export
from ecm_edge.forms.onnx_model import load_classifier
from ecm_edge.forms.quantize import quantize_candidate as quantize
from ecm_edge.forms.quantize import quantize_file
from ecm_edge.forms.sample_file import noise as noise_samples
from ecm_edge.forms.sample_file import read as read_samples
from ecm_edge.registry.bundle import bundle
from ecm_edge.registry.promote import promote
from ecm_edge.registry.registry import history_record as history
from ecm_edge.registry.registry import rollback
from ecm_edge.report import write_report as report
from ecm_edge.report.compare import compare_models as compare
from ecm_edge.report.episodes import write_episodes as episodes
from ecm_edge.report.model_card import write_card as card
from ecm_edge.search.runs import default_settings
from ecm_edge.search.runs import start as start_search
from ecm_edge.search.scale import scale
from ecm_edge.search.search import search
from ecm_edge.search.train_one import train_candidate as train
from ecm_edge.targets import load as load_target
from ecm_edge.tasks import load as load_task
from ecm_edge.training.crossval import cross_validate

__all__ = [
    "assign_folds",
    "assign_folds_by_source",
    "audit",
    "bench",
    "build_firmware",
    "build_model",
    "bundle",
    "card",
    "check_content",
    "compare",
    "cross_validate",
    "default_settings",
    "episodes",
    "export",
    "fit",
    "generate_firmware",
    "history",
    "import_recordings",
    "info",
    "load_classifier",
    "load_network",
    "load_space",
    "load_target",
    "load_task",
    "locate",
    "measure",
    "merge",
    "noise_samples",
    "open_dataset",
    "predict",
    "promote",
    "quantize",
    "quantize_file",
    "read_samples",
    "report",
    "robustness",
    "rollback",
    "scale",
    "score",
    "score_out_of_fold",
    "search",
    "serve",
    "start_search",
    "synthesise",
    "train",
    "verify",
    "verify_model",
]
