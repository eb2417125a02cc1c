"""Training in three ways, beside one another on the same segments: ours, a plain PyTorch loop, and the seed work's way.

`training_ways.py` has the three. Speed is that of steps, in turns, after what compiles has compiled. The F1 of AFNet on
held-out subjects is that of whole trainings by the seed work's recipe, so that speed is not bought with accuracy.

    python -m pytest benchmarks/test_training.py --benchmark-only

takes some minutes. It fails as long as ours is not as many times as fast as the bars say; README.md beside this file
has what was measured.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import bars
from benchmarks.training_ways import (
    LEARNING_RATE,
    SegmentFiles,
    Way,
    ours,
    plain_loop,
    recipe,
    seed_works_net,
    seed_works_way,
)
from ecm_edge import metrics
from ecm_edge.candidate import candidate, networks
from ecm_edge.data import splits
from ecm_edge.forms import cost, export
from ecm_edge.training import epochs, train

SEGMENTS = int(os.environ.get("ECM_EDGE_BENCH_SEGMENTS", "10000"))
EPOCHS = int(os.environ.get("ECM_EDGE_BENCH_EPOCHS", "5"))
ROUNDS = int(os.environ.get("ECM_EDGE_BENCH_ROUNDS", "8"))
LONG = 1_000_000  # segment passes; so long a training times its ways
A_ROUND = {"ours": 2048, "loop": 2048, "seeds": 512}  # segments, at least
NETWORKS = {
    "tcn": (256, networks.defaults("tcn")),
    "separable": (256, networks.defaults("separable")),
    "afnet": (32, {"channel_factor": 4, "head_factor": 2}),
}
"""The batch of each, and its parameters: those that ship, and the seed work's own."""
SEED_WORKS_BATCH = 32
SEEDS = (0, 1, 2)
PRODUCT = 1024  # rows of the square matrices that are multiplied


@pytest.fixture(scope="module")
def split(real_dataset):
    return splits.folds(real_dataset, count=5, seed=0)[0]


@pytest.fixture(scope="module")
def rows(real_dataset, split):
    """Training segments, of all subjects that are not held out."""
    fitted = real_dataset.rows_of([*split.train, *split.validation])
    return np.sort(np.random.default_rng(0).permutation(fitted)[:SEGMENTS])


@pytest.fixture(scope="module")
def loaded(real_dataset, split, rows):
    """These segments as a training takes them, in memory; nothing to validate on."""
    alone = split.model_copy(update={"train": [*split.train, *split.validation], "validation": []})
    data = train.load_data(real_dataset, alone)
    kept = np.searchsorted(real_dataset.rows_of(alone.train), rows)
    fields = [name for name in data.__dataclass_fields__ if name.startswith("train_") and name != "train_samples"]
    few = {name: getattr(data, name)[kept] for name in fields}
    return alone, replace(data, train_samples=samples_of(real_dataset, rows), **few)


def samples_of(dataset, rows):
    """(n, 1, T) samples in memory."""
    return torch.from_numpy(np.ascontiguousarray(dataset.samples[rows], dtype=np.float32)).unsqueeze(1)


def test_steps_of_tcn(benchmark, real_dataset, real_text, rows, loaded):
    compare_steps(benchmark, "tcn", real_dataset, real_text, rows, loaded)


def test_steps_of_separable(benchmark, real_dataset, real_text, rows, loaded):
    compare_steps(benchmark, "separable", real_dataset, real_text, rows, loaded)


def test_steps_of_afnet(benchmark, real_dataset, real_text, rows, loaded):
    compare_steps(benchmark, "afnet", real_dataset, real_text, rows, loaded)


