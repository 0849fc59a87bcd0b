"""The page of poses: the map from above, and what is written about each query."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from descbench.datasets.cameras import Camera, Pose, pose_at
from descbench.datasets.manifest import Manifest, rows_of, write_manifest
from descbench.datasets.pose_files import write_poses
from descbench.datasets.pose_labels import PoseLabels, write_pose_labels
from descbench.errors import DataError, StaleFileError
from descbench.localization.estimated_poses import PoseRecord, write_record
from descbench.metrics.score_poses import score_poses
from descbench.tables.poses_map import BINS, bin_errors, draw_poses, plane_from_above
from descbench.tables.poses_page import PoseFiles, order_queries, show_poses

CAMERA = Camera("SIMPLE_PINHOLE", 64, 48, (50.0, 32.0, 24.0))
UPRIGHT = (1.0, 0.0, 0.0, 0.0)
# Four cameras of the map, and queries whose estimates are off so many metres; None: not localised.
OFF = (0.1, 3.0, None, 0.4, 0.01, 90.0)
NAMES = ["a<b>.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg"]
SVG = "{http://www.w3.org/2000/svg}"


def at(*place: float) -> Pose:
    return pose_at(UPRIGHT, place)


MAP = [at(0, 0, 0), at(10, 0, 0), at(0, 0, 10), at(10, 0, 10)]
TRUE = [at(1.0 + k, 0, 5) for k in range(len(OFF))]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return build(tmp_path, tuple(TRUE))


def build(place: Path, true: tuple[Pose, ...]) -> Path:
    rows = (*rows_of("map", [f"m{k}.jpg" for k in range(4)]), *rows_of("query", NAMES))
    write_manifest(Manifest(rows), place / "m.csv")
    conditions = ("day",) * 5 + ("night",)
    write_pose_labels(PoseLabels((CAMERA,) * 4, (CAMERA,) * len(OFF), tuple(MAP), true, conditions), place / "l.json")
    estimates = {n: at(1.0 + k, off, 5) for k, (n, off) in enumerate(zip(NAMES, OFF, strict=True)) if off is not None}
    write_poses(estimates, place / "p.txt")
    inliers = [0 if off is None else 20 + k for k, off in enumerate(OFF)]
    write_record(PoseRecord("", "a on b", "", 9, len(OFF), [50] * len(OFF), inliers), place / "p.txt")
    score_poses(place / "p.txt", place / "l.json", place / "m.csv", place / "s.json", cell="a on b")
    return place


def show(place: Path, **options) -> str:
    files = PoseFiles(place / "p.txt", place / "s.json", place / "l.json", place / "m.csv")
    show_poses(files, place / "page.html", method="a", dataset="b", **options)
    return (place / "page.html").read_text(encoding="utf-8")


def rows(page: str, heading: str) -> list[list[str]]:
    """What stands in the table under a heading."""
    part = page.partition(f"<h2>{heading}</h2>")[2].partition("</section>")[0].partition("<tbody>")[2]
    return [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", part)]


def test_queries_are_listed_with_their_errors(place: Path) -> None:
    page = show(place, each=2)
    assert [row[0] for row in rows(page, "The worst queries")] == ["c.jpg", "f.jpg"]
    assert [row[0] for row in rows(page, "Median queries")] == ["b.jpg", "d.jpg"]
    best = rows(page, "The best queries")
    assert best == [
        ["e.jpg", "day", "0.010", "0.00", "24", "50"],
        ["a&lt;b&gt;.jpg", "day", "0.100", "0.00", "20", "50"],
    ]
    every = rows(page, "All queries")
    assert [row[0] for row in every] == ["a&lt;b&gt;.jpg", *NAMES[1:]]
    assert every[2] == ["c.jpg", "day", "not localised", "not localised", "0", "50"]
    assert every[5][1:3] == ["night", "90.000"]
    assert "5 of 6 queries were localised; scored by true poses" in page
    assert '<tr><th>within 0.25m 2deg day</th><td>40.0 %</td><td class="interval">' in page
    assert "<th>median position</th><td>1.700 m</td>" in page
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?!#)', page)


def test_without_true_poses_there_are_estimates_alone(tmp_path: Path) -> None:
    page = show(build(tmp_path, ()))
    assert "scored by nobody yet" in page
    assert "only estimated cameras are drawn" in page
    assert "estimated: 5" in page
    assert "true: " not in page
    assert "The worst" not in page
    assert [row[2] for row in rows(page, "All queries")] == ["estimated"] * 2 + ["not localised"] + ["estimated"] * 3


def drawn(text: str) -> tuple[dict[str, str], list[str]]:
    """Words of a drawing."""
    root = ElementTree.fromstring(text)
    return dict(root.attrib), ["".join(word.itertext()) for word in root.iter(f"{SVG}text")]


def test_cameras_are_drawn_by_their_errors() -> None:
    estimated = [at(1, 0, 5), at(2.4, 0, 5), None, at(500, 0, 5)]
    bins = np.array([0, 1, 3, 3])
    found = draw_poses(MAP, estimated, TRUE[:4], bins)
    attributes, words = drawn(found.drawing)
    assert {"map: 4", "true: 4", "within 0.25 m, 2 deg: 1", "further off: 1"} <= set(words)
    assert attributes["aria-label"].endswith(
        "4 queries, 1 of them not localised: 1 within 0.25 m, 2 deg, 1 within 0.5 m, 5 deg, 0 within 5 m, 10 deg, "
        "2 further off"
    )
    assert "1 estimated cameras lie outside. 1 queries were not localised." in found.caption
    assert draw_poses(MAP, estimated, TRUE[:4], bins) == found


def test_a_map_of_one_camera_can_be_drawn() -> None:
    assert "map: 1" in draw_poses(MAP[:1], [None], (), np.zeros(1, np.int64)).drawing


@pytest.mark.parametrize(
    ("turn", "right", "up"),
    [
        # Cameras upright in a world with y down look ahead along z.
        (UPRIGHT, (1, 0, 0), (0, 0, 1)),
        # World with z up: x points right, y away.
        ((math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0), (1, 0, 0), (0, 1, 0)),
    ],
)
def test_above_is_where_the_images_have_their_top(turn, right, up) -> None:
    plane = plane_from_above([pose_at(turn, (k, 2 * k, -k)) for k in range(3)])
    np.testing.assert_allclose(plane, [right, up], atol=1e-12)


def test_cameras_that_are_turned_all_ways_are_seen_from_where_they_spread() -> None:
    ways = [(math.cos(a / 2), 0.0, 0.0, math.sin(a / 2)) for a in np.arange(4) * math.pi / 2]
    places = [(0, 0, 0.1), (5, 0, -0.1), (0, 7, -0.1), (5, 7, 0.1)]
    plane = plane_from_above([pose_at(way, at) for way, at in zip(ways, places, strict=True)])
    np.testing.assert_allclose(plane, [(1, 0, 0), (0, 1, 0)], atol=1e-6)


def test_errors_at_the_thresholds_are_within() -> None:
    positions, rotations = np.array([0.25, 0.1, 5.0, 5.0, math.inf]), np.array([2.0, 2.01, 10.0, 11.0, math.inf])
    assert bin_errors(positions, rotations).tolist() == [0, 1, 2, 3, 3]
    assert len(BINS) == 4
    assert np.argsort(order_queries(positions, rotations)).tolist() == [4, 3, 2, 1, 0]


def test_scores_and_poses_of_others_are_refused(place: Path) -> None:
    scores = json.loads((place / "s.json").read_text())
    write_poses({"b.jpg": TRUE[1]}, place / "p.txt")
    write_record(PoseRecord("", "a on b", "", 9, len(OFF), [50] * len(OFF), [0, 9, 0, 0, 0, 0]), place / "p.txt")
    with pytest.raises(StaleFileError, match=r"s\.json: scores of other poses"):
        show(place)
    assert scores["facts"]["names"] == NAMES
    build(place, tuple(TRUE))
    listed = (*rows_of("map", [f"m{k}.jpg" for k in range(4)]), *rows_of("query", NAMES[::-1]))
    write_manifest(Manifest(listed), place / "m.csv")
    with pytest.raises(DataError, match=r"p\.txt: poses of other queries"):
        show(place)
