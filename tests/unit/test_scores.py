"""Scores files of patches: weights of queries, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from descbench.errors import DataError
from descbench.metrics.scores import FACTS, Scores, mean, read_scores, write_scores

VALUES, WEIGHTS = [0.5, None, 1.0], [3.0, 2.0, 1.0]
METRIC = mean(VALUES, 0.625, weights=WEIGHTS)
GOOD = Scores(
    "patches", "hpatches", 3, {"matching": METRIC}, {"matching": VALUES}, dict.fromkeys(FACTS["hpatches"], 1),
    {"matching": WEIGHTS},
)  # fmt: skip


def test_weighted_means_come_back(tmp_path):
    write_scores(GOOD, tmp_path / "s.json")
    assert read_scores(tmp_path / "s.json") == GOOD
    assert GOOD.metrics["matching"].value == pytest.approx((3 * 0.5 + 1.0) / 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {}}, "matching is 0.625, not the mean of its values"),
        ({"weights": {"matching": [3.0, 2.0, 3.0]}}, "not the mean of its values"),
        ({"weights": {"matching": [3.0, 1.0]}}, "weights that are none of 3 queries"),
        ({"weights": {"matching": [-3.0, 1.0, -1.0]}}, "weights that are none of 3 queries"),
        ({"weights": {"matching": [0.0, 1.0, 0.0]}}, "no query of weight above 0"),
        ({"weights": {"matching": WEIGHTS, "other": WEIGHTS}}, "weights of metrics that are not there"),
        ({"protocol": "places"}, "scores of family patches, protocol places"),
        ({"family": "retrieval"}, "scores of family retrieval, protocol hpatches"),
        ({"facts": {}}, "scores of family patches, protocol hpatches"),
    ],
)
def test_what_is_no_weighted_mean_is_refused(tmp_path, changes, message):
    write_scores(replace(GOOD, **changes), tmp_path / "s.json")
    with pytest.raises(DataError, match=message):
        read_scores(tmp_path / "s.json")
