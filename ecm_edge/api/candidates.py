"""Verbs that make a candidate: its configuration, the training, and the forms that ship."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.api import given
from ecm_edge.api.given import nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import onnx
    from torch import nn

    from ecm_edge.api.given import AnyConfig, AnyDataset, AnyPath, AnyTarget
    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.candidate.training_config import Scalar
    from ecm_edge.data.splits import FoldAssignment
    from ecm_edge.forms.export_records import ExportResult
    from ecm_edge.forms.gate import CostRecord
    from ecm_edge.forms.onnx_model import Classifier
    from ecm_edge.forms.quantize import QuantizeRecord
    from ecm_edge.forms.sample_file import Samples
    from ecm_edge.forms.simplify import SimplifyRecord
    from ecm_edge.search.train_one import TrainResult
    from ecm_edge.training.epochs import Epoch
    from ecm_edge.training.fold_margins import Progress
    from ecm_edge.training.out_of_fold import OutOfFold


def locate(path: AnyPath) -> Path:
    """A candidate's own folder, or an ONNX file; a run's folder stands for the run's best candidate.

    Raises:
        CandidateError: nothing is there, the run has no verified candidate, or its summary is damaged.
    """
    return given.model(path)


def load_network(candidate: AnyPath) -> nn.Module:
    """The trained network in evaluation mode, its decision threshold folded into the last bias.

    Raises:
        CandidateError: no checkpoint, or one that does not fit the configuration or was trained for another.
    """
    from ecm_edge.candidate.candidate import load_network as inner

    return inner(given.model(candidate))


def configure(
    dataset: AnyDataset,
    family: str | None = None,
    *,
    network: Mapping[str, Scalar] | None = None,
    training: Mapping[str, Scalar] | None = None,
    seed: int = 0,
    factory: str | None = None,
) -> CandidateConfig:
    """The configuration of one candidate on a data set, whose subjects are split by `seed`.

    Args:
        dataset: what it will be trained on.
        family: a shipped family of networks, "tcn" by default; `load_space` shows their parameters.
        network: parameters of the family; those not named have its defaults, of a small network.
        training: parameters of the training, such as {"epochs": 6}.
        seed: of the split, of the first weights and of the order of segments.
        factory: a network of one's own, "module:function", in place of a family.

    Raises:
        DatasetError: too few subjects to split.
        SpaceError: a parameter of the training that is unknown or out of its range.
    """
    from ecm_edge.candidate.candidate import configure as inner
    from ecm_edge.candidate.networks import chosen
    from ecm_edge.candidate.space import training_config
    from ecm_edge.data.splits import holdout

    given.factories(factory, (training or {}).get("teacher.factory"))
    data = given.dataset(dataset)
    split, trained = holdout(data, seed=seed), training_config(dict(training or {}))
    return inner(data, split, *chosen(family, network or {}, factory), trained, seed, factory)


def train(
    out: AnyPath,
    config: AnyConfig,
    dataset: AnyDataset,
    target: AnyTarget,
    *,
    folds: int | FoldAssignment | None = None,
    refit: bool = False,
    replace: bool = False,
    forms: bool = True,
    workers: int | None = None,
    on_epoch: Callable[[Epoch], None] = nothing,
    on_network: Callable[[Progress], None] = nothing,
) -> TrainResult:
    """Gate and train one configuration into the new folder `out`.

    What the networks of a cross-validation answered is kept in a hidden folder beside `out` until that is done: the
    next call goes on from there.

    Args:
        out: must not exist yet.
        config: what to build and train; a candidate's folder stands for its configuration.
        dataset: the one whose hash the configuration names.
        target: whose budgets count and whose rule chooses the threshold.
        folds: also measure the configuration out of fold, over these folds or over so many.
        refit: train on every subject of the data set, whatever the configuration's split says; the threshold is the one
            of the cross-validation. A split without validation and test subjects asks for the same. Sources that the
            folds have in training only or in scores only are so for the candidate itself as well.
        replace: put it in the place of the candidate that `train` made there before, once it is trained.
        forms: also export it, and make its float16 and int8 forms.
        workers: as for `cross_validate`.
        on_epoch: called after every epoch of the candidate itself.
        on_network: called for every network of the cross-validation, and for every teacher of the candidate itself.

    Raises:
        CandidateError: the configuration was made for another data set, or training gave no finite loss; for a refit,
            there are no folds, or the configuration does not keep its last epoch.
        DatasetError: as `cross_validate`.
        ModelError: the network cannot be exported or quantised.
        OutputError: `out` exists, or is to be replaced and is no candidate by itself.
    """
    from ecm_edge.search.train_one import train_candidate, with_forms

    folder, data = given.path(out), given.dataset(dataset)
    result = train_candidate(
        folder,
        given.config(config),
        data,
        given.target(target),
        folds=folds,
        refit=refit,
        replace=replace,
        workers=workers,
        on_epoch=on_epoch,
        on_network=on_network,
    )
    return with_forms(result, folder, data) if forms and result.training else result


def cross_validate(
    config: AnyConfig,
    dataset: AnyDataset,
    target: AnyTarget,
    *,
    folds: int | FoldAssignment,
    work: AnyPath | None = None,
    workers: int | None = None,
    on_network: Callable[[Progress], None] = nothing,
) -> OutOfFold:
    """Train the configuration once for each fold and each pair of folds, and score out of fold all subjects in folds.

    Args:
        config: its own split is not used; a candidate's folder stands for its configuration.
        dataset: the one whose hash the configuration names; every subject in a fold is answered once.
        target: its scoring rule, if any, chooses the thresholds.
        folds: which subject is in which fold; or their number, assigned by the configuration's seed.
        work: a folder in which trained networks' answers are kept, so that an interrupted call can go on.
        workers: processes of one thread each; by default one for each core.
        on_network: called for every trained network.

    Raises:
        CandidateError: the configuration was made for another data set, or training gave no finite loss.
        DatasetError: the folds were made for another data set, nobody is there to choose a threshold on, or as
            `assign_folds`.
        OutputError: `work` cannot be written, or another process works there.
    """
    from ecm_edge.training.crossval import cross_validate as inner

    return inner(
        given.config(config),
        given.dataset(dataset),
        given.target(target),
        folds=folds,
        work=given.path(work),
        workers=workers,
        on_network=on_network,
    )


def export(candidate: AnyPath, dataset: AnyDataset, *, template: onnx.ModelProto | None = None) -> ExportResult:
    """Export and simplify a trained candidate; leaves model.onnx, model.simplified.onnx, their records and the log.

    Args:
        candidate: its folder, or that of a run.
        dataset: the one it was made from; segments of its training subjects compare the graphs before and after.
        template: a graph of the same network, exported before; only its weights are replaced, which is faster.

    Raises:
        CandidateError: not a trained candidate, or made from another data set.
        ModelError: the network cannot be exported, or the graphs' answers differ too much.
    """
    from ecm_edge.forms.export import export_candidate

    return export_candidate(given.model(candidate), given.dataset(dataset), template=template)


def gate(
    target: AnyTarget,
    family: str | None = None,
    network: Mapping[str, Scalar] | None = None,
    *,
    factory: str | None = None,
    samples_per_segment: int | None = None,
    like: AnyConfig | None = None,
) -> CostRecord:
    """What an untrained network costs on a board, held against its budgets; no data set is needed.

    Args:
        target: the board.
        family: a shipped family of networks, "tcn" by default.
        network: parameters of the family, whose others have its defaults; with `like`, those that are changed.
        factory: a network of one's own, "module:function", in place of a family.
        samples_per_segment: T, the samples of a segment; by default that of `like`, or 1,250, as the task af-5s has.
        like: a configuration, or the folder of a candidate that has it, in place of `family` and `factory`.

    Raises:
        CandidateError: no candidate is at `like`.
        SpaceError: an unknown family, one beside `like`, a parameter that does not fit it, or a factory that fails.
        ModelError: the network cannot be exported.
    """
    from ecm_edge import tasks
    from ecm_edge.base.errors import SpaceError
    from ecm_edge.candidate.networks import chosen
    from ecm_edge.search.gate import gate_network

    if like is None:
        given.factories(factory)
        family, parameters = chosen(family, network or {}, factory)
        length = tasks.default().samples_per_segment
    else:
        if family or factory:
            raise SpaceError("`like` brings its own family", f"{factory or family!r} beside it", "Leave it out.")
        config = given.config(like)
        family, factory, length = config.family, config.factory, config.samples_per_segment
        parameters = {**config.network, **(network or {})}
    return gate_network(family, parameters, samples_per_segment or length, given.target(target), factory=factory)


def simplify(candidate: AnyPath, dataset: AnyDataset) -> SimplifyRecord:
    """Simplify the model that a candidate was exported to, which `export` has done already.

    Args:
        candidate: its folder, or that of a run.
        dataset: the one it was made from; segments of its training subjects compare the graphs before and after.

    Raises:
        CandidateError: not a candidate, made from another data set, or not exported as it is now.
        ModelError: the model cannot be simplified or run.
    """
    from ecm_edge.forms.export import simplify_candidate

    return simplify_candidate(given.model(candidate), given.dataset(dataset))


def simplify_file(path: AnyPath, out: AnyPath, samples: Samples | None = None) -> SimplifyRecord:
    """Simplify any float32 ONNX classifier into the new file `out`; it is not written where the answers change.

    Args:
        path: the model.
        out: the file to make.
        samples: segments that compare the graphs before and after, as `read_samples` gives them; noise by default.

    Raises:
        ModelError: no classifier, one that is quantised, or one that cannot be simplified or run.
        OutputError: `out` exists, or cannot be written.
    """
    from ecm_edge.forms.simplify import simplify_file as inner

    return inner(given.path(path), given.path(out), samples)


def quantize(candidate: AnyPath, dataset: AnyDataset, *, rank_segments: int = 32) -> QuantizeRecord:
    """Make the float16 and int8 forms of an exported candidate, calibrated on its training subjects alone.

    Args:
        candidate: its folder, or that of a run; its simplified model has to be there.
        dataset: the one it was made from.
        rank_segments: how many segments rank the layers by their noise.

    Raises:
        CandidateError: not a candidate, or made from another data set.
        ModelError: no simplified model, or one that cannot be quantised.
    """
    from ecm_edge.forms.quantize import quantize_candidate

    return quantize_candidate(given.model(candidate), given.dataset(dataset), rank_segments=rank_segments)


def quantize_file(
    path: AnyPath,
    dataset: AnyDataset | Samples,
    out: AnyPath,
    *,
    subjects: Sequence[str] | None = None,
    threshold: float | None = None,
) -> QuantizeRecord:
    """Make the forms of any float32 ONNX classifier in the new folder `out`, calibrated on these subjects' segments.

    By default on those of all subjects. A file of samples is taken as it is: nobody says whose they are. The forms keep
    the `threshold` of a model of one score; by default it is 0.5 for a sigmoid and 0 for a logit.

    Raises:
        ModelError: the file is no classifier, or cannot be quantised.
        DatasetError: an unknown subject.
        OutputError: `out` exists, or cannot be written.
    """
    from ecm_edge.forms.quantize import quantize_file as inner

    return inner(given.path(path), given.dataset(dataset), given.path(out), subjects=subjects, threshold=threshold)


def load_classifier(path: AnyPath, threshold: float | None = None, classes: Sequence[str] = ()) -> Classifier:
    """Read and check a model file; one in float64 or float16 is converted to float32, and bytes at its ends too.

    Args:
        path: the file; weights in files beside it are read too.
        threshold: of a model of one score; by default 0.5 for a sigmoid and 0 for a logit.
        classes: a name for each label; by default those in the file's metadata.

    Raises:
        ModelError: the file is missing, empty, corrupt or not ONNX; it has not exactly one input; its input has no
            fixed shape; its output is not one row of scores; a threshold, or names, that do not fit.
    """
    from ecm_edge.forms.onnx_model import load_classifier as inner

    return inner(given.path(path), threshold, classes)


def noise_samples(count: int, classifier: Classifier) -> Samples:
    """Seeded standard normal noise, or all bytes alike for a model that takes bytes: the same every time.

    Raises:
        DatasetError: more than `MOST_BYTES`.
    """
    from ecm_edge.forms.sample_file import noise

    return noise(count, classifier)


def read_samples(path: AnyPath, classifier: Classifier) -> Samples:
    """The segments of a .npy or .npz file, as float32; bytes of the type that a model takes as what they stand for.

    Raises:
        DatasetError: no such file, no array of numbers in it, another shape than the model's input, a value that is
            not finite, or labels that are no classes of the model.
    """
    from ecm_edge.forms.sample_file import read

    return read(given.path(path), classifier)
