"""Place recognition: lists with positions, labels by radius, recall with its rules, and what is refused."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy.io import savemat

from descbench.config.datasets import Dataset, UtmNamesDataset
from descbench.config.tables import Table
from descbench.datasets.build import build_manifest
from descbench.datasets.manifest import Manifest, read_manifest
from descbench.datasets.places import PlaceLabels, read_places, write_places
from descbench.datasets.positions import Positions, label_places
from descbench.datasets.utm_names import position_of
from descbench.errors import DataError
from descbench.io.jsonfiles import write_checked_json
from descbench.metrics.intervals import wilson_interval
from descbench.metrics.places import find_first_hits, first_of_each_panorama
from descbench.metrics.protocols import read_labels
from descbench.metrics.score import score_ranking
from descbench.metrics.scores import Scores, read_scores
from descbench.retrieval.ranking import PartInfo, rank_scores, ranking_writer
from descbench.tables.report import build_report
from descbench.tables.table import build_table

DBSTRUCT = {"format": "dbstruct", "struct": "town.mat", "images": "town", "queries": "town/asked"}
EAST, NORTH = 584_291.2115431237, 4_476_686.907978502


def _column(names: list[Any]) -> np.ndarray:
    cells = np.empty((len(names), 1), object)
    cells[:, 0] = names
    return cells


def _struct(**changes: Any) -> dict[str, Any]:
    """Five database images on a line eastwards, 0, 10, 25, 26 and 100 m from where it begins; two queries."""
    steps = np.array([0, 10, 25, 26, 100])
    fields = {
        "whichSet": "val",
        "dbImageFns": _column([f"000/{i}.jpg" for i in range(5)]),
        "utmDb": np.stack([EAST + steps, np.full(5, NORTH)]),
        "qImageFns": _column(["000/q0.jpg", "000/q1.jpg"]),
        "utmQ": np.array([[EAST, EAST - 500], [NORTH, NORTH]]),
        "numImages": 5,
        "numQueries": 2,
        "posDistThr": 25,
        "posDistSqThr": 625,
        "nonTrivPosDistSqThr": 100,
    }
    return {key: value for key, value in (fields | changes).items() if value is not None}


def _build(folder: Path, struct: dict[str, Any] | None = None, **block: Any) -> tuple[Manifest, PlaceLabels]:
    if struct is not None:
        savemat(folder / "town.mat", {"dbStruct": struct})
    dataset = TypeAdapter(Dataset).validate_python(DBSTRUCT | block)
    build_manifest("town", dataset, folder, folder / "out/town.csv", folder / "out/town.gt.json")
    return read_manifest(folder / "out/town.csv"), read_places(folder / "out/town.gt.json")


# --- dbStruct ----------------------------------------------------------------------------------


def test_dbstruct(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    manifest, labels = _build(tmp_path, _struct())
    rows = manifest.rows
    assert [row.role for row in rows] == ["database"] * 5 + ["query"] * 2
    assert [row.path for row in rows[-3:]] == ["town/000/4.jpg", "town/asked/000/q0.jpg", "town/asked/000/q1.jpg"]
    # Written and read without losing a bit.
    assert (rows[0].easting, rows[0].northing, rows[4].easting) == (EAST, NORTH, EAST + 100)
    assert labels == PlaceLabels(25.0, ((0, 1, 2), ()), ((0, 1), ()))
    assert "1 of 2 queries have no database image within 25 m; they count as missed" in caplog.text
    assert read_labels(tmp_path / "out/town.gt.json") == ("places", labels)


def test_more_images_than_unverified_counts_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Shards are cut by the counts, so some images would never be searched; fewer are only a warning."""
    with pytest.raises(DataError, match=r"set datasets\.town\.counts\.database to 5"):
        _build(tmp_path, _struct(), counts={"database": 4}, counts_verified=False)
    manifest, _ = _build(tmp_path, _struct(), counts={"database": 6}, counts_verified=False)
    assert len(manifest.of_role("database")) == 5
    assert "5 database images, but this dataset has 6" in caplog.text


