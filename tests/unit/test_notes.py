"""Notes of a table: why a cell is empty."""

from __future__ import annotations

import math

import numpy as np

from descbench.config.tables import Table
from descbench.metrics.poses import score_errors
from descbench.metrics.scores import Metric, Scores, write_scores
from descbench.tables.notes import licence_notes, table_notes


def test_empty_cells_say_why(tmp_path):
    positions = np.array([0.1, math.inf, math.inf])
    metrics, per_query = score_errors(positions, positions)
    facts = {"queries": "queries", "names": ["a", "b", "c"], "localised": 1, "filled": 0, "inliers": [9, 0, 0]}
    facts |= {"poses": "0" * 64, "scored_by": "true poses"}
    posed = Scores("localisation", "poses", 3, metrics, per_query, facts, cell="pnp on scene")
    write_scores(posed, tmp_path / "p.json")
    nothing = {"map_medium": Metric(0.5, 0.4, 0.6, "bootstrap"), "map_hard": Metric(None, None, None, "bootstrap")}
    values = {"map_medium": [0.5], "map_hard": [None]}
    ranked = Scores("retrieval", "revisited", 1, nothing, values, {}, cell="flat on town")
    write_scores(ranked, tmp_path / "r.json")
    columns = [("scene", "median_position"), ("scene", "within_5m_10deg"), ("town", "map_medium"), ("town", "map_hard")]
    table = Table.model_validate(
        {
            "title": "T",
            "columns": [{"dataset": data, "metric": metric, "label": metric} for data, metric in columns],
            "rows": [{"label": "a", "method": "pnp"}, {"label": "b", "method": "flat"}],
        }
    )
    notes = table_notes(table, {("pnp", "scene"): tmp_path / "p.json", ("flat", "town"): tmp_path / "r.json"})
    empty = [note for note in notes if ", since " in note]
    assert empty == [
        "pnp on scene: no median_position, since half of the queries or more have no pose.",
        "flat on town: no map_hard, since no query counts.",
    ]


def test_licences_that_forbid_commercial_use_are_noted_with_the_rows():
    """A line a licence; a label with a comma is in quotes, so that it is not two."""
    restricted = {"a": {"one.pt": "CC BY-NC 4.0"}, "b": {"two.pt": "CC BY-NC 4.0"}, "c": {"other.pt": "academic use"}}
    rows = [("plain", "free"), ("R2D2, n=5", "a"), ("both", "a"), ("both", "b"), ("last", "c")]
    assert licence_notes(rows, restricted) == [
        'No commercial use of one.pt, two.pt (CC BY-NC 4.0), which these rows rest on: "R2D2, n=5", both.',
        "No commercial use of other.pt (academic use), which these rows rest on: last.",
    ]
    assert licence_notes(rows, {}) == []
