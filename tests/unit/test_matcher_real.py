"""Matches of real photographs: those that COLMAP found among the same descriptors (see docs/contributing.md)."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from descbench.matching.matcher import MatchSettings, match_descriptors

# COLMAP numbers a pair of images by this.
_MOST_IMAGES = 2**31 - 1


def test_matches_are_those_of_colmap(real_data):
    database = real_data / "kapture_maupertuis/colmap/colmap.db"
    connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    stored = connection.execute("select image_id, rows, cols, data from descriptors").fetchall()
    pairs = connection.execute("select pair_id, rows, cols, data from matches").fetchall()
    connection.close()
    rows = {
        image: np.frombuffer(data, np.uint8).reshape(count, dim) / np.float32(512) for image, count, dim, data in stored
    }
    settings = MatchSettings(ratio=0.8, max_distance=0.7, distance="angle", normalise=False)
    compared = 0
    for pair, count, columns, data in pairs:
        first, second = divmod(pair, _MOST_IMAGES)
        expected = np.frombuffer(data, np.uint32).reshape(count, columns)
        found = match_descriptors(rows[first], rows[second], settings)
        assert sorted(map(tuple, found.indices.tolist())) == sorted(map(tuple, expected.tolist())), (first, second)
        compared += 1
    if not compared:
        pytest.fail(f"{database} holds no matches")
