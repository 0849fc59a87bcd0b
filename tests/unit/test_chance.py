"""Chance: the exact expectations against many random orders, scored by the metrics themselves."""

import numpy as np
import pytest

from descbench.datasets.places import PlaceLabels
from descbench.metrics.chance import chance_of_labels, chance_of_places
from descbench.metrics.places import find_first_hits, grouped
from descbench.metrics.revisited import CLASSIC_SETUPS, SETUPS, setup_scores

ORDERS = 3000


def random_orders(images, queries, seed=7):
    random = np.random.default_rng(seed)
    return [np.stack([random.permutation(images) for _ in range(queries)]) for _ in range(ORDERS)]


def average(results):
    """Means over the orders, and four standard errors of each."""
    values = {name: [result[name] for result in results] for name in results[0]}
    return {name: (np.mean(v), 4 * np.std(v) / len(v) ** 0.5 + 1e-9) for name, v in values.items()}


@pytest.mark.parametrize("revisited", [True, False])
def test_mean_average_precision(revisited):
    labels = [{"easy": [0, 3], "hard": [5, 6, 7], "junk": [9, 11]}, {"easy": [1], "hard": [], "junk": []}]
    if not revisited:
        labels = [{"ok": [0, 3, 8], "junk": [9, 11]}, {"ok": [], "junk": [2]}]
    setups = SETUPS if revisited else CLASSIC_SETUPS
    scored = [setup_scores(order.T, labels, setups) for order in random_orders(13, len(labels))]
    expected = chance_of_labels(labels, 13, setups)
    measured = average([{f"map{suffix}": result.map for suffix, result in results.items()} for results in scored])
    assert set(measured) == set(expected)
    assert len(expected) == (3 if revisited else 1)
    for name, (mean, error) in measured.items():
        assert expected[name] == pytest.approx(mean, abs=error), name


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"views_per_panorama": 3},
        {"views_per_panorama": 4},
        {"query_times": (1.0, 2.0, 1.0, 3.0), "database_times": (1.0, 2.0, 3.0) * 4},
        {"conditions": ("day", "sunset", "night")},
    ],
)
def test_recall(rules):
    positives = ((0, 1, 2), (3, 4, 5, 9, 10, 11), (), (6, 7, 8))
    labels = PlaceLabels(radius=25.0, positives=positives, training_positives=((),) * 4, **rules)
    hits = [find_first_hits(order, labels, complete=True) for order in random_orders(12, 4)]
    depths = [depth for depth in hits[0].depths if depth <= 5]
    expected = chance_of_places(labels, 12, depths)
    groups = grouped(4, labels.conditions)
    measured = average(
        [
            {
                f"recall@{depth}{suffix}": float(((ranks > 0) & (ranks <= depth)).mean())
                for suffix, chosen in groups.items()
                for depth in depths
                for ranks in (hit.ranks[chosen],)
            }
            for hit in hits
        ]
    )
    assert set(measured) == set(expected)
    for name, (mean, error) in measured.items():
        assert expected[name] == pytest.approx(mean, abs=error), name