def test_what_the_configuration_says_goes_before_the_list(tmp_path: Path) -> None:
    _, labels = _build(tmp_path, _struct(), radius=26, training_radius=9.5)
    assert labels.radius == 26
    assert (labels.positives[0], labels.training_positives[0]) == ((0, 1, 2, 3), (0,))
    _, labels = _build(tmp_path, _struct(posDistThr=9, posDistSqThr=81, nonTrivPosDistSqThr=0.5))
    assert (labels.radius, labels.positives[0], labels.training_positives[0]) == (9, (0,), (0,))


def test_lists_without_distances_have_the_usual_ones(tmp_path: Path) -> None:
    bare = _struct(**dict.fromkeys(("numImages", "numQueries", "posDistThr", "posDistSqThr", "nonTrivPosDistSqThr")))
    _, labels = _build(tmp_path, bare)
    assert (labels.radius, labels.positives[0], labels.training_positives[0]) == (25, (0, 1, 2), (0, 1))


def test_fields_of_other_names_are_read_by_position(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, expected = _build(tmp_path, _struct())
    renamed = {f"field{number}": value for number, value in enumerate(_struct().values())}
    _, labels = _build(tmp_path, renamed)
    assert labels == expected
    assert "read by position" in caplog.text
    timed = _timed()
    _, expected = _build(tmp_path, timed, positives="matlab")
    _, labels = _build(tmp_path, {f"f{n}": value for n, value in enumerate(timed.values())}, positives="matlab")
    assert labels == expected


def _timed(**changes: Any) -> dict[str, Any]:
    """In the order of Tokyo Time Machine; the second database image is of the first query's time."""
    fields = _struct(dbTimeStamp=np.array([200801.0, 200902, 200903, 200904, 200905]), qTimeStamp=[200902.0, 200801])
    order = ["whichSet", "dbImageFns", "utmDb", "dbTimeStamp", "qImageFns", "utmQ", "qTimeStamp"]
    return {key: fields[key] for key in (*order, *(k for k in fields if k not in order))} | changes


def _asked_at(east: float) -> np.ndarray:
    """Positions of two queries at one place."""
    return np.array([[east, east], [NORTH, NORTH]])


def test_positives_of_the_matlab_code(tmp_path: Path) -> None:
    """More than 1 m away, within 10 m, of another time."""
    _, labels = _build(tmp_path, _struct(), positives="matlab")
    assert labels.training_positives == ((1,), ())
    _, labels = _build(tmp_path, _timed(), positives="matlab")
    assert labels.training_positives == ((), ())
    assert labels.positives[0] == (0, 1, 2)
    moved = _struct()["utmQ"] + [[0.5], [0]]
    _, labels = _build(tmp_path, _timed(utmQ=moved, qTimeStamp=np.array([1.0, 2.0])), positives="matlab")
    assert labels.training_positives == ((1,), ())


@pytest.mark.parametrize(("rule", "expected"), [("pytorch", (0, 1, 2, 3)), ("matlab", (2, 3))])
def test_limits_of_training_positives(rule: str, expected: tuple[int, ...]) -> None:
    """MATLAB leaves out what is exactly 1 m away; both take what is exactly 10 m away."""
    places = np.array([[0.0, 0], [1, 0], [1.0001, 0], [6, 8], [10.0001, 0]])
    dataset = TypeAdapter(Dataset).validate_python(DBSTRUCT | {"positives": rule})
    labels = label_places(Positions(places + 4.5e6, places[:1] + 4.5e6, "drawn"), dataset)
    assert labels.training_positives == (expected,)


def test_images_of_the_same_time(tmp_path: Path) -> None:
    _, labels = _build(tmp_path, _timed(utmQ=_asked_at(EAST + 100)), exclude_same_time=True)
    assert labels.database_times == (200801, 200902, 200903, 200904, 200905)
    assert labels.query_times == (200902, 200801)
    assert labels.without_positive() == 0
    _, labels = _build(
        tmp_path, _timed(qTimeStamp=np.array([200905.0, 1]), utmQ=_asked_at(EAST + 100)), exclude_same_time=True
    )
    # The only image near the first query is of its own time.
    assert (labels.positives, labels.without_positive()) == (((4,), (4,)), 1)
    with pytest.raises(DataError, match=r"town\.mat: no time stamps, which `exclude_same_time: true` goes by"):
        _build(tmp_path, _struct(), exclude_same_time=True)


def test_files_of_another_suffix(tmp_path: Path) -> None:
    names = _column(["a.b/0.jpg", "1.jpg", "a.b/noext", "x.tar.jpg", "4.jpeg"])
    manifest, _ = _build(tmp_path, _struct(dbImageFns=names), suffix=".png")
    expected = ["a.b/0.png", "1.png", "a.b/noext.png", "x.tar.png", "4.png", "asked/000/q0.jpg", "asked/000/q1.jpg"]
    assert [row.path for row in manifest.rows] == [f"town/{name}" for name in expected]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"dbImageFns": _column(["a.jpg"] * 5)}, "dbImageFns names 'a.jpg' twice"),
        ({"dbImageFns": _column([f"{i}" for i in range(4)])}, "numImages is 5, but there are 4 names"),
        ({"dbImageFns": _column([*"abcd", "../../etc/passwd"])}, "leaves the dataset's folder"),
        ({"dbImageFns": _column([*"abcd", 7.0])}, "dbImageFns: cell 4 is not a name"),
        ({"dbImageFns": np.array(["ab", "cd"])}, "dbImageFns is not a cell column"),
        ({"dbImageFns": _column(list("abcdef")).reshape(2, 3)}, "dbImageFns is not a cell column"),
        ({"dbImageFns": "a.jpg"}, "dbImageFns is not a cell column"),
        ({"dbImageFns": 5.0}, "dbImageFns is not a cell column"),
        ({"qImageFns": np.empty((0, 1), object), "numQueries": 0}, "qImageFns is not a cell column"),
        ({"qImageFns": np.empty((0, 0), object), "numQueries": 0}, "qImageFns names no image"),
        ({"numQueries": 3}, "numQueries is 3, but there are 2 names"),
        ({"numQueries": np.array([2, 2])}, "numQueries is not a single number"),
        ({"numImages": "5"}, "numImages holds no real numbers"),
        ({"utmQ": np.array([[EAST, np.nan], [NORTH, NORTH]])}, "utmQ holds NaN or infinity"),
        ({"utmDb": np.full((2, 5), 1e9)}, r"a coordinate beyond 1e\+08 m"),
        ({"utmQ": np.array([[EAST, NORTH]] * 3)}, "utmQ is 3 x 2, but 2 names need 2 x 2"),
        ({"utmDb": _struct()["utmDb"].T}, "utmDb is 5 x 2, but 5 names need 2 x 5"),
        ({"utmDb": _column([1.0, 2.0])}, "utmDb holds no real numbers"),
        ({"utmDb": {"a": 1.0}}, "utmDb holds no real numbers"),
        ({"posDistThr": 0}, "posDistThr is 0; a distance above 0"),
        ({"posDistThr": 25, "posDistSqThr": 25}, "posDistSqThr 25 is not the square of posDistThr 25"),
        ({"nonTrivPosDistSqThr": np.inf}, "nonTrivPosDistSqThr holds NaN or infinity"),
        ({"utmQ": None}, "dbStruct has fields .*; dbImageFns, utmDb, qImageFns, utmQ are needed"),
    ],
)
def test_bad_dbstruct(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    with pytest.raises(DataError, match=rf"town\.mat.*(?:{match})"):
        _build(tmp_path, _struct(**changes))
    assert not (tmp_path / "out").exists()


def test_bad_time_stamps(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dbTimeStamp holds 2 time stamps for 5 names"):
        _build(tmp_path, _timed(dbTimeStamp=np.array([1.0, 2])), exclude_same_time=True)


def test_other_files_than_a_dbstruct(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"town\.mat: no such file"):
        _build(tmp_path)
    savemat(tmp_path / "town.mat", {"something": 1})
    with pytest.raises(DataError, match=r"town\.mat: no variable 'dbStruct'"):
        _build(tmp_path)
    savemat(tmp_path / "town.mat", {"dbStruct": 1})
    with pytest.raises(DataError, match=r"town\.mat: dbStruct is not a struct"):
        _build(tmp_path)
    (tmp_path / "town.mat").write_bytes(b"<html>404</html>" * 20)
    with pytest.raises(DataError, match=r"town\.mat: not a MATLAB file"):
        _build(tmp_path)


# --- names with positions ----------------------------------------------------------------------


def _named(folder: Path, role: str, *steps: float, more: str = "10@S@lat@lon@") -> Path:
    (folder / role).mkdir(parents=True, exist_ok=True)
    for step in steps:
        (folder / role / f"@{EAST + step:.2f}@{NORTH:.2f}@{more}.jpg").touch()
    return folder / role


def _utm(folder: Path) -> dict[str, Any]:
    return {"format": "utm_names", "database": folder / "database", "queries": folder / "queries"}


def _build_names(folder: Path, **block: Any) -> tuple[Manifest, PlaceLabels]:
    dataset = TypeAdapter(Dataset).validate_python(_utm(folder) | block)
    build_manifest("mine", dataset, folder, folder / "m.csv", folder / "m.gt.json")
    return read_manifest(folder / "m.csv"), read_places(folder / "m.gt.json")


def test_positions_in_names(tmp_path: Path) -> None:
    _named(tmp_path, "database", 0, 10, 25, 26)
    _named(tmp_path, "queries", 0)
    (tmp_path / "database/notes.txt").touch()
    manifest, labels = _build_names(tmp_path)
    east, north = round(EAST, 2), round(NORTH, 2)
    assert [(row.role, row.easting, row.northing) for row in manifest.rows] == [
        *(("database", pytest.approx(east + step, abs=0.006), north) for step in (0, 10, 25, 26)),
        ("query", east, north),
    ]
    assert manifest.rows[-1].path == f"queries/@{EAST:.2f}@{NORTH:.2f}@10@S@lat@lon@.jpg"
    assert labels.radius == 25
    assert labels.training_positives == ((0, 1),)
    _, labels = _build_names(tmp_path, radius=26.01, training_radius=1)
    assert (labels.positives, labels.training_positives) == (((0, 1, 2, 3),), ((0,),))


@pytest.mark.parametrize("name", ["x@-1.5@2@.jpg", "deep/@-1.5@2@any@.png", "@-1.50@+2.@@@.jpeg"])
def test_names_with_a_position(name: str) -> None:
    assert position_of(name) == (-1.5, 2.0)


@pytest.mark.parametrize(
    "name",
    ["a.jpg", "@1.5@2.jpg", "@1.5@@.jpg", "@nan@2@.jpg", "@1_0@2@.jpg", "@1e5@2@.jpg", "@@1@2@.jpg", "@1@2@/a.jpg"],
)
def test_names_without_a_position(name: str) -> None:
    with pytest.raises(DataError, match="no position in this name"):
        position_of(name)


def test_folders_that_cannot_be_scored(tmp_path: Path) -> None:
    _named(tmp_path, "queries", 0)
    with pytest.raises(DataError, match="database: no such folder"):
        _build_names(tmp_path)
    _named(tmp_path, "database", 0)
    (tmp_path / "database/plain.jpg").touch()
    with pytest.raises(DataError, match=r"database/plain\.jpg: no position in this name"):
        _build_names(tmp_path)
    (tmp_path / "database/plain.jpg").unlink()
    _named(tmp_path, "database", 5, more="11@T@lat@lon@")
    with pytest.raises(DataError, match=r"UTM zone 10, but database/.* is of zone 11|UTM zone 11, but database"):
        _build_names(tmp_path)


def test_blocks_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="time stamps are not read from names"):
        UtmNamesDataset(**_utm(tmp_path), exclude_same_time=True)
    with pytest.raises(ValidationError, match="'day' is written twice"):
        UtmNamesDataset(**_utm(tmp_path), conditions=("day", "night", "day"))


# --- labels ------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.sampled_from(["pytorch", "matlab"]))
def test_labels_are_those_of_the_definition(seed: int, rule: str) -> None:
    """On a grid of 5 m many distances are exactly 5, 10 and 25 m, far from the origin as UTM is."""
    dice = np.random.default_rng(seed)
    database = dice.integers(0, 10, (30, 2)) * 5.0 + [EAST // 1, 4.5e6]
    queries = dice.integers(0, 10, (7, 2)) * 5.0 + [EAST // 1, 4.5e6]
    dataset = TypeAdapter(Dataset).validate_python(DBSTRUCT | {"positives": rule})
    times = dice.integers(0, 3, 30), dice.integers(0, 3, 7)
    labels = label_places(Positions(database, queries, "drawn", *times), dataset)
    squares = ((queries[:, None] - database) ** 2).sum(-1)
    usable = squares <= 100
    if rule == "matlab":
        usable &= (squares > 1) & (times[1][:, None] != times[0])
    assert labels.positives == tuple(tuple(np.flatnonzero(row).tolist()) for row in squares <= 625)
    assert labels.training_positives == tuple(tuple(np.flatnonzero(row).tolist()) for row in usable)


def test_labels_of_another_version_are_refused(tmp_path: Path) -> None:
    write_checked_json(tmp_path / "gt.json", {"protocol": "places", "radius": 25, "positives": []})
    with pytest.raises(DataError, match=r"gt\.json: not a file of positions of this version"):
        read_places(tmp_path / "gt.json")
    write_checked_json(tmp_path / "gt.json", {"protocol": "classic", "queries": []})
    with pytest.raises(DataError, match="holds no positions"):
        read_places(tmp_path / "gt.json")


# --- recall ------------------------------------------------------------------------------------


def plain_first_hit(ranked: list[int], labels: PlaceLabels, query: int) -> tuple[int, int]:
    """From the definition: rank of the first right image (0: none), and how many images count."""
    seen: list[int] = []
    panoramas: set[int] = set()
    for image in ranked:
        if labels.query_times and image >= 0 and labels.database_times[image] == labels.query_times[query]:
            continue
        if labels.views_per_panorama and image >= 0:
            if image // labels.views_per_panorama in panoramas:
                continue
            panoramas.add(image // labels.views_per_panorama)
        seen.append(image)
    return next((n for n, image in enumerate(seen, 1) if image in labels.positives[query]), 0), len(seen)


@given(
    st.lists(st.permutations(range(-3, 24)), min_size=1, max_size=5),
    st.integers(1, 27),
    st.sampled_from([None, 2, 3, 12]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_recall_is_that_of_the_definition(
    rankings: list[list[int]], top_k: int, views_per_panorama: int | None, timed: bool, seed: int
) -> None:
    dice = np.random.default_rng(seed)
    positives = tuple(tuple(np.flatnonzero(dice.random(24) < 0.1).tolist()) for _ in rankings)
    times = dice.integers(0, 3, 24).astype(float), dice.integers(0, 3, len(rankings)).astype(float)
    given = {"database_times": tuple(times[0]), "query_times": tuple(times[1])} if timed else {}
    labels = PlaceLabels(25.0, positives, positives, views_per_panorama=views_per_panorama, **given)
    cut = [list(ranking[:top_k]) for ranking in rankings]
    plain = [plain_first_hit(ranking, labels, query) for query, ranking in enumerate(cut)]
    shortest = min(length for _, length in plain)
    reach = max(length for _, length in plain) if top_k == 27 else shortest
    if reach == 0:
        with pytest.raises(DataError, match="ranking is empty"):
            find_first_hits(np.array(cut), labels, complete=top_k == 27)
        return
    hits = find_first_hits(np.array(cut), labels, complete=top_k == 27)
    assert hits.ranks.tolist() == [rank for rank, _ in plain]
    assert hits.depths == tuple(n for n in (1, 5, 10, 20, 50, 100) if n <= reach)
    for depth in hits.depths:
        expected = sum(0 < rank <= depth for rank, _ in plain) / len(plain)
        assert ((hits.ranks > 0) & (hits.ranks <= depth)).mean() == pytest.approx(expected, abs=1e-12)


def test_distractors_are_of_no_time() -> None:
    """Also where there are more of them than database images."""
    labels = _labels((1,), database_times=(7.0, 8.0), query_times=(7.0,))
    hits = find_first_hits(np.array([[-5, 0, -1, 1]]), labels, complete=True)
    assert hits.ranks.tolist() == [3]


def test_first_of_each_panorama() -> None:
    assert first_of_each_panorama(np.array([13, 5, 12, 0, 24, 23, -1, -2, 25]), 12).tolist() == [13, 5, 24, -1, -2]


def _score(folder: Path, image_ids: Any, labels: PlaceLabels, searched: int | None = None, scores: Any = None) -> Any:
    image_ids = np.array(image_ids)
    if scores is None:
        scores = np.tile(-np.arange(image_ids.shape[1], dtype=float), (len(image_ids), 1))
    info = PartInfo(0, searched or image_ids.shape[1], {"cell": "netvlad on streets"})
    with ranking_writer(folder / "r.h5", info, np.arange(len(image_ids)), image_ids.shape[1]) as writer:
        writer.write(0, image_ids, np.array(scores))
    write_places(labels, folder / "gt.json")
    score_ranking(folder / "r.h5", folder / "gt.json", folder / "s.json", cell="netvlad on streets")
    return read_scores(folder / "s.json")


def values(scores: Scores) -> dict[str, float | None]:
    return {name: metric.value for name, metric in scores.metrics.items()}


def _labels(*positives: tuple[int, ...], **more: Any) -> PlaceLabels:
    return PlaceLabels(25.0, positives, positives, **more)


def test_scores_of_places(tmp_path: Path) -> None:
    """Six queries, two of each condition; the last has nothing right and is counted."""
    ranked = [[0, 1, 2, 3, 4, 5]] * 3 + [[5, 4, 3, 2, 1, 0]] * 3
    labels = _labels((0,), (1,), (4,), (5, 0), (0,), (), conditions=("day", "sunset", "night"))
    found = _score(tmp_path, ranked, labels, searched=7)
    assert (found.family, found.protocol, found.num_queries, found.warnings) == ("retrieval", "places", 6, [])
    assert found.facts == {
        "queries_without_positive": 1,
        "radius": 25.0,
        "views_per_panorama": None,
        "exclude_same_time": False,
        "num_ranked": 6,
        "first_hit": [1, 2, 5, 1, 6, None],
    }
    assert found.per_query["recall@5"] == [1, 1, 1, 1, 0, 0]
    assert found.per_query["recall@5_sunset"] == [None, 1, None, None, 0, None]
    five = found.metrics["recall@5"]
    assert (five.low, five.high) == wilson_interval(4, 6)
    assert (five.interval, five.unit, five.direction) == ("wilson", "fraction", "higher")
    assert values(found) == {
        "recall@1": 2 / 6,
        "recall@5": 4 / 6,
        "recall@1_day": 1.0,
        "recall@5_day": 1.0,
        "recall@1_sunset": 0.0,
        "recall@5_sunset": 0.5,
        "recall@1_night": 0.0,
        "recall@5_night": 0.5,
        "recall@1_sunset_night": 0.0,
        "recall@5_sunset_night": 0.5,
    }


def test_a_short_database_has_no_recall_beyond_itself(tmp_path: Path) -> None:
    found = _score(tmp_path, [[2, 1, 0], [0, 1, 2]], _labels((0,), (9,)))
    assert values(found) == {"recall@1": 0.0}
    assert found.facts["num_ranked"] == 3
    # Panoramas count, not images.
    assert _score(tmp_path, [list(range(12))], _labels((11,), views_per_panorama=2)).facts["num_ranked"] == 6


def test_columns_beyond_the_database_are_empty_and_said(tmp_path: Path) -> None:
    columns = [{"dataset": "streets", "metric": f"recall@{n}", "label": f"R@{n}"} for n in (1, 50)]
    rows = [{"label": "ours", "method": "netvlad"}]
    table = Table.model_validate({"title": "A table", "columns": columns, "rows": rows, "synthetic": True})
    _score(tmp_path, [[1, 0]], _labels((1,)))
    cell = ("netvlad", "streets")
    build_table("t", table, {cell: tmp_path / "s.json"}, {cell: "p.json"}, tmp_path / "t.csv", tmp_path / "t.md")
    with open(tmp_path / "t.csv", encoding="utf-8", newline="") as file:
        near, far = csv.DictReader(file)
    assert (near["metric"], near["ours"], near["chance"]) == ("recall@1", "100.0", "50.0")
    assert (far["metric"], far["ours"], far["chance"], far["provenance"]) == ("recall@50", "", "", "p.json")
    assert "streets: no recall@50, since no more than 2 images can count" in (tmp_path / "t.md").read_text()


def test_one_of_each_panorama(tmp_path: Path) -> None:
    ranked = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]
    found = _score(tmp_path, ranked, _labels((8,), views_per_panorama=2), searched=12)
    assert found.facts["first_hit"] == [5]
    assert values(found) == {"recall@1": 0.0, "recall@5": 1.0}
    # Image 9 shares its panorama with image 8, which came before.
    assert _score(tmp_path, ranked, _labels((9,), views_per_panorama=2), searched=12).facts["first_hit"] == [None]
    with pytest.raises(DataError, match=r"r\.h5: some query's ranking is empty"):
        _score(tmp_path, ranked, _labels((9,), database_times=(1.0,) * 12, query_times=(1.0,)), searched=12)


def test_warnings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    perfect = _score(tmp_path, [[0, 1], [1, 0]], _labels((0,), (1,)))
    assert len(perfect.warnings) == 1
    assert perfect.warnings[0].startswith("recall = 1.0 at every N")
    assert "recall = 1.0 at every N" in caplog.text
    miss = _labels((1,), (1,))
    same = _score(tmp_path, [[0, 1, 2], [0, 1, 2]], miss)
    level = _score(tmp_path, [[0, 1, 2], [0, 2, 1]], miss, scores=[[0.5, 0.5, 0.5], [0.3, 0.3 - 1e-8, np.nan]])
    for found in (same, level):
        assert [warning[:21] for warning in found.warnings] == ["all descriptors equal"]
    (warning,) = _score(tmp_path, [[0, 1, 2], [0, 2, 1]], miss, scores=[[0.5, 0.5, 0.5], [0.3, 0.2, 0.1]]).warnings
    assert warning.startswith("equal scores of all images for 1 of 2 queries")
    assert _score(tmp_path, [[0], [0]], miss, searched=3).warnings == []
    assert _score(tmp_path, [[0, 1, 2]], _labels((1,))).warnings == []


def test_rankings_of_other_queries_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ranks 2 queries, but .* labels queries 0 to 0"):
        _score(tmp_path, [[0, 1], [1, 0]], _labels((0,)))


# --- tables ------------------------------------------------------------------------------------


def test_tables_say_what_is_right_and_what_looks_broken(tmp_path: Path) -> None:
    columns = [
        {"dataset": "streets", "metric": "recall@1", "label": "R@1"},
        {"dataset": "far", "metric": "recall@1", "label": "far", "on_demand": True},
    ]
    row = {"label": "ours & theirs", "method": "netvlad"}
    table = Table.model_validate({"title": "A table", "columns": columns, "rows": [row], "synthetic": True})
    times = {"database_times": (1.0, 2.0), "query_times": (3.0, 3.0, 3.0)}
    _score(tmp_path, [[0, 1], [0, 1], [0, 1]], _labels((0,), (1,), (), views_per_panorama=12, **times))
    scores = {("netvlad", "streets"): tmp_path / "s.json"}
    build_table("t", table, scores, {("netvlad", "streets"): "p.json"}, tmp_path / "t.csv", tmp_path / "t.md")
    rule = (
        "streets: right is what lies within 25 m; only the first hit of each panorama (12 images) counts; "
        "images of the query's own time stamp are left out; 1 of 3 queries have nothing right."
    )
    markdown = (tmp_path / "t.md").read_text()
    assert f"\n\n- {rule}\n- Warning, netvlad on streets: all descriptors equal" in markdown
    build_report({"t": table}, scores, {}, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert '<p class="note">streets: right is what lies within 25 m; only' in page
    assert '<p class="note">Warning, netvlad on streets: all descriptors equal' in page


# --- real data ---------------------------------------------------------------------------------


def test_published_recalls_of_the_corridor(real_data: Path, tmp_path: Path) -> None:
    """Score matrices that VPR-Bench publishes give the recalls computed from them elsewhere."""
    folder = real_data / "vpr_corridor"
    published = json.loads((folder / "full_111_results.json").read_text())
    labels = _labels(*map(tuple, published["full_ground_truth"]))
    matrices = sorted(folder.glob("scores_*.npz"))
    assert matrices
    for path in matrices:
        stored = np.load(path)
        assert np.array_equal(stored["query"], np.arange(len(labels.positives)))
        ids, scores = rank_scores(np.arange(stored["scores"].shape[1]), stored["scores"].astype(float), None)
        assert np.array_equal(ids[:, 0], stored["stored_match"])
        metrics = values(_score(tmp_path, ids, labels, scores=scores))
        expected = published["results"][path.stem.removeprefix("scores_")]
        for depth in (1, 5, 10):
            assert round(metrics[f"recall@{depth}"], 4) == expected[f"recall{depth}_from_scores"]


def test_real_lists_and_positions_belong_together(real_data: Path, tmp_path: Path, caplog: Any) -> None:
    """Names and positions of Pittsburgh 30k test, as a .mat in the published layout."""
    folder = real_data / "vpr_gt"
    truth = np.load(folder / "pitts30k_test.npz")
    root = "./Pittsburgh250k/"
    lists = {
        key: [line.removeprefix(root) for line in (folder / f"pitts30k_imageNames_{key}.txt").read_text().split()]
        for key in ("index", "query")
    }
    asked = [name.removeprefix("queries_real/") for name in lists["query"]]
    struct = _struct(
        whichSet="test",
        dbImageFns=_column(lists["index"]),
        utmDb=truth["utmDb"].T,
        qImageFns=_column(asked),
        utmQ=truth["utmQ"].T,
        numImages=10_000,
        numQueries=6_816,
    )
    savemat(tmp_path / "town.mat", {"dbStruct": struct}, do_compression=True)
    with caplog.at_level(logging.INFO):
        manifest, labels = _build(tmp_path, counts={"query": 6816, "database": 10_000})
    assert [row.path for row in manifest.of_role("query").rows] == [f"town/asked/{name}" for name in asked]
    # All views of a panorama, consecutive in the list, are of one place.
    places: dict[str, set[tuple[float, float]]] = {}
    for row in manifest.of_role("database").rows:
        places.setdefault(row.path.rsplit("_pitch", 1)[0], set()).add((row.easting, row.northing))
    assert len(places) == 417
    assert all(len(found) == 1 for found in places.values())
    found = np.array([(row.easting, row.northing) for row in manifest.of_role("database").rows])
    assert np.array_equal(found, truth["utmDb"])
    assert labels.without_positive() == 0
    assert sum(map(len, labels.positives)) == 968_448
    assert "right within 25 m; 6432 of 6816 queries usable in training" in caplog.text


def test_query_names_of_tokyo(real_data: Path) -> None:
    """Nine queries of each of 35 places: day, sunset and night in turn."""
    folder = real_data / "vpr_gt"
    names = [line.rsplit("/", 1)[1] for line in (folder / "tokyo247_imageNames_query.txt").read_text().split()]
    truth = np.load(folder / "tokyo247.npz")
    assert names == sorted(names)
    assert len(set(names)) == len(truth["utmQ"]) == 315
    assert len(np.unique(truth["utmQ"].reshape(35, 9, 2), axis=1)[0]) == 1
