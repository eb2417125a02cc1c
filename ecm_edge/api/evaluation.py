"""Verbs that prove and measure a model: verify, score, robustness and bench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.api import given

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecm_edge.api.given import AnyDataset, AnyPath, AnyTarget
    from ecm_edge.base.records import Form, Latency
    from ecm_edge.evaluate.bench import BenchRecord
    from ecm_edge.evaluate.robustness import RobustnessRecord
    from ecm_edge.evaluate.score import ScoreRecord, Subjects
    from ecm_edge.evaluate.verify import VerifyRecord
    from ecm_edge.forms.sample_file import Samples


def verify(
    candidate: AnyPath,
    dataset: AnyDataset,
    target: AnyTarget,
    *,
    form: Form | None = None,
    segments: int | None = None,
    emulated: int = 500,
) -> VerifyRecord:
    """Compare every form of a candidate on its validation subjects, and leave the record in its folder.

    A candidate that was trained on all subjects has none; its forms are compared on those.

    Args:
        candidate: its folder, or that of a run; a form that is not there is NOT RUN.
        dataset: the one it was made from.
        target: whose thresholds hold.
        form: which one the verdict is about; the one that the target ships, its first, where None.
        segments: at most so many, spread evenly over the subjects; all where None.
        emulated: the largest number of them for the emulated board.

    Raises:
        CandidateError: not a candidate, or made from another data set.
        ModelError: a form that is corrupt or no classifier.
    """
    from ecm_edge.evaluate.verify import verify_candidate

    return verify_candidate(
        given.model(candidate),
        given.dataset(dataset),
        given.target(target),
        form=form,
        segments=segments,
        emulated=emulated,
    )


def verify_model(
    path: AnyPath,
    dataset: AnyDataset | Samples,
    target: AnyTarget,
    *,
    segments: int | None = None,
    emulated: int = 500,
    threshold: float | None = None,
) -> VerifyRecord:
    """Check any ONNX classifier: onnxruntime and C against the reference and, if it is not quantised, simplified.

    Other arguments as for `verify`.

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
    from ecm_edge.evaluate.verify import verify_model as inner

    return inner(
        given.path(path),
        given.dataset(dataset),
        given.target(target),
        segments=segments,
        emulated=emulated,
        threshold=threshold,
    )


def score(
    model: AnyPath,
    dataset: AnyDataset,
    *,
    target: AnyTarget | None = None,
    subjects: Subjects | None = None,
    sources: Sequence[str] = (),
    form: Form = "float32",
    latency: Latency | None = None,
) -> ScoreRecord:
    """Score a candidate's folder or any ONNX file.

    Args:
        model: the folder of a candidate or of a run, or an ONNX file.
        dataset: the segments; unlabelled ones are left out.
        target: gives beta, the limit of G, and the board's score.
        subjects: by default a candidate's test subjects on its own data set, and else all of them.
        sources: of a merged data set, score these alone; all of them where none is named.
        form: which form of a candidate, float32 by default whatever the target; a file is what it is.
        latency: that of the board, in place of the estimate; the time of an emulator is none.

    Raises:
        CandidateError: the folder is no candidate or lacks the form, the latency is an emulator's, or the data set is
            of another task.
        ModelError: the file is not a classifier of these segments, or its scores are not finite.
        DatasetError: no labelled segment among the subjects, an unknown subject or source, or a part of a split that
            the data set does not have.
    """
    from ecm_edge.evaluate.score import score_model

    return score_model(
        given.model(model),
        given.dataset(dataset),
        target=given.target(target),
        subjects=subjects,
        sources=sources,
        form=form,
        latency=latency,
    )


def score_out_of_fold(
    candidate: AnyPath,
    dataset: AnyDataset,
    *,
    target: AnyTarget | None = None,
    sources: Sequence[str] = (),
    form: Form = "float32",
    latency: Latency | None = None,
) -> ScoreRecord:
    """Score a candidate's recipe on all subjects in folds, by the margins of its cross-validation out of fold.

    Args:
        candidate: the candidate, trained with --folds.
        dataset: the one that it was made from.
        target: as for `score`.
        sources: as for `score`.
        form: the form whose costs the board's score counts; the answers are those of float32 networks.
        latency: as for `score`.

    Raises:
        CandidateError: as for `score` and no cross-validation.
        DatasetError: an unknown source, or one without an answer.
        ModelError: the file is not a classifier.
    """
    from ecm_edge.evaluate.score import score_out_of_fold as inner

    return inner(
        given.model(candidate),
        given.dataset(dataset),
        target=given.target(target),
        sources=sources,
        form=form,
        latency=latency,
    )


def robustness(
    model: AnyPath,
    dataset: AnyDataset,
    *,
    target: AnyTarget | None = None,
    subjects: Subjects | None = None,
    sources: Sequence[str] = (),
    form: Form = "float32",
    segments: int = 5000,
    seed: int = 0,
) -> RobustnessRecord:
    """Score a candidate's folder or any ONNX file under every disturbance; a block of segments is in memory at a time.

    Args:
        model: the folder of a candidate or of a run, or an ONNX file.
        dataset: the segments; unlabelled ones are left out.
        target: gives beta and the limit of G.
        subjects: by default those that `score` takes.
        sources: of a merged data set, take these alone; all of them where none is named.
        form: which form of a candidate, float32 by default whatever the target; a file is what it is.
        segments: at most so many, evenly spread over the sources, and in each over the subjects.
        seed: of the noise.

    Raises:
        CandidateError: the folder is no candidate or lacks the form, or the data set is of another task.
        ModelError: the file is not a classifier of these segments.
        DatasetError: no labelled segment among the subjects, an unknown subject or source, a part of a split that the
            data set does not have, or a sample that is not finite.
    """
    from ecm_edge.evaluate.robustness import check_robustness

    return check_robustness(
        given.model(model),
        given.dataset(dataset),
        target=given.target(target),
        subjects=subjects,
        sources=sources,
        form=form,
        segments=segments,
        seed=seed,
    )


def bench(
    model: AnyPath,
    dataset: AnyDataset | None = None,
    *,
    against: AnyPath | None = None,
    target: AnyTarget | None = None,
    threshold: float | None = None,
    runs: int = 1000,
    warm_ups: int = 100,
) -> BenchRecord:
    """Time every form of a candidate, or one ONNX file; FAIL only if a timed answer was wrong.

    Args:
        model: the folder of a candidate or of a run, or an ONNX file.
        dataset: whose segments are fed; noise without one.
        against: another candidate, entry of a registry or file, timed in the same turns.
        target: a board to build every form for and to count it on; by default the figures are those of firmware.json.
        threshold: of a file of one score; by default 0.5 for a sigmoid and 0 for a logit.
        runs: timed runs of each model.
        warm_ups: untimed runs of each model before those.

    Raises:
        CandidateError: the folder is no candidate or has no form yet; fewer than one run.
        ModelError: a file is not a classifier, fails, or gives scores that are not finite; the segments have another
            length than its input.
        FirmwareError: a compiler or an emulator that fails.
    """
    from ecm_edge.evaluate.bench import bench_candidate

    return bench_candidate(
        given.model(model),
        given.dataset(dataset),
        against=given.model(against),
        target=given.target(target),
        threshold=threshold,
        runs=runs,
        warm_ups=warm_ups,
    )
