"""The verbs of the command line as typed functions, for use from Python.

from pathlib import Path
from ecm_edge import api

dataset = api.open_dataset(Path("af"))
record = api.verify(Path("run/trials/0007"), dataset, api.load_target("loongson-2k0500"))
"""

from ecm_edge.audit import audit
from ecm_edge.bench import bench_candidate as bench
from ecm_edge.candidate import load_network, locate
from ecm_edge.crossval import cross_validate
from ecm_edge.dataset import check_content, open_dataset
from ecm_edge.export import export_candidate as export
from ecm_edge.info import info
from ecm_edge.promote import promote
from ecm_edge.quantize import quantize_candidate as quantize
from ecm_edge.recordings import import_recordings
from ecm_edge.registry import history_record as history
from ecm_edge.registry import rollback
from ecm_edge.report import write_report as report
from ecm_edge.runs import default_settings
from ecm_edge.runs import start as start_search
from ecm_edge.scale import scale
from ecm_edge.score import score_model as score
from ecm_edge.search import search
from ecm_edge.space import load as load_space
from ecm_edge.synthetic import synthesise
from ecm_edge.targets import load as load_target
from ecm_edge.trial import train_candidate as train
from ecm_edge.verify import verify_candidate as verify
from ecm_edge.verify import verify_model

__all__ = [
    "audit",
    "bench",
    "check_content",
    "cross_validate",
    "default_settings",
    "export",
    "history",
    "import_recordings",
    "info",
    "load_network",
    "load_space",
    "load_target",
    "locate",
    "open_dataset",
    "promote",
    "quantize",
    "report",
    "rollback",
    "scale",
    "score",
    "search",
    "start_search",
    "synthesise",
    "train",
    "verify",
    "verify_model",
]
