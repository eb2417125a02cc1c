"""Figures out of fold without training, and data sets whose labels are others."""

from __future__ import annotations

import numpy as np

from ecm_edge.base import files
from ecm_edge.candidate import candidate
from ecm_edge.data import splits
from ecm_edge.data.dataset import Description, SegmentBlock, open_dataset
from ecm_edge.data.dataset_writer import write_dataset
from ecm_edge.metrics.rows import score_rows
from ecm_edge.training import out_of_fold
from ecm_edge.training.out_of_fold import CrossValidationRecord, Fold, OutOfFold


def write_folds(folder, dataset, column=0, *, threshold=0.5, assignment=None):
    """Out-of-fold figures of a tiny candidate: column `column` of the segments answers, `threshold` is added before."""
    config = candidate.load_config(folder)
    assignment = assignment or splits.assign_folds(dataset, count=3, seed=0)
    rows = out_of_fold.answered_rows(dataset, assignment)
    after = np.ascontiguousarray(dataset.samples[rows, column])
    before = after + np.float32(threshold)
    record = CrossValidationRecord(
        config_sha256=config.sha256,
        dataset_sha256=config.dataset_sha256,
        synthetic=config.synthetic,
        assignment=assignment,
        folds=[
            Fold(
                number=f,
                subjects=assignment.subjects(f),
                segments=len(dataset.rows_of(assignment.subjects(f))),
                threshold=threshold,
            )
            for f in range(3)
        ],
        threshold=threshold,
        scores=score_rows(after, dataset, rows, None),
        networks=6,
        train_seconds=1,
        margins_sha256=files.sha256_bytes(out_of_fold.to_bytes(before=before, after=after)),
    )
    OutOfFold(record, before, after).save(folder)
    return folder


def relabelled(folder, dataset, subjects):
    """The same segments, AF and N exchanged for these subjects."""
    rows = np.arange(dataset.header.segments)
    names = dataset.subject_names(rows)
    rhythms = [dataset.header.rhythms[index] for index in dataset.table["rhythm"]]
    other = ["N" if rhythm == "AFIB" else "AFIB" for rhythm in rhythms]
    block = SegmentBlock(
        np.array(dataset.samples),
        dataset.names(rows),
        names,
        [o if name in subjects else r for name, r, o in zip(names, rhythms, other, strict=True)],
        [str(episode) for episode in dataset.table["episode"]],
        [""] * len(rows),
    )
    write_dataset(folder, Description(**{n: getattr(dataset.header, n) for n in Description.model_fields}), [block])
    return open_dataset(folder)
