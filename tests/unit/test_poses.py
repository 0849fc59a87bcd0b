"""Errors of poses and their metrics; files of poses and of labels."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from descbench.config.posed_datasets import AachenDataset
from descbench.config.tables import Table
from descbench.datasets.cameras import Camera, Pose, pose_at
from descbench.datasets.manifest import Manifest, rows_of, write_manifest
from descbench.datasets.pose_files import pose_names, read_poses, write_poses
from descbench.datasets.pose_labels import PoseLabels, check_pose_labels, read_pose_labels, write_pose_labels
from descbench.errors import DataError, StaleFileError
from descbench.io.jsonfiles import write_checked_json
from descbench.io.records import record_path
from descbench.localization.estimated_poses import PoseRecord, read_estimated, write_record
from descbench.metrics.compare import compare_scores
from descbench.metrics.poses import check_true_poses, pose_errors, position_error, rotation_error, score_errors
from descbench.metrics.score_poses import score_poses
from descbench.metrics.scores import Metric, Scores, read_scores, write_scores
from descbench.tables.table import build_table

HERE = Pose((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
CAMERA = Camera("SIMPLE_PINHOLE", 64, 48, (50.0, 32.0, 24.0))


def turned(degrees: float, metres: float = 0.0) -> Pose:
    half = math.radians(degrees) / 2
    return Pose((math.cos(half), 0.0, math.sin(half), 0.0), (metres, 0.0, 0.0))


@pytest.mark.parametrize("degrees", [1e-7, 0.02, 2.0, 90.0, 179.0, 180.0])
def test_rotation_error_is_the_angle(degrees: float) -> None:
    assert rotation_error(turned(degrees), HERE) == pytest.approx(degrees, rel=1e-6)
    assert rotation_error(turned(degrees + 30), turned(30)) == pytest.approx(degrees, rel=1e-6)
    opposite = Pose(tuple(-q for q in turned(degrees).rotation), (0.0, 0.0, 0.0))
    assert rotation_error(opposite, turned(degrees)) < 1e-6


def test_position_error_is_of_centres() -> None:
    """Translations of cameras in one place differ where they look elsewhere."""
    one = Pose((1.0, 0.0, 0.0, 0.0), (-1.0, -2.0, -3.0))
    other = Pose((0.0, 1.0, 0.0, 0.0), (-1.0, 2.0, 3.0))
    assert position_error(one, other) < 1e-12
    assert position_error(one, HERE) == pytest.approx(math.sqrt(14))


def test_queries_without_pose_are_wrong() -> None:
    true = [HERE] * 5
    found = [HERE, turned(1.0, 0.1), turned(1.0, 0.3), turned(20.0, 0.1), None]
    positions, rotations = pose_errors(found, true)
    assert math.isinf(positions[4])
    assert math.isinf(rotations[4])
    metrics, per_query = score_errors(positions, rotations)
    shares = [metrics[name].value for name in ("within_0.25m_2deg", "within_0.5m_5deg", "within_5m_10deg")]
    assert shares == [0.4, 0.6, 0.6]
    assert per_query["within_0.25m_2deg"] == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert metrics["median_position"].value == pytest.approx(0.1)
    assert metrics["median_rotation"].value == pytest.approx(1.0)
    assert per_query["median_position"][4] is None
    assert (metrics["median_position"].unit, metrics["median_position"].direction) == ("metre", "lower")
    assert metrics["within_5m_10deg"].direction == "higher"
    assert metrics["within_5m_10deg"].low < 0.6 < metrics["within_5m_10deg"].high


def estimated_poses() -> list[Pose]:
    """Cameras on a circle around a market place, all of which look at something else."""
    places = [(40 * math.cos(n), 3.0, 40 * math.sin(n)) for n in range(6)]
    return [pose_at(turned(50.0 * n).rotation, place) for n, place in enumerate(places)]


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda pose: Pose(pose_at(pose.rotation, (0, 0, 0)).rotation, pose.centre), "camera centres"),
        (lambda pose: Pose((pose.rotation[0], *(-q for q in pose.rotation[1:])), pose.centre), "camera to world"),
        (lambda pose: pose, None),
        (lambda pose: pose_at(turned(100.0).rotation, (9.0, 9.0, 9.0)), None),  # just wrong
    ],
)
def test_true_poses_of_another_convention_are_known(write, told) -> None:
    estimated = estimated_poses()
    found = check_true_poses([*estimated, None], [*map(write, estimated), HERE])
    assert found is None if told is None else told in found
    # Where a method finds hardly any query, nothing is said.
    assert check_true_poses([*estimated[:2], *[None] * 4], [write(pose) for pose in estimated]) is None


def test_true_poses_of_another_convention_are_refused(tmp_path: Path) -> None:
    estimated = estimated_poses()
    names = [f"{n}.jpg" for n in range(len(estimated))]
    manifest = Manifest(tuple(rows_of("query", names)))
    write_manifest(manifest, tmp_path / "m.csv")
    inverse = tuple(Pose((p.rotation[0], *(-q for q in p.rotation[1:])), p.centre) for p in estimated)
    for true, refused in ((tuple(estimated), False), (inverse, True)):
        labels = PoseLabels((CAMERA,), (CAMERA,) * len(names), (HERE,), true)
        write_pose_labels(labels, tmp_path / "l.json")
        write_poses(dict(zip(pose_names(names), estimated, strict=True)), tmp_path / "p.txt")
        counts = [9] * len(names)
        write_record(PoseRecord("", "m on d", "r", 9, len(names), counts, counts), tmp_path / "p.txt")
        given = (tmp_path / "p.txt", tmp_path / "l.json", tmp_path / "m.csv", tmp_path / "s.json")
        if refused:
            with pytest.raises(DataError, match=r"l\.json: hardly any .* if they are camera to world"):
                score_poses(*given)
        else:
            score_poses(*given)


def test_thresholds_are_inclusive() -> None:
    metrics, _ = score_errors(np.array([0.25, 0.5, 5.0]), np.array([2.0, 5.0, 10.0]))
    assert [round(3 * metrics[n].value) for n in list(metrics)[:3]] == [1, 2, 3]


def test_median_of_mostly_lost_queries_is_unknown() -> None:
    metrics, _ = score_errors(np.array([0.1, math.inf, math.inf]), np.array([0.1, math.inf, math.inf]))
    assert metrics["median_position"].value is None
    metrics, _ = score_errors(np.array([0.1, 0.2, math.inf]), np.array([0.1, 0.2, math.inf]))
    assert metrics["median_position"].value == 0.2
    assert metrics["median_position"].high is None  # some draws have two lost queries


def test_conditions_have_metrics_of_their_own() -> None:
    metrics, per_query = score_errors(np.array([0.1, 9.0]), np.array([1.0, 1.0]), ("day", "night"))
    assert metrics["within_0.25m_2deg_day"].value == 1.0
    assert metrics["within_0.25m_2deg_night"].value == 0.0
    assert per_query["within_0.25m_2deg_day"] == [1.0, None]
    block = AachenDataset(format="aachen", images="i", model="m", queries=("q.txt",), conditions=("day", "night"))
    assert tuple(metrics) == block.metrics().names


def scores_of(positions: list[float]) -> Scores:
    metrics, per_query = score_errors(np.array(positions), np.array(positions))
    facts = {
        "queries": "queries",
        "names": ["a"] * len(positions),
        "localised": len(positions),
        "filled": 0,
        "inliers": [9] * len(positions),
        "poses": "0" * 64,
        "scored_by": "true poses",
    }
    return Scores("localisation", "poses", len(positions), metrics, per_query, facts, cell="m on d")


def test_scores_files_hold_medians(tmp_path: Path) -> None:
    scores = scores_of([0.1, 0.2, 7.0, math.inf])
    write_scores(scores, tmp_path / "s.json")
    assert read_scores(tmp_path / "s.json", "m on d") == scores
    told = compare_scores(scores, scores_of([0.1, 0.2, 0.3, 0.4]))
    assert any(line.endswith("not the median of differences") for line in told), told


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (Metric(9.0, None, None, "bootstrap", "metre", "lower", statistic="median"), "not among its values"),
        (Metric(-1.0, None, None, "bootstrap", "metre", "lower", statistic="median"), "not a metre"),
        (Metric(0.2, None, None, "bootstrap", "metre", "lower", statistic="stated"), "is stated, but"),
        (Metric(0.2, None, None, "bootstrap", "metre", "lower"), "not the mean"),
    ],
)
def test_metrics_that_cannot_be(tmp_path: Path, metric: Metric, message: str) -> None:
    scores = scores_of([0.1, 0.2, 7.0])
    write_scores(replace(scores, metrics={**scores.metrics, "median_position": metric}), tmp_path / "s.json")
    with pytest.raises(DataError, match=message):
        read_scores(tmp_path / "s.json")


def test_names_are_short_where_they_can_be() -> None:
    assert pose_names(["query/day/a.jpg", "query/night/b.jpg"]) == ["a.jpg", "b.jpg"]
    assert pose_names(["query/day/a.jpg", "query/night/a.jpg"]) == ["query/day/a.jpg", "query/night/a.jpg"]
    assert pose_names([]) == []


def test_poses_go_through_a_file(tmp_path: Path) -> None:
    poses = {"b.jpg": turned(33.3, 0.1), "a.jpg": Pose((1.0, 0.0, 0.0, 0.0), (1e-300, 1 / 3, -5e10))}
    write_poses(poses, tmp_path / "p.txt")
    assert read_poses(tmp_path / "p.txt") == poses
    assert list(read_poses(tmp_path / "p.txt")) == ["b.jpg", "a.jpg"]
    with pytest.raises(DataError, match="blanks"):
        write_poses({"a b.jpg": HERE}, tmp_path / "q.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg 1 0 0 0 0 0\n", "a pose is"),
        ("a.jpg 1 0 0 0 0 0 nan\n", "finite"),
        ("a.jpg 0 0 0 0 0 0 0\n", "not a rotation"),
        ("a.jpg 2 0 0 0 0 0 0\n", "not a rotation"),
        ("a.jpg 1 0 0 0 0 0 0\n" * 2, "twice"),
    ],
)
def test_poses_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_poses(tmp_path / "p.txt")
    with pytest.raises(DataError, match="no such file"):
        read_poses(tmp_path / "q.txt")


def test_records_know_their_poses(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    write_poses({"a.jpg": HERE}, path)
    write_record(PoseRecord("", "m on d", "r", 9, 2, [10, 3], [8, 0]), path)
    assert read_estimated(path, "m on d")[0] == {"a.jpg": HERE}
    with pytest.raises(StaleFileError, match="not of x on d"):
        read_estimated(path, "x on d")
    write_record(PoseRecord("", "m on d", "r", 9, 2, [10, 3], [8, 7]), path)
    with pytest.raises(DataError, match="others were localised"):
        read_estimated(path)
    write_record(PoseRecord("", "m on d", "r", 9, 3, [10, 3], [8, 0]), path)
    with pytest.raises(DataError, match="not one a query"):
        read_estimated(path)
    path.write_text("a.jpg 1 0 0 0 0 0 1\n")
    with pytest.raises(DataError, match="edited by hand"):
        read_estimated(path)
    Path(record_path(path)).unlink()
    with pytest.raises(DataError, match="no record of poses"):
        read_estimated(path)


LABELS = PoseLabels((CAMERA,) * 2, (CAMERA,), (HERE, turned(3, 1)), (HERE,), ("day",), ((0, 1),), ((0, 1),))


def test_labels_go_through_a_file(tmp_path: Path) -> None:
    write_pose_labels(LABELS, tmp_path / "l.json")
    assert read_pose_labels(tmp_path / "l.json") == LABELS


@pytest.mark.parametrize(
    "wrong",
    [
        {"map_poses": (HERE,)},
        {"query_poses": (HERE, HERE)},
        {"conditions": ("day", "night")},
        {"map_pairs": ((0, 2),)},
        {"query_pairs": ((1, 0),)},
        {"map_cameras": (), "map_poses": (), "map_pairs": (), "query_pairs": ()},
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, wrong: dict) -> None:
    labels = replace(LABELS, **wrong)
    write_pose_labels(labels, tmp_path / "l.json")
    with pytest.raises(DataError):
        read_pose_labels(tmp_path / "l.json")
    manifest = Manifest((*rows_of("map", ["a", "b"]), *rows_of("query", ["c"])))
    check_pose_labels("l.json (datasets.d)", LABELS, manifest)
    with pytest.raises(DataError, match=r"^l\.json \(datasets\.d\): "):
        check_pose_labels("l.json (datasets.d)", labels, manifest)


def test_other_labels_are_no_poses(tmp_path: Path) -> None:
    write_checked_json(tmp_path / "l.json", {"protocol": "revisited"})
    with pytest.raises(DataError, match="holds no poses"):
        read_pose_labels(tmp_path / "l.json")


def shown(tmp_path: Path, scores: Scores) -> str:
    """The Markdown of a table with one cell."""
    write_scores(scores, tmp_path / "s.json")
    columns = ({"dataset": "d", "metric": "median_position", "label": "median"},)
    table = Table(title="T", columns=columns, rows=({"label": "row", "method": "m"},))
    files = tmp_path / "t.csv", tmp_path / "t.md"
    build_table("t", table, {("m", "d"): tmp_path / "s.json"}, {("m", "d"): "p.json"}, *files)
    return files[1].read_text()


def test_tables_show_centimetres(tmp_path: Path) -> None:
    text = shown(tmp_path, scores_of([0.1, 0.12, 7.0]))
    assert re.search(r"\| row \| 12\.00 \[\d+\.\d\d, \d+\.\d\d\]", text)
    assert "3 of 3 queries were localised" in text


def test_cells_without_figures_of_the_server_show_what_to_upload(tmp_path: Path) -> None:
    scores = scores_of([0.1])
    facts = {**scores.facts, "scored_by": "nobody yet", "poses": "abcdef" * 10 + "0123"}
    text = shown(tmp_path, replace(scores, metrics={}, per_query={}, facts=facts))
    assert "| row | poses abcdefabcdef |" in text
    assert facts["poses"] in text
