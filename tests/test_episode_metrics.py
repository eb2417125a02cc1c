"""EC57's comparison of episodes: figures that were worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ecm_edge.metrics import episodes
from ecm_edge.metrics.episodes import EpisodeCounts, averaged, compare, figures, gross

NAMES = (
    "episode_sensitivity",
    "episode_positive_predictivity",
    "duration_sensitivity",
    "duration_positive_predictivity",
)


def percents(counts):
    """ESe, E+P, DSe and D+P as `epicmp -l` prints them."""
    values = [getattr(figures(counts), name) for name in NAMES]
    return ["-" if value is None else str(int(100 * value + 0.5)) for value in values]


def compared(reference, test, *, start=0, end=1000, **options):
    return compare(reference, test, start_s=start, end_s=end, **options)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (compared([(100, 200), (400, 460)], [(90, 150), (170, 230), (500, 520)]), "50 67 50 57"),
        (compared([(0, 100)], [(50, 220)]), "100 100 50 29"),
        (compared([(0, 100)], [(50, 220)], excluded=[(100, 200)]), "100 100 50 71"),
        (compared([(0, 290), (295, 400)], [(310, 340)], start=300), "100 100 30 100"),
        (compared([(100, 200)], [(200, 300)]), "0 0 0 0"),
    ],
    ids=["A", "B", "B with AFL excluded", "C", "D"],
)
def test_the_examples(counts, expected):
    assert " ".join(percents(counts)) == expected


@pytest.mark.parametrize(
    ("reference", "test", "expected"),
    [
        ([], [], "- - - -"),
        ([(1, 2)], [], "0 - 0 -"),
        ([], [(1, 2)], "- 0 - 0"),
        ([(1, 2)], [(1, 2)], "100 100 100 100"),
    ],
)
def test_what_is_undefined_is_none(reference, test, expected):
    assert " ".join(percents(compared(reference, test))) == expected


def test_the_counts_behind_the_figures():
    counts = compared([(100, 200), (400, 460)], [(90, 150), (170, 230), (500, 520)])
    assert (counts.reference_episodes, counts.reference_matched) == (2, 1)
    assert (counts.test_episodes, counts.test_matched) == (3, 2)
    assert (counts.reference_s, counts.reference_overlap_s) == (160, 80)
    assert (counts.test_s, counts.test_overlap_s) == (140, 80)


def test_an_episode_within_an_excluded_rhythm_is_no_false_alarm():
    counts = compared([(0, 10)], [(0, 10), (40, 60)], excluded=[(30, 70)])
    assert (counts.test_episodes, counts.test_matched, counts.test_s) == (1, 1, 10)


def test_an_episode_with_an_excluded_rhythm_in_it_stays_one():
    counts = compared([], [(20, 100)], excluded=[(30, 40), (50, 60)])
    assert (counts.test_episodes, counts.test_s) == (1, 60)


def test_an_episode_that_begins_in_an_excluded_rhythm_loses_its_beginning():
    assert compared([], [(35, 100)], excluded=[(30, 40)]).test_s == 60


def test_excluded_rhythms_do_not_touch_the_references_side():
    counts = compared([(0, 100)], [(0, 100)], excluded=[(50, 100)])
    assert (counts.reference_s, counts.reference_overlap_s) == (100, 100)
    assert (counts.test_s, counts.test_overlap_s) == (50, 50)


def test_an_episode_is_clipped_to_the_start_and_to_the_end():
    counts = compared([(200, 400), (900, 1200)], [(0, 300), (350, 1100)], start=300, end=1000)
    assert (counts.reference_episodes, counts.reference_s) == (2, 200)
    assert (counts.test_episodes, counts.test_s) == (1, 650)
    assert counts.test_overlap_s == 150


def test_order_and_touching_pieces_make_no_difference():
    whole = compared([(100, 200)], [(120, 220)])
    assert compared([(150, 200), (100, 150)], [(170, 220), (120, 180)]) == whole


def test_a_rounding_of_a_time_is_no_overlap():
    assert compared([(0, 0.3)], [(0.1 * 3 - 1e-16, 1)]).reference_matched == 0


def test_the_burden_leaves_gaps_out():
    counts = compared([(0, 100)], [(50, 150)], end=400, analysed=[(0, 60), (100, 300)])
    assert (counts.analysed_s, counts.analysed_reference_s, counts.analysed_test_s) == (260, 60, 60)
    assert figures(counts).burden_error == 0
    whole = figures(compared([(0, 100)], [(50, 250)], end=400))
    assert (whole.reference_burden, whole.test_burden, whole.burden_error) == (0.25, 0.5, 0.25)


def test_the_burden_leaves_excluded_rhythms_out():
    counts = compared([(0, 100)], [(0, 200)], end=400, excluded=[(100, 200)])
    assert (counts.analysed_s, counts.analysed_test_s) == (300, 100)
    assert figures(counts).burden_error == 0


def test_gross_figures_are_of_sums_and_averages_of_the_records_that_have_one():
    one = compared([(0, 100)], [(0, 50)])  # ESe 1, DSe 0.5, D+P 1
    two = compared([(0, 300)], [(500, 600)])  # ESe 0, DSe 0, D+P 0
    none = compared([], [(0, 50)])  # ESe and DSe undefined, D+P 0
    sums = gross([one, two, none])
    assert (sums.reference_episodes, sums.test_episodes, sums.reference_s, sums.test_s) == (2, 3, 400, 200)
    assert figures(sums).duration_sensitivity == 0.125
    mean = averaged([figures(each) for each in (one, two, none)])
    assert mean.episode_sensitivity == 0.5
    assert mean.duration_sensitivity == 0.25
    assert mean.duration_positive_predictivity == pytest.approx(1 / 3)
    assert mean.burden_error == pytest.approx((-0.05 - 0.2 + 0.05) / 3)


def test_no_record_gives_no_figure():
    assert figures(gross([])) == averaged([])
    assert gross([]) == EpisodeCounts()


def test_the_times_equal_those_of_counting_seconds():
    rng = np.random.default_rng(0)
    for _ in range(50):
        reference, test, holes = (np.repeat(rng.random(40) < share, 5) for share in (0.4, 0.5, 0.2))
        holes &= ~reference
        counts = compared(*map(runs, (reference, test)), start=20, end=180, excluded=runs(holes))
        inside = np.zeros(200, bool)
        inside[20:180] = True
        assert counts.reference_s == np.sum(reference & inside)
        assert counts.test_s == np.sum(test & inside & ~holes)
        assert counts.reference_overlap_s == counts.test_overlap_s == np.sum(reference & test & inside)
        assert counts.analysed_s == np.sum(inside & ~holes)


def runs(mask):
    """The runs of true seconds as intervals."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def test_helpers_take_nothing():
    assert episodes.joined([]) == []
    assert episodes.without([(0, 1)], []) == [(0, 1)]
    assert episodes.shared_s([], [(0, 1)]).tolist() == []