def compare_steps(benchmark, family, dataset, folder, rows, loaded):
    """The three ways in turns, beside a matrix product, and their figures against the bars."""
    split, data = loaded
    batch, params = NETWORKS[family]
    config = candidate.configure(dataset, split, family, params, recipe(batch, -(-LONG // len(rows))), seed=0)
    plain = candidate.build_network(config)
    started = time.perf_counter()
    loop, steps, losses = ours(config, data)
    next(steps)
    prepared_s = time.perf_counter() - started
    shape = (1, -1, 1) if family == "afnet" else (1, -1)
    theirs = seed_works_net() if family == "afnet" else plain
    files = SegmentFiles(folder, dataset.names(rows), data.train_labels, shape)
    torch.manual_seed(0)
    ways = {
        "ours": Way(steps),
        "loop": Way(plain_loop(plain, data.train_samples, data.train_labels, batch)),
        "seeds": Way(seed_works_way(theirs, files, SEED_WORKS_BATCH)),
    }
    square, products = torch.randn(PRODUCT, PRODUCT), []

    def in_turns():
        for name, way in ways.items():
            way.run(A_ROUND[name])
        begun = time.perf_counter()
        square @ square
        products.append(time.perf_counter() - begun)

    benchmark.pedantic(in_turns, rounds=ROUNDS, warmup_rounds=1)
    for way in ways.values():
        way.forget_first()
    quarter = len(losses) // 4
    assert np.mean(losses[-quarter:]) < np.mean(losses[:quarter])  # it did train
    product = 2 * PRODUCT**3 / min(products)
    macs = cost.count(export.untrained(config, dataset.samples[:1]).simplified).macs
    fastest = {name: 1 / min(way.seconds) for name, way in ways.items()}
    ratios = {f"{name}_ratio": fastest["ours"] / fastest[name] for name in ("loop", "seeds")}
    medians = {
        f"{name}_median_ratio": float(np.median(ways[name].seconds) / np.median(ways["ours"].seconds))
        for name in ("loop", "seeds")
    }
    benchmark.extra_info.update(
        checked=True,
        batch=batch,
        threads=torch.get_num_threads(),
        way=("plain", "eager", "compiled").index(loop.way),
        prepared_s=prepared_s,
        product_gflop_per_second=product / 1e9,
        ours_share_of_product=3 * 2 * macs * fastest["ours"] / product,
        loop_share_of_product=3 * 2 * macs * fastest["loop"] / product,
        **ratios,
        **medians,
        **{key: value for name, way in ways.items() for key, value in way.figures(name).items()},
    )
    assert ratios["loop_ratio"] >= bars.FASTER_THAN_A_LOOP[family]
    assert ratios["seeds_ratio"] >= bars.FASTER_THAN_THE_SEED_WORK.get(family, 0)


def test_f1_of_afnet(benchmark, real_dataset, split, rows, loaded):
    """Whole trainings by the seed work's recipe, ours and by a plain loop, judged on subjects held out."""
    alone, data = loaded
    batch, params = NETWORKS["afnet"]
    held_out = real_dataset.rows_of(split.test)
    samples = samples_of(real_dataset, held_out)

    def f1(network):
        scores = epochs.predict(network, samples, torch.device("cpu")).numpy()
        return f1_of(real_dataset, held_out, scores[:, 1] - scores[:, 0])

    def trained(seed):
        how = recipe(batch, EPOCHS)
        return train.fit(candidate.configure(real_dataset, alone, "afnet", params, how, seed), data).network

    def by_a_loop(seed):
        network = candidate.new_network("afnet", params, samples.shape[2], seed=seed).train()
        torch.manual_seed(seed)
        optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
        for _ in range(EPOCHS):
            for index in torch.randperm(len(rows)).split(batch):
                optimizer.zero_grad()
                scores = network(data.train_samples[index])
                torch.nn.functional.cross_entropy(scores, data.train_labels[index]).backward()
                optimizer.step()
        return network

    theirs = [f1(by_a_loop(seed)) for seed in SEEDS]
    found = []
    benchmark.pedantic(lambda: found.extend(f1(trained(seed)) for seed in SEEDS), rounds=1)
    benchmark.extra_info.update(
        checked=True,  # F1 is the figure here
        segments=len(rows),
        epochs=EPOCHS,
        seeds=len(SEEDS),
        ours_f1=float(np.mean(found)),
        loop_f1=float(np.mean(theirs)),
        ours_f1_least=min(found),
        loop_f1_least=min(theirs),
    )
    assert np.mean(found) >= np.mean(theirs) - bars.TRAINING_F1_LOSS


def f1_of(dataset, rows, margins):
    """F1 at the threshold that is best for Fβ, the same rule for both."""
    labels, subjects = dataset.labels[rows], np.array(dataset.subject_names(rows))
    threshold = metrics.choose_threshold(labels, margins, subjects)
    return float(metrics.f1(labels, margins - np.float32(threshold), subjects))
