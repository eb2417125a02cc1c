"""What a worker does with the artefact store of its study; nothing where the study has none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ecm_edge.base import files
from ecm_edge.base.errors import SearchError
from ecm_edge.base.progress import doing
from ecm_edge.candidate.candidate import TRAINING, trial_folder
from ecm_edge.search import artifacts, shared
from ecm_edge.search.artifacts import Store, check_noted
from ecm_edge.training.train import TrainingRecord

if TYPE_CHECKING:
    import optuna

    from ecm_edge.base.records import Drawable
    from ecm_edge.search.artifacts import Artifacts
    from ecm_edge.search.runs import SearchRecord
    from ecm_edge.search.shared import Shared, View
    from ecm_edge.search.trial_record import TrialRecord

_CURVE = "training.png"
_RUN = "objective-and-macs.png"


def bind(shares: Shared, url: str) -> None:
    """Make a store that of the study, after it took and gave a file; a folder is noted by its whole path.

    Raises:
        SearchError: the store takes or gives nothing, its URL holds a password, or the study has another one.
    """
    whole = url if "://" in url else Path(url).absolute().as_uri()
    there = _url(shares)
    if there is not None and there != whole:
        raise SearchError(
            "all workers of a study keep the trials' files in one store",
            f"{whole}, where the study has {there}",
            f"Leave --artifacts out, or give {there}.",
        )
    Store(url).check()
    shares.study.set_user_attr(shared.ARTIFACTS_URL, whole)


def keep(shares: Shared, trial: optuna.trial.Trial, record: TrialRecord, out: Path) -> None:
    """Store the folder of a trial that was trained and still runs, and its curve for optuna-dashboard.

    Raises:
        OutputError: the store does not take a file.
    """
    url, folder = _url(shares), trial_folder(out, record.number)
    if url is None or not record.epochs:
        return
    with doing(f"trial {record.number}"), doing("upload"):
        noted = artifacts.upload(url, folder)
        if (folder / TRAINING).is_file():
            _show(url, trial, TrainingRecord.load(folder / TRAINING), _CURVE)
        trial.set_user_attr(artifacts.ARTIFACTS, noted)


def keep_ended(shares: Shared, record: TrialRecord, out: Path) -> None:
    """Store what was added to the folder of a trial that has ended; raises as `keep`."""
    url = _url(shares)
    if url is not None:
        with doing("upload"):
            noted = artifacts.upload(url, trial_folder(out, record.number))
        shares.study.set_user_attr(artifacts.of_ended(record.number), noted)


def fetch(shares: Shared, view: View, record: TrialRecord, out: Path) -> bool:
    """Make the folder of a trial that another machine trained; whether its files are in the store.

    Raises:
        SearchError: they are damaged there.
    """
    url, found = _url(shares), noted(shares, view).get(record.number)
    if url is None or not found:
        return False
    with files.staged_folder(trial_folder(out, record.number)) as staged, doing("download"):
        Store(url).download(found, staged)
    return True


def noted(shares: Shared, view: View) -> dict[int, Artifacts]:
    """The files of every trial that has some, by its number; raises as `artifacts.of_trial`."""
    attributes = shares.study.user_attrs
    with_records = (t for t in view.trials if t.state.is_finished() and shared.RECORD in t.user_attrs)
    ended = {view.draws[trial.number]: trial for trial in with_records}
    found = {number: artifacts.of_trial(attributes, trial, number) for number, trial in sorted(ended.items())}
    return {number: files_of for number, files_of in found.items() if files_of}


def show_run(shares: Shared, record: SearchRecord) -> None:
    """Have optuna-dashboard show the run's drawing; raises as `keep`."""
    url = _url(shares)
    if url is not None:
        _show(url, shares.study, record, _RUN)


def _show(url: str, receiver: optuna.trial.Trial | optuna.Study, record: Drawable, name: str) -> None:
    with files.scratch_folder() as folder:
        record.plot().savefig(folder / name, dpi=120)
        artifacts.show(Store(url), receiver, folder / name)


def _url(shares: Shared) -> str | None:
    noted = shares.study.user_attrs.get(shared.ARTIFACTS_URL)
    return None if noted is None else check_noted(str(noted))
