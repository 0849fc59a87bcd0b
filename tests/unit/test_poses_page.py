"""The page of poses: the map from above, and what is written about each query."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from descbench.datasets.cameras import Camera, Pose, pose_at
from descbench.datasets.manifest import Manifest, rows_of, write_manifest
from descbench.datasets.pose_files import write_poses
from descbench.datasets.pose_labels import PoseLabels, read_pose_labels, write_pose_labels
from descbench.errors import DataError, StaleFileError
from descbench.localization.estimated_poses import PoseRecord, write_record
from descbench.matching.matcher import PairMatches
from descbench.matching.matches import MatchesInfo, write_matches
from descbench.metrics.score_poses import score_poses
from descbench.tables.poses_map import BINS, bin_errors, draw_poses, plane_from_above
from descbench.tables.poses_page import PoseFiles, order_queries, show_poses
from descbench.tables.poses_pictures import nearest_camera

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
    for path in (*(f"m{k}.jpg" for k in range(4)), *NAMES):
        Image.new("RGB", (64, 48), (90, 90, 90)).save(place / path)
    # Query k has k + 1 matches with the map image 3 and two with image 1; the third was matched with nothing.
    pairs = [(query, image) for query in range(len(OFF)) if query != 2 for image in (1, 3)]
    found = [_matches(1 + query if image == 3 else 2) for query, image in pairs]
    write_matches(pairs, found, MatchesInfo("", "", "", "a on b"), place / "x.h5")
    score_poses(place / "p.txt", place / "l.json", place / "m.csv", place / "s.json", cell="a on b")
    return place


def _matches(number: int) -> PairMatches:
    return PairMatches(np.tile(np.arange(number, dtype=np.int32)[:, None], 2), np.ones(number, np.float32), (50, 50))


def show(place: Path, **options) -> str:
    files = PoseFiles(*(place / name for name in ("p.txt", "s.json", "l.json", "m.csv", "x.h5")), place)
    show_poses(files, place / "page.html", method="a", dataset="b", **options)
    return (place / "page.html").read_text(encoding="utf-8")


def rows(page: str) -> list[list[str]]:
    """What stands in the table of all queries, after the number, which leads to pictures or not."""
    part = page.partition("<h2>All queries</h2>")[2].partition("</section>")[0].partition("<tbody>")[2]
    return [re.findall(r"<td.*?>(.*?)</td>", row) for row in re.findall(r"<tr.*?>(.*?)</tr>", part)]


def pictured(page: str) -> dict[str, list[str]]:
    """Headings, with the names of the queries that have pictures below them."""
    found: dict[str, list[str]] = {}
    for heading, name in re.findall(r"<h2>(.*?)</h2>|<h3>(.*?)</h3>", page):
        found.setdefault(heading, []) if heading else found[list(found)[-1]].append(name)
    return {heading: names for heading, names in found.items() if names}


def section(page: str, query: int) -> str:
    return re.search(rf'<section id="query-{query}">.*?</section>', page, re.S)[0]


def test_queries_are_listed_with_their_errors(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = show(place, each=1)
    every = rows(page)
    assert [row[0] for row in every] == [NAMES[k].replace("<", "&lt;").replace(">", "&gt;") for k in (2, 5, 1, 3, 0, 4)]
    assert every[0] == ["c.jpg", "day", "not localised", "not localised", "0", "50"]
    assert every[1][1:3] == ["night", "90.000"]
    assert every[4] == ["a&lt;b&gt;.jpg", "day", "0.100", "0.00", "20", "50"]
    assert every[5] == ["e.jpg", "day", "0.010", "0.00", "24", "50"]
    chosen = {"The worst queries": ["c.jpg"], "Median queries": ["b.jpg"], "The best queries": ["e.jpg"]}
    others = ["f.jpg", "d.jpg", "a&lt;b&gt;.jpg"]
    assert pictured(page) == chosen | {"Other queries, the worst first": others}
    monkeypatch.setattr("descbench.tables.listed_queries.ROOM", 0)
    less = show(place, each=1)
    assert pictured(less) == chosen
    assert rows(less) == every
    assert re.findall(r'<a href="#query-(\d)">', less) == ["2", "1", "4"]
    assert "3 of 6 queries have pictures below" in less
    assert "5 of 6 queries were localised; scored by true poses" in page
    assert '<tr><th>within 0.25m 2deg day</th><td>40.0 %</td><td class="interval">' in page
    assert "<th>median position</th><td>1.700 m</td>" in page
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?!#|data:image/jpeg)', page)


def test_pictures_stand_beside_the_map(place: Path) -> None:
    """The map image with the most matches, and the nearest one; query k truly stands at 1 + k, the map at 0 and 10."""
    page = show(place)
    assert "<p>day, 0.100 m and 0.00 degrees off, 20 of 50 correspondences are inliers</p>" in section(page, 0)
    assert "<p>day, not localised, 0 of 50 correspondences are inliers</p>" in section(page, 2)
    text = r"<strong>(.*?)</strong>,? ?(.*?)<br/>(.*?)<br/>(\w+\.jpg)</figcaption>"
    assert re.findall(text, section(page, 0)) == [
        ("most matches", "2 matches", "10.30 m and 0.0 degrees from the true camera", "m1.jpg"),
        ("nearest camera", "not matched with the query", "5.10 m and 0.0 degrees from the true camera", "m0.jpg"),
    ]
    assert [found[0::3] for found in re.findall(text, section(page, 1))] == [
        ("most matches", "m1.jpg"),  # of equal numbers the first
        ("nearest camera", "m0.jpg"),
    ]
    assert [found[0::3] for found in re.findall(text, section(page, 2))] == [("nearest camera", "m0.jpg")]
    both = "most matches, and the nearest camera"
    assert re.findall(text, section(show(place_where_they_agree(place)), 5)) == [
        (both, "6 matches", "6.40 m and 0.0 degrees from the true camera", "m3.jpg")
    ]
    assert len(re.findall(r'<img src="data:image/jpeg', section(page, 0))) == 3


def place_where_they_agree(place: Path) -> Path:
    """The map image 1, which stands as near to the later queries as 3 does, is gone far away."""
    labels = read_pose_labels(place / "l.json")
    moved = (MAP[0], at(10, 0, -90), *MAP[2:])
    write_pose_labels(replace(labels, map_poses=moved), place / "l.json")
    score_poses(place / "p.txt", place / "l.json", place / "m.csv", place / "s.json", cell="a on b")
    return place


def test_the_nearest_camera_looks_the_same_way() -> None:
    turned = pose_at((0.0, 0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    assert nearest_camera([turned, at(5, 0, 0), at(-5, 0, 0)], at(0, 0, 0)) == 1
    assert nearest_camera([turned, pose_at((0.0, 0.0, 1.0, 0.0), (0.5, 0.0, 0.0))], at(0, 0, 0)) == 1


def test_pictures_that_cannot_be_read_and_matches_of_others(place: Path) -> None:
    (place / "m1.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"m1\.jpg"):
        show(place)
    assert '<div class="missing">' in section(show(place, on_bad_image="skip"), 0)
    write_matches([(0, 9)], [_matches(1)], MatchesInfo("", "", "", "a on b"), place / "x.h5")
    with pytest.raises(DataError, match=r"x\.h5: matches of other images"):
        show(place)
    write_matches([], [], MatchesInfo("", "", "", "c on d"), place / "x.h5")
    with pytest.raises(StaleFileError, match=r"x\.h5: matches of c on d"):
        show(place)


def test_without_true_poses_there_are_estimates_alone(tmp_path: Path) -> None:
    page = show(build(tmp_path, ()))
    assert "scored by nobody yet" in page
    assert "only estimated cameras are drawn" in page
    assert "estimated: 5" in page
    assert "true: " not in page
    assert "The worst" not in page
    assert [row[2] for row in rows(page)] == ["not localised"] + ["estimated"] * 5
    assert [len(names) for names in pictured(show(tmp_path, each=1)).values()] == [1, 1, 1, 3]
    assert pictured(page)["Fewest inliers"] == ["c.jpg", "a&lt;b&gt;.jpg", "b.jpg"]
    assert "<p>day, estimated, 21 of 50 correspondences are inliers</p>" in section(page, 1)
    assert re.findall(r"<strong>(\w.*?)</strong>", section(page, 3)) == ["query", "most matches"]
    assert "true camera" not in page


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


def test_a_map_of_very_many_queries_stays_small() -> None:
    """Those that would cover each other are drawn once; counts are of all."""
    many = [TRUE[1]] * 20_000
    found = draw_poses(MAP, many, [TRUE[0]] * len(many), np.zeros(len(many), np.int64))
    assert "1 of 20000 queries are drawn" in found.caption
    assert "true: 20000" in found.drawing
    assert len(found.drawing) < 100_000
    unknown = draw_poses(MAP, many, (), np.zeros(len(many), np.int64))
    assert "1 of 20000 queries are drawn" in unknown.caption


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
